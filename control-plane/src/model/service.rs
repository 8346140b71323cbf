//! A service: a host with ports and a way to find its workloads, whichever kind of document or grant it came from.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::health::HealthCheck;
use mesh_core::locality::Preference;
use mesh_core::resource::{DnsAddresses, address_of_pipe};

use super::{Labels, Listening, Visibility, Workload, address_of_name};

/// A host with ports that the mesh knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The full name, lower case; a ServiceEntry's may begin with a wildcard.
    pub host: Arc<str>,
    /// The namespace it belongs to.
    pub namespace: Arc<str>,
    /// What kind of thing declared it.
    pub origin: Origin,
    /// Its ports, as declared.
    pub ports: Vec<ServicePort>,
    /// Which workloads of its namespace serve it.
    pub selector: Option<Labels>,
    /// Endpoints written into the document itself.
    pub inline: Vec<Workload>,
    /// Where no workload serves it: the host that is called is looked up.
    pub by_host: bool,
    /// How many of a name's addresses are endpoints.
    pub addresses: DnsAddresses,
    /// Names under which its endpoints may answer, besides those of their service accounts.
    pub subject_alt_names: Vec<String>,
    /// What its endpoints are asked, if they are.
    pub health_check: Option<HealthCheck>,
    /// The name of the ServiceEntry that declares it, if one does.
    pub entry: Option<Arc<str>>,
    /// Which endpoints go before others, whatever the mesh says of it.
    pub preference: Option<Preference>,
    /// Who may call it.
    pub visibility: Visibility,
}

/// What declared a service; where several declare one host, the order decides (ISTIO-FIELDS §2.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A `v1` Service.
    Kubernetes,
    /// A ServiceEntry with `location: MESH_INTERNAL`.
    Internal,
    /// A ServiceEntry with `location: MESH_EXTERNAL`: it never takes the mesh's mTLS.
    External,
    /// Grants alone: instances registered for it and no document describes it.
    Registered,
}

/// One port of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The port that callers name.
    pub number: u16,
    /// Its name; empty where it has none.
    pub name: String,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Where it leads on a workload.
    pub target: TargetPort,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2, gRPC among it.
    Http2,
    /// TLS that the mesh does not look into.
    Tls,
    /// Bytes.
    Tcp,
    /// Undeclared: the mesh's callers speak HTTP, and ALPN says which.
    Undeclared,
}

/// Where a service's port leads on a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number.
    Same,
    /// Another number.
    Number(u16),
    /// The workload's port of that name.
    Name(String),
}

impl Service {
    /// The port with that number.
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.number == number)
    }

    /// Whether a workload serves it: by its selector, or because its grant says so.
    pub fn has_member(&self, workload: &Workload) -> bool {
        workload.namespace == self.namespace
            && (self.selector.as_ref().is_some_and(|selector| workload.matches(selector))
                || workload.registers(&self.host))
    }
}

impl ServicePort {
    /// Where `workload` listens for this port of `host`: the address dialled, none where it was never told, and the
    /// workload's own port.
    pub fn on(&self, host: &str, workload: &Workload) -> Option<(Option<SocketAddr>, u16)> {
        match &workload.listening {
            Listening::Address { ip, ports } => {
                let port = ports.get(&self.name).copied().or_else(|| self.resolve(ports))?;
                Some((Some(SocketAddr::new(*ip, port)), port))
            }
            Listening::Name { name, ports } => {
                let port = ports.get(&self.name).copied().or_else(|| self.resolve(ports))?;
                Some((Some(address_of_name(name, port)), port))
            }
            Listening::Pipe(path) => Some((Some(address_of_pipe(path)), self.number)),
            Listening::Untold { ports } => Some((None, self.resolve(ports)?)),
            Listening::Registered(bindings) => {
                // A service that selects an instance by labels need not be the one that its grant names. Its target is the
                // process's own port or, as that may be any free one, the port that the grant calls by.
                let target = match self.target {
                    TargetPort::Number(number) => number,
                    TargetPort::Same | TargetPort::Name(_) => self.number,
                };
                let named = bindings
                    .iter()
                    .find(|binding| *binding.host == *host && binding.service_port == self.number);
                let binding = named
                    .or_else(|| bindings.iter().find(|binding| binding.workload_port == target))
                    .or_else(|| bindings.iter().find(|binding| binding.service_port == target))
                    .or_else(|| bindings.iter().find(|binding| binding.service_port == self.number))?;
                Some((Some(binding.address), binding.workload_port))
            }
        }
    }

    fn resolve(&self, ports: &BTreeMap<String, u16>) -> Option<u16> {
        match &self.target {
            TargetPort::Same => Some(self.number),
            TargetPort::Number(number) => Some(*number),
            TargetPort::Name(name) => ports.get(name).copied(),
        }
    }
}

impl Protocol {
    /// By `appProtocol` or ServiceEntry's `protocol` where given, else by the port's name up to its first `-`.
    pub fn of(declared: Option<&str>, name: &str) -> Self {
        let word = match declared {
            Some(declared) => declared.rsplit('/').next().unwrap_or(declared),
            None => name.split('-').next().unwrap_or(name),
        };
        match word.to_ascii_lowercase().as_str() {
            "http" | "http1" | "ws" => Self::Http,
            "http2" | "grpc" | "h2c" => Self::Http2,
            "https" | "tls" | "wss" => Self::Tls,
            "tcp" | "udp" | "mongo" | "mysql" | "redis" if declared.is_some() || word != "udp" => Self::Tcp,
            _ => Self::Undeclared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::workload::Binding;
    use mesh_core::resource::Health;

    #[test]
    fn protocols_come_from_app_protocol_then_from_the_name() {
        let check = |declared, name, expected| {
            assert_eq!(Protocol::of(declared, name), expected, "{declared:?} {name}")
        };
        check(None, "http", Protocol::Http);
        check(None, "http-web", Protocol::Http);
        check(None, "grpc-api", Protocol::Http2);
        check(None, "httpweb", Protocol::Undeclared);
        check(Some("kubernetes.io/h2c"), "http", Protocol::Http2);
        check(Some("GRPC"), "", Protocol::Http2);
        check(None, "tcp-db", Protocol::Tcp);
        check(None, "", Protocol::Undeclared);
    }

    #[test]
    fn a_service_port_leads_to_the_workloads_own() {
        let workload = |listening| Workload {
            name: "a".into(),
            namespace: "default".into(),
            service_account: None,
            labels: Default::default(),
            listening,
            locality: None,
            weight: 1,
            health: Health::Healthy,
            in_mesh: true,
        };
        let named = [("http".to_owned(), 18080)].into();
        let on_ip = workload(Listening::Address { ip: [10, 0, 0, 7].into(), ports: named });
        let registered = workload(Listening::Registered(vec![Binding {
            host: "a.default.svc.cluster.local".into(),
            service_port: 80,
            workload_port: 41000,
            address: ([10, 0, 0, 9], 51000).into(),
        }]));
        let check = |target: TargetPort, name: &str, workload: &Workload, expected: Option<(&str, u16)>| {
            let port = ServicePort { number: 80, name: name.to_owned(), protocol: Protocol::Http, target };
            let found = port.on("a.default.svc.cluster.local", workload);
            let found = found.map(|(address, port)| {
                (address.map(|address| address.to_string()).unwrap_or_default(), port)
            });
            assert_eq!(found, expected.map(|(address, port)| (address.to_owned(), port)));
        };
        check(TargetPort::Same, "", &on_ip, Some(("10.0.0.7:80", 80)));
        check(TargetPort::Number(8080), "", &on_ip, Some(("10.0.0.7:8080", 8080)));
        check(TargetPort::Number(8080), "http", &on_ip, Some(("10.0.0.7:18080", 18080)));
        check(TargetPort::Name("http".into()), "web", &on_ip, Some(("10.0.0.7:18080", 18080)));
        check(TargetPort::Name("other".into()), "web", &on_ip, None);
        check(TargetPort::Same, "", &registered, Some(("10.0.0.9:51000", 41000)));
    }
}
