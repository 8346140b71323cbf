//! The blocks of a traffic policy: balancing, pools, outliers, TLS.
//!
//! A block is overridden as a whole (ISTIO-FIELDS §2.4), so each is optional on its own.

use mesh_core::resource::RetryBudget;

use super::super::fields::Fields;
use super::super::finding::Code;
use super::super::scalar::{choice, port};
use super::super::value::object;
use super::super::yaml::Span;
use super::connection_pool::{PoolSettings, connection_pool, retry_budget};
use super::load_balancer::{self, LoadBalancer};
use super::outlier_detection::{self, OutlierSettings};
use super::tls::{self, TlsSettings};

/// A traffic policy, as far as it is honoured.
#[derive(Clone, Debug, Default)]
pub struct TrafficPolicy {
    /// Where it stands.
    pub span: Span,
    /// What holds for all ports that have no settings of their own.
    pub blocks: PolicyBlocks,
    /// How many retries there may be, on whichever port.
    pub retry_budget: Option<RetryBudget>,
    /// Ports that do; the first entry of a port counts.
    pub ports: Vec<PortPolicy>,
}

/// What a rule, a subset and a port can all say.
#[derive(Clone, Debug, Default)]
pub struct PolicyBlocks {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// How many connections and requests there may be.
    pub connection_pool: Option<Box<PoolSettings>>,
    /// How endpoints that fail are left alone.
    pub outlier_detection: Option<Box<OutlierSettings>>,
    /// How connections are secured.
    pub tls: Option<TlsSettings>,
}

/// What holds for one port of the service, instead of all that is said for the others.
#[derive(Clone, Debug, Default)]
pub struct PortPolicy {
    /// Where the entry begins.
    pub span: Span,
    /// The service's port.
    pub port: u16,
    /// A block that is absent is its default, whatever the rule says of other ports.
    pub blocks: PolicyBlocks,
}

impl TrafficPolicy {
    /// The settings of that port, if it has its own.
    pub fn of_port(&self, port: u16) -> Option<&PolicyBlocks> {
        self.ports.iter().find(|one| one.port == port).map(|one| &one.blocks)
    }
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> TrafficPolicy {
    let policy = TrafficPolicy {
        span: fields.span(),
        blocks: blocks(fields),
        retry_budget: fields.optional("retryBudget", object(retry_budget)).flatten(),
        ports: fields.list("portLevelSettings", object(port_level)),
    };
    unique_ports(fields, &policy.ports);
    fields.no_effect("tunnel", object(tunnel));
    fields.unsupported("proxyProtocol", |value| {
        value.object(|fields| fields.optional("version", choice(&[("V1", 0, ()), ("V2", 1, ())])))
    });
    says_something(
        fields,
        &[
            "loadBalancer",
            "connectionPool",
            "outlierDetection",
            "tls",
            "portLevelSettings",
            "tunnel",
            "proxyProtocol",
            "retryBudget",
        ],
    );
    policy
}

fn says_something(fields: &mut Fields<'_, '_>, blocks: &[&str]) {
    if !blocks.iter().any(|block| fields.has(block)) {
        fields.missing("", "says nothing", "add a block, or remove the field");
    }
}

fn blocks(fields: &mut Fields<'_, '_>) -> PolicyBlocks {
    PolicyBlocks {
        load_balancer: fields.optional("loadBalancer", object(load_balancer::decode)),
        connection_pool: fields.optional("connectionPool", object(connection_pool)).map(Box::new),
        outlier_detection: fields.optional("outlierDetection", object(outlier_detection::decode)),
        tls: fields.optional("tls", object(tls::decode)),
    }
}

fn port_level(fields: &mut Fields<'_, '_>) -> PortPolicy {
    let policy = PortPolicy {
        span: fields.span(),
        port: fields.required("port", object(|fields| fields.required("number", port))),
        blocks: blocks(fields),
    };
    says_something(fields, &["loadBalancer", "connectionPool", "outlierDetection", "tls"]);
    policy
}

fn unique_ports(fields: &mut Fields<'_, '_>, ports: &[PortPolicy]) {
    for (index, entry) in ports.iter().enumerate() {
        if ports[..index].iter().any(|earlier| earlier.port == entry.port) {
            fields.reader.within(&format!("portLevelSettings[{index}]"), |reader| {
                let message = format!("port {} has settings already, and the first entry counts", entry.port);
                reader.note(Code::Shadowed, entry.span, message, "put both into one entry");
            });
        }
    }
}

fn tunnel(fields: &mut Fields<'_, '_>) {
    fields.optional("protocol", |value| {
        super::super::name::checked(value, |protocol| {
            if matches!(protocol, "CONNECT" | "POST") {
                Ok(())
            } else {
                Err("wants CONNECT or POST".to_owned())
            }
        })
    });
    fields.required("targetHost", super::super::name::plain_host);
    fields.required("targetPort", port);
}
