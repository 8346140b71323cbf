//! VirtualService: how a host's requests are routed, and its connections.

mod action;
mod fault;
mod http;
mod matching;
mod mirror;
mod redirect_loop;
mod transport;
mod unreachable;

pub use action::{
    Delegate, DirectResponse, HttpAction, Redirect, RedirectPath, RedirectPort, RegexRewrite, Rewrite,
    RouteDestination,
};
pub use fault::{Abort, AbortStatus, Delay, Fault};
pub use http::HttpRule;
pub use matching::HttpMatch;
pub use mirror::Mirror;
pub use transport::{TransportMatch, TransportRule};

use std::net::IpAddr;

use super::{Code, Fields, Span, Spanned, name, object};

/// A VirtualService's spec.
#[derive(Clone, Debug, Default)]
pub struct VirtualService {
    /// Where the spec stands.
    pub span: Span,
    /// The hosts it speaks for, as written.
    pub hosts: Vec<Spanned<String>>,
    /// Where it applies; empty is `mesh`.
    pub gateways: Vec<Spanned<String>>,
    /// Who sees it; empty is the mesh's default.
    pub export_to: Vec<String>,
    /// The rules for requests, of which the first that matches decides.
    pub http: Vec<HttpRule>,
    /// The rules for TLS that passes through, by server name.
    pub tls: Vec<TransportRule>,
    /// The rules for all other connections, of which the first that matches decides.
    pub tcp: Vec<TransportRule>,
}

impl VirtualService {
    /// Whether it applies to callers inside the mesh, not only at gateways.
    pub fn in_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway.value == "mesh")
    }
}

/// What a rule must know of the document around it.
#[derive(Clone, Copy, Debug)]
struct Bound {
    /// Whether the document is a delegate, which speaks for no host itself.
    delegate: bool,
    /// Whether it applies inside the mesh.
    in_mesh: bool,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> VirtualService {
    let hosts = fields.list("hosts", name::spoken_host);
    let gateways = fields.list("gateways", name::gateway);
    let mut service = VirtualService {
        span: fields.span(),
        hosts,
        gateways,
        export_to: fields.or_default("exportTo", name::export_to),
        ..VirtualService::default()
    };
    let bound = Bound { delegate: service.hosts.is_empty(), in_mesh: service.in_mesh() };
    service.http = fields.list("http", |value| http::decode(value, bound));
    let hosts: Vec<&str> = service.hosts.iter().map(|host| host.value.as_str()).collect();
    service.tls = fields.list("tls", |value| transport::tls_rule(value, &hosts));
    service.tcp = fields.list("tcp", object(transport::tcp_rule));
    whole(fields, &service);
    service
}

/// What only the whole document shows.
fn whole(fields: &mut Fields<'_, '_>, service: &VirtualService) {
    if !["http", "tls", "tcp"].iter().any(|protocol| fields.has(protocol)) {
        fields.missing("", "has no route", "add `http`, with at least one rule");
    }
    if service.hosts.is_empty() {
        if !service.gateways.is_empty() {
            fields.conflict(
                "gateways",
                "a delegate has neither hosts nor gateways",
                "add `hosts`, or remove `gateways`",
            );
        }
        for protocol in ["tls", "tcp"] {
            if fields.has(protocol) {
                let next = "remove the field, or add `hosts`";
                fields.conflict(protocol, "a delegate has `http` only", next);
            }
        }
    }
    if service.in_mesh() && service.hosts.iter().any(|host| host.value == "*") {
        fields.invalid(
            "hosts",
            "`*` is a host only at a gateway",
            "name the host, or a domain as `*.example.com`",
        );
    }
    overlapping_hosts(fields, &service.hosts);
    unreachable::check(fields, &service.http);
    redirect_loop::check(fields, &service.http);
    unreachable::check_transport(fields, "tls", &service.tls);
    unreachable::check_transport(fields, "tcp", &service.tcp);
    if service.in_mesh() && service.gateways.iter().any(|gateway| gateway.value != "mesh") {
        let message = "gateways beside `mesh` have no effect until there is an edge";
        fields.note(Code::Inert, "gateways", message, "nothing needs to be done");
    }
}

/// No host may be listed that another of the same document covers.
fn overlapping_hosts(fields: &mut Fields<'_, '_>, hosts: &[Spanned<String>]) {
    for (index, host) in hosts.iter().enumerate() {
        let covers = |earlier: &&Spanned<String>| {
            covers(&earlier.value, &host.value) || covers(&host.value, &earlier.value)
        };
        if let Some(earlier) = hosts[..index].iter().find(covers) {
            let message = format!("`{}` and `{}` overlap", earlier.value, host.value);
            fields.reader.note_at("hosts", Code::Duplicate, host.span, message, "keep the one that is meant");
        }
    }
}

/// Whether `pattern` is, or as a wildcard covers, `host`.
fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) if host.parse::<IpAddr>().is_err() => {
            host.strip_prefix('*').unwrap_or(host).ends_with(suffix)
        }
        _ => pattern == host,
    }
}
