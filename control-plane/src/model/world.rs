//! The world at one moment: configuration and what serves, immutable, with the look-ups that translation asks for.
//!
//! Configuration and fleet are shared separately, because instances come and go by the minute and documents do not.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mesh_core::locality::{Candidate, Place};
use mesh_core::resource::{DnsAddresses, Health};

use super::{
    Carried, Config, Fleet, Labels, Listening, Origin, Protocol, Service, ServicePort, TargetPort, View,
    Visibility, Workload, host,
};
use crate::document::MeshSettings;

/// Everything that decides what a caller gets.
#[derive(Debug, Clone)]
pub struct World {
    config: Arc<Config>,
    fleet: Arc<Fleet>,
    granted: Arc<HashMap<Arc<str>, Vec<Service>>>,
    presume: bool,
}

/// What a dialled host turned out to be.
#[derive(Debug, Clone)]
pub struct Resolved<'w> {
    /// Its full name.
    pub host: String,
    /// The service, unless only a VirtualService speaks for the host.
    pub service: Option<&'w Service>,
}

/// One endpoint of a service's port.
#[derive(Debug, Clone)]
pub struct Endpoint<'w> {
    /// The workload; none for a presumed one, and for a host that is looked up.
    pub workload: Option<&'w Workload>,
    /// Where callers connect to; from a reserved block where no document tells.
    pub address: SocketAddr,
    /// The name that callers look up instead.
    pub name: Option<Arc<str>>,
    /// The workload's own port.
    pub workload_port: u16,
}

/// Endpoints whose address no document tells get one from this reserved block, which can never be reached.
const UNTOLD: Ipv4Addr = Ipv4Addr::new(240, 0, 0, 0);

/// What stands for the address of a name here, where nobody looks it up. A name has the same wherever it stands.
pub fn address_of_name(name: &str, port: u16) -> SocketAddr {
    // FNV-1a; the upper half of the reserved block is for names.
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    SocketAddr::new(Ipv4Addr::from(hash | 0xF800_0000).into(), port)
}

/// Whether an address stands for one that no document tells.
pub fn is_untold(address: SocketAddr) -> bool {
    matches!(address.ip(), std::net::IpAddr::V4(ip) if ip.octets()[0] >= UNTOLD.octets()[0])
}

impl World {
    /// The world of a running mesh.
    pub fn new(config: Arc<Config>, fleet: Fleet) -> Self {
        let granted = granted_services(&config, &fleet);
        Self { config, fleet: Arc::new(fleet), granted: Arc::new(granted), presume: false }
    }

    /// The world that documents describe by themselves, where a service without endpoints is presumed to have one.
    pub fn offline(config: Arc<Config>) -> Self {
        let fleet = Fleet::new(config.workloads().to_vec(), Vec::new());
        Self { presume: true, ..Self::new(config, fleet) }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The mesh-wide values.
    pub fn settings(&self) -> &MeshSettings {
        self.config.settings()
    }

    /// What serves.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// What a caller means by the host that it dials; none if the mesh knows nothing of it.
    pub fn resolve(&self, view: &View<'_>, dialled: &str, port: u16) -> Option<Resolved<'_>> {
        let names = host::candidates(dialled, || view.namespace().to_owned());
        let service = names.iter().find_map(|name| Some((name, self.service(view, name)?)));
        if let Some((name, service)) = service {
            return service.port(port).map(|_| Resolved { host: name.clone(), service: Some(service) });
        }
        // A VirtualService may speak for a host without a service; it then holds on any port (DESIGN §5). A wildcard that
        // some service meets means those services and no other host, as in Istio.
        let speaks = |name: &String| {
            let routing = self.config.virtual_service(view, name);
            let routing = routing.filter(|routing| {
                !routing.rules(view, port).is_empty()
                    || !routing.connection_rules(view, port, None).is_empty()
            });
            let pattern = routing.and_then(|routing| routing.pattern(name));
            pattern.is_some_and(|pattern| !pattern.starts_with('*') || !self.any_service(pattern))
        };
        names.into_iter().find(speaks).map(|host| Resolved { host, service: None })
    }

    /// What callers may do with a port: what its declared protocol says. Where nobody has declared it, rules do: those
    /// for requests make it HTTP, those for connections opaque, so that neither kind is ever passed by.
    pub fn carried(&self, view: &View<'_>, resolved: &Resolved<'_>, port: u16) -> Carried {
        let declared = resolved.service.and_then(|service| service.port(port)).map(|port| port.protocol);
        match declared {
            Some(Protocol::Http | Protocol::Http2) => return Carried::Requests,
            Some(Protocol::Tcp | Protocol::Tls) => return Carried::Connections,
            Some(Protocol::Undeclared) | None => {}
        }
        let routing = self.config.virtual_service(view, &resolved.host);
        let gateway_routes =
            || resolved.service.and_then(|service| self.config.gateway_routes(view, service, port));
        let requests =
            routing.is_some_and(|it| !it.rules(view, port).is_empty()) || gateway_routes().is_some();
        let connections = routing.is_some_and(|it| !it.connection_rules(view, port, declared).is_empty());
        match (requests, connections) {
            (true, false) => Carried::Requests,
            (false, true) => Carried::Connections,
            (true, true) | (false, false) => Carried::Either,
        }
    }

    fn any_service(&self, pattern: &str) -> bool {
        let granted = self.granted.keys().map(|host| &**host);
        let declared = self.config.all_services().map(|service| &*service.host);
        declared.chain(granted).any(|host| host::covers(pattern, host))
    }

    /// The service that a caller reaches by a full name: of its own namespace first, then by origin, then the oldest.
    pub fn service(&self, view: &View<'_>, full_name: &str) -> Option<&Service> {
        let found = self.visible(view, self.services(full_name));
        found.or_else(|| {
            let wildcard = self.config.wildcard_services().iter();
            let mut covering: Vec<_> =
                wildcard.filter(|service| host::covers(&service.host, full_name)).collect();
            covering.sort_by_key(|service| std::cmp::Reverse(service.host.len()));
            let longest = covering.first()?.host.clone();
            self.visible(view, covering.into_iter().filter(|service| service.host == longest))
        })
    }

    fn services(&self, full_name: &str) -> impl Iterator<Item = &Service> {
        self.config.services(full_name).iter().chain(self.granted.get(full_name).into_iter().flatten())
    }

    fn visible<'w>(
        &self,
        view: &View<'_>,
        services: impl Iterator<Item = &'w Service>,
    ) -> Option<&'w Service> {
        let seen: Vec<&Service> = services.collect();
        // The namespace is asked for only where it can make a difference, so that callers share encodings.
        if let [only] = seen[..]
            && only.visibility == Visibility::Public
        {
            return Some(only);
        }
        seen.into_iter()
            .filter(|service| service.visibility.includes(view.namespace(), &service.namespace))
            .min_by_key(|service| (*service.namespace != *view.namespace(), service.origin))
    }

    /// The workloads of a service.
    pub fn members<'w>(&'w self, service: &'w Service) -> impl Iterator<Item = &'w Workload> {
        let selected =
            self.fleet.of(&service.namespace).iter().filter(|workload| service.has_member(workload));
        service.inline.iter().chain(selected)
    }

    /// The services that a workload serves.
    pub fn services_of(&self, workload: &Workload) -> impl Iterator<Item = &Service> {
        self.all_services().filter(move |service| service.has_member(workload))
    }

    /// Every service, whether a document or a grant makes it known.
    pub fn all_services(&self) -> impl Iterator<Item = &Service> {
        self.config.all_services().chain(self.granted.values().flatten())
    }

    /// The same fleet under other configuration.
    #[must_use]
    pub fn reconfigured(&self, config: Arc<Config>) -> Self {
        let granted = granted_services(&config, &self.fleet);
        Self { config, fleet: Arc::clone(&self.fleet), granted: Arc::new(granted), presume: self.presume }
    }

    /// The endpoints of a service's port, subsets aside; `called` is the service's host as callers say it.
    pub fn endpoints<'w>(
        &'w self,
        service: &'w Service,
        port: &'w ServicePort,
        called: &str,
    ) -> Vec<Endpoint<'w>> {
        let mut untold = u32::from(UNTOLD);
        let mut untold_address = |port: u16| {
            untold = untold.saturating_add(1);
            SocketAddr::new(Ipv4Addr::from(untold).into(), port)
        };
        let mut endpoints: Vec<Endpoint<'_>> = Vec::new();
        let mut members = 0;
        for workload in self.members(service) {
            members += 1;
            let Some((address, workload_port)) = port.on(&service.host, workload) else { continue };
            let address = address.unwrap_or_else(|| untold_address(workload_port));
            let name = match &workload.listening {
                Listening::Name { name, .. } => Some(name.clone()),
                _ => None,
            };
            endpoints.push(Endpoint { workload: Some(workload), address, name, workload_port });
        }
        if members == 0 && (self.presume || service.by_host) {
            let workload_port = match port.target {
                TargetPort::Number(number) => number,
                TargetPort::Same | TargetPort::Name(_) => port.number,
            };
            let name = service.by_host.then(|| Arc::from(called));
            let address = match service.by_host {
                true => address_of_name(called, workload_port),
                false => untold_address(workload_port),
            };
            endpoints.push(Endpoint { workload: None, address, name, workload_port });
        }
        endpoints
    }
}

/// Of an endpoint without a workload.
pub(super) static NO_LABELS: Labels = Labels::new();

impl Endpoint<'_> {
    /// What counts where endpoints go before one another.
    pub fn candidate(&self) -> Candidate<'_> {
        let labels = self.workload.map_or(&NO_LABELS, |workload| &*workload.labels);
        let place = Place { locality: self.locality(), labels };
        Candidate { place, weight: self.weight(), healthy: self.health() == Health::Healthy }
    }

    /// Where it is, as far as known.
    pub fn locality(&self) -> Option<&str> {
        self.workload.and_then(|workload| workload.locality.as_deref())
    }

    /// Its share among its peers, at least 1.
    pub fn weight(&self) -> u32 {
        self.workload.map_or(1, |workload| workload.weight.max(1))
    }

    /// Whether it takes new requests, as far as is known.
    pub fn health(&self) -> Health {
        self.workload.map_or(Health::Healthy, |workload| workload.health)
    }
}

/// The services that grants name and no document of their namespace describes.
fn granted_services(config: &Config, fleet: &Fleet) -> HashMap<Arc<str>, Vec<Service>> {
    let mut granted: HashMap<Arc<str>, Vec<Service>> = HashMap::new();
    for service in fleet.granted() {
        if config.services(&service.host).iter().any(|other| other.namespace == service.namespace) {
            continue;
        }
        let default = &config.settings().default_export_to.service;
        granted.entry(service.host.clone()).or_default().push(Service {
            host: service.host.clone(),
            namespace: service.namespace.clone(),
            origin: Origin::Registered,
            ports: service.ports.iter().map(|port| registered_port(*port)).collect(),
            selector: None,
            inline: Vec::new(),
            by_host: false,
            addresses: DnsAddresses::All,
            subject_alt_names: Vec::new(),
            health_check: None,
            entry: None,
            preference: None,
            visibility: Visibility::new(&[], &service.namespace, default),
        });
    }
    granted
}

fn registered_port(number: u16) -> ServicePort {
    ServicePort { number, name: String::new(), protocol: Protocol::Undeclared, target: TargetPort::Same }
}
