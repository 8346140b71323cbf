//! `tcp` and `tls` rules of a VirtualService: where connections go whose bytes nobody reads.
//!
//! Both are one type. A `tls` rule's entries name server names, which a `tcp` rule's never do.

use std::collections::BTreeMap;

use super::super::{Code, Fields, Span, Spanned, Value, name, object, port, shorten, some, text};
use super::action::{self, RouteDestination};

/// One rule for connections.
#[derive(Clone, Debug, Default)]
pub struct TransportRule {
    /// Where the rule begins.
    pub span: Span,
    /// Any of these must match; none at all, which only a `tcp` rule can have, matches everything.
    pub matches: Vec<TransportMatch>,
    /// Where a connection goes, by weight.
    pub destinations: Vec<RouteDestination>,
}

/// One entry of `match`: all of it is required.
#[derive(Clone, Debug, Default)]
pub struct TransportMatch {
    /// Where the entry begins.
    pub span: Span,
    /// The server names of a `tls` rule, lower case, some beginning with `*`.
    pub sni_hosts: Vec<String>,
    /// The service port that is called.
    pub port: Option<u16>,
    /// Labels of the caller.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the caller.
    pub source_namespace: Option<String>,
    /// Where the entry applies, instead of the document's `gateways`; empty is as there.
    pub gateways: Vec<Spanned<String>>,
}

pub(super) fn tls_rule(value: Value<'_, '_>, hosts: &[&str]) -> TransportRule {
    value.object(|fields| TransportRule {
        span: fields.span(),
        matches: fields.required("match", |mut value| {
            let matches = value.reborrow().items(|value| tls_match(value, hosts));
            some(&mut value, &matches);
            matches
        }),
        destinations: fields.required("route", destinations),
    })
}

pub(super) fn tcp_rule(fields: &mut Fields<'_, '_>) -> TransportRule {
    TransportRule {
        span: fields.span(),
        matches: fields.list("match", object(tcp_match)),
        destinations: fields.required("route", destinations),
    }
}

fn tls_match(value: Value<'_, '_>, hosts: &[&str]) -> TransportMatch {
    value.object(|fields| TransportMatch {
        sni_hosts: fields.required("sniHosts", |mut value| {
            let names = value.reborrow().items(|value| sni_host(value, hosts));
            some(&mut value, &names);
            names
        }),
        ..source(fields)
    })
}

fn tcp_match(fields: &mut Fields<'_, '_>) -> TransportMatch {
    fields.unsupported("sourceSubnet", |value| name::checked(value, name::subnet));
    source(fields)
}

/// What both protocols can match. A subnet could be told of a packet's address; a caller in process says a host.
fn source(fields: &mut Fields<'_, '_>) -> TransportMatch {
    fields.unsupported("destinationSubnets", |value| {
        value.items(|value| name::checked(value, name::subnet));
    });
    TransportMatch {
        span: fields.span(),
        sni_hosts: Vec::new(),
        port: fields.optional("port", port),
        source_labels: fields.or_default("sourceLabels", name::labels),
        source_namespace: fields.optional("sourceNamespace", name::label),
        gateways: fields.list("gateways", name::gateway),
    }
}

fn sni_host(mut value: Value<'_, '_>, hosts: &[&str]) -> String {
    let host = text(value.reborrow());
    if host.parse::<std::net::IpAddr>().is_ok() {
        let message = format!("`{}` is an address, which no client sends as a server name", shorten(&host));
        value.note(Code::Suspicious, message, "name the host");
        return host;
    }
    let covered = hosts.iter().any(|known| super::covers(known, &host));
    name::checked(value.reborrow(), |host| name::wildcard_domain(&host.replace('_', "x")));
    if !covered && value.node.is_some() {
        value.invalid(format!("`{}` is none of the document's hosts", shorten(&host)), "add it to `hosts`");
    }
    host.to_ascii_lowercase()
}

fn destinations(value: Value<'_, '_>) -> Vec<RouteDestination> {
    action::weighted(value, object(destination), |destination| destination.weight)
}

fn destination(fields: &mut Fields<'_, '_>) -> RouteDestination {
    RouteDestination {
        span: fields.span(),
        weight: fields.or_default("weight", action::weight),
        ..fields.required("destination", object(action::destination))
    }
}
