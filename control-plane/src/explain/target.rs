//! The serving workload that the inbound side of an answer is about.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use mesh_core::resource::Health;

use super::At;
use crate::model::{
    Caller, ClientKind, Endpoint, Labels, Listening, Protocol, Service, ServicePort, Workload, World, served,
};

/// A serving workload and the port of it that is asked about.
pub(super) struct Target {
    namespace: Arc<str>,
    labels: Arc<Labels>,
    workload: Option<Arc<str>>,
    ip: IpAddr,
    /// The port that it listens on.
    pub(super) port: u16,
    /// What is spoken there.
    pub(super) protocol: Protocol,
}

impl Target {
    /// The workload behind an endpoint. A presumed one is presumed to carry the labels that its service selects.
    pub(super) fn behind(service: &Service, port: &ServicePort, endpoint: &Endpoint<'_>) -> Self {
        let (namespace, labels) = match endpoint.workload {
            Some(workload) => (workload.namespace.clone(), workload.labels.clone()),
            None => (service.namespace.clone(), Arc::new(service.selector.clone().unwrap_or_default())),
        };
        Self {
            namespace,
            labels,
            workload: endpoint.workload.map(|workload| workload.full_name().into()),
            ip: endpoint.address.ip(),
            port: endpoint.workload_port,
            protocol: port.protocol,
        }
    }

    /// The workload that a question describes, on the port that it names or else the one that is dialled.
    pub(super) fn at(world: &World, at: &At, dialled: u16) -> Self {
        let known = world.fleet().of(&at.namespace).iter().find(|workload| is_meant(workload, at));
        let described = known.cloned().unwrap_or_else(|| stranger(at));
        // Which services it may serve is the mesh's to say, whatever the question asks to suppose of its other labels.
        let labels = match at.labels.is_empty() {
            true => described.labels.clone(),
            false => Arc::new(at.labels.clone().into_iter().chain(served(&described.labels)).collect()),
        };
        let workload = Workload { labels: labels.clone(), ..described };
        let (port, protocol) = listening(world, &workload, at, dialled);
        Self {
            namespace: at.namespace.as_str().into(),
            labels,
            workload: known.map(|workload| workload.full_name().into()),
            ip: at.ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            port,
            protocol,
        }
    }

    /// The workload as it asks for its own configuration.
    pub(super) fn caller(&self) -> Caller {
        Caller {
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
            // Nothing inbound depends on it.
            locality: None,
            workload: self.workload.clone(),
            client: ClientKind::Mesh,
        }
    }

    /// Where it listens, if that is known.
    pub(super) fn known_ip(&self) -> Option<IpAddr> {
        Some(self.ip).filter(|ip| !ip.is_unspecified())
    }

    /// The name of its inbound listener.
    pub(super) fn listener(&self) -> String {
        format!("inbound/{}", std::net::SocketAddr::new(self.ip, self.port))
    }
}

fn is_meant(workload: &Workload, at: &At) -> bool {
    let account = at.service_account.as_deref();
    let named = account.is_none_or(|account| workload.service_account.as_deref() == Some(account));
    named && workload.matches(&at.labels) && (account.is_some() || !at.labels.is_empty())
}

/// A workload of which only the question knows.
fn stranger(at: &At) -> Workload {
    Workload {
        name: "".into(),
        namespace: at.namespace.as_str().into(),
        service_account: at.service_account.as_deref().map(Into::into),
        labels: Arc::new(at.labels.clone()),
        listening: Listening::Untold { ports: Default::default() },
        locality: None,
        weight: 1,
        health: Health::Healthy,
        in_mesh: true,
    }
}

/// The port on which a workload listens for what is called, and what is spoken there.
fn listening(world: &World, workload: &Workload, at: &At, dialled: u16) -> (u16, Protocol) {
    let services: Vec<&Service> = world.services_of(workload).collect();
    let ports = services.iter().flat_map(|service| service.ports.iter().map(|port| (&service.host, port)));
    let mut places = ports.filter_map(|(host, port)| Some((port, port.on(host, workload)?.1)));
    let found = match at.workload_port {
        Some(wanted) => places.find(|(_, workload_port)| *workload_port == wanted),
        None => places.find(|(port, _)| port.number == at.port.unwrap_or(dialled)),
    };
    let unknown = at.workload_port.or(at.port).unwrap_or(dialled);
    found.map_or((unknown, Protocol::Undeclared), |(port, workload_port)| {
        (at.workload_port.unwrap_or(workload_port), port.protocol)
    })
}
