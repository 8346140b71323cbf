//! Kubernetes' Service: name, ports and selector, the facts that a mesh reads of it.
//!
//! The rest of its fields concern kube-proxy and cloud balancers. Those that would move traffic elsewhere are refused by
//! name, the others have no effect here.

use std::collections::BTreeMap;

use mesh_core::locality::Preference;

use super::{Fields, Span, Value, choice, name, object, port, text, traffic_distribution};

/// A Service's spec.
#[derive(Clone, Debug, Default)]
pub struct Service {
    /// Where the spec stands.
    pub span: Span,
    /// The ports.
    pub ports: Vec<ServicePort>,
    /// Labels that select its workloads; empty selects none.
    pub selector: BTreeMap<String, String>,
    /// Which endpoints go before others (`trafficDistribution`).
    pub preference: Option<Preference>,
}

/// One port of a Service.
#[derive(Clone, Debug, Default)]
pub struct ServicePort {
    /// Where the entry begins.
    pub span: Span,
    /// Its name, whose prefix may say the protocol.
    pub name: String,
    /// The port that callers use.
    pub port: u16,
    /// The port that workloads listen on, if another.
    pub target_port: Option<TargetPort>,
    /// The protocol above TCP, if said.
    pub app_protocol: Option<String>,
    /// Whether it is a TCP port; others are none of the mesh's.
    pub tcp: bool,
}

/// A port of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name that the workload's container gives it.
    Name(String),
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Service {
    let service = Service {
        span: fields.span(),
        ports: fields.list("ports", object(service_port)),
        selector: fields.or_default("selector", name::labels),
        preference: fields.or_default("trafficDistribution", |value| {
            choice(&DISTRIBUTIONS.map(|(name, number)| (name, number, traffic_distribution(name))))(value)
        }),
    };
    if fields.wrote("type", "ExternalName") {
        fields.not_honoured(
            "type",
            "ExternalName is not honoured by this mesh",
            "write a ServiceEntry with DNS resolution",
        );
    } else if !fields.wrote("type", "ClusterIP") {
        fields.no_effect(
            "type",
            choice(&[("NodePort", -1, ()), ("LoadBalancer", -2, ()), ("ClusterIP", -3, ())]),
        );
    }
    if !fields.wrote("sessionAffinity", "None") {
        fields.unsupported("sessionAffinity", choice(&[("ClientIP", -1, ())]));
    }
    fields.no_effect("clusterIP", text);
    fields.ignore_the_rest();
    service
}

/// Kubernetes has no numbers for them.
const DISTRIBUTIONS: [(&str, i32); 3] = [("PreferClose", -1), ("PreferSameZone", -2), ("PreferSameNode", -3)];

fn service_port(fields: &mut Fields<'_, '_>) -> ServicePort {
    let protocol = fields.or_default("protocol", text);
    let port = ServicePort {
        span: fields.span(),
        name: fields.or_default("name", text),
        port: fields.required("port", port),
        target_port: fields.optional("targetPort", target_port),
        app_protocol: fields.optional("appProtocol", text),
        tcp: protocol.is_empty() || protocol == "TCP",
    };
    fields.ignore_the_rest();
    port
}

fn target_port(value: Value<'_, '_>) -> TargetPort {
    match value.written() {
        Some(written) if written.parse::<u64>().is_err() => TargetPort::Name(text(value)),
        _ => TargetPort::Number(port(value)),
    }
}
