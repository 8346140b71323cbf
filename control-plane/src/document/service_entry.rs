//! ServiceEntry: a service that no Kubernetes knows, inside the mesh or outside.
//!
//! Together with WorkloadEntry it is the registry of those who write documents and have no cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::Fields;
use super::finding::Code;
use super::name;
use super::scalar::{choice, port, some_text};
use super::spelling::shorten;
use super::value::{Value, object};
use super::workload_entry::{self, WorkloadEntry};
use super::yaml::{Span, Spanned};

/// A ServiceEntry's spec.
#[derive(Clone, Debug, Default)]
pub struct ServiceEntry {
    /// Where the spec stands.
    pub span: Span,
    /// The hosts, as written.
    pub hosts: Vec<Spanned<String>>,
    /// The ports.
    pub ports: Vec<EntryPort>,
    /// Inside or outside the mesh.
    pub location: Location,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Endpoints given here.
    pub endpoints: Vec<WorkloadEntry>,
    /// Labels that select WorkloadEntries and workloads, instead of `endpoints`.
    pub workload_selector: Option<BTreeMap<String, String>>,
    /// Who sees it; empty is the mesh's default.
    pub export_to: Vec<String>,
    /// Names under which endpoints may answer, besides those of their service accounts.
    pub subject_alt_names: Vec<String>,
}

/// One port of a ServiceEntry.
#[derive(Clone, Debug, Default)]
pub struct EntryPort {
    /// Where the entry begins.
    pub span: Span,
    /// The port that callers use.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// `HTTP`, `GRPC` and so on; empty is TCP.
    pub protocol: String,
    /// The port that endpoints listen on, if another.
    pub target_port: Option<u16>,
}

/// Whether a service belongs to the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Location {
    /// It does not, so no mesh TLS is spoken to it.
    #[default]
    External,
    /// It does.
    Internal,
}

/// How the endpoints of a service are found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// The host that is called is resolved, whatever else is given.
    #[default]
    None,
    /// They are given.
    Static,
    /// Hosts or given names are resolved; every address is an endpoint.
    Dns,
    /// The same; the first address is the endpoint.
    DnsRoundRobin,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> ServiceEntry {
    let entry = ServiceEntry {
        span: fields.span(),
        hosts: fields.required("hosts", |value| value.items(name::host)),
        ports: fields.list("ports", object(entry_port)),
        location: fields.or_default(
            "location",
            choice(&[("MESH_EXTERNAL", 0, Location::External), ("MESH_INTERNAL", 1, Location::Internal)]),
        ),
        resolution: fields.or_default("resolution", resolution),
        endpoints: fields.list("endpoints", object(workload_entry::decode)),
        workload_selector: fields.optional("workloadSelector", object(workload_selector)),
        export_to: fields.or_default("exportTo", name::export_to),
        subject_alt_names: fields.list("subjectAltNames", some_text),
    };
    let subnets = addresses(fields);
    whole(fields, &entry, subnets);
    entry
}

fn entry_port(fields: &mut Fields<'_, '_>) -> EntryPort {
    EntryPort {
        span: fields.span(),
        number: fields.required("number", port),
        name: fields.required("name", |value| name::subset_name(value).value),
        protocol: fields.or_default("protocol", protocol),
        target_port: fields.optional("targetPort", port),
    }
}

fn protocol(value: Value<'_, '_>) -> String {
    const KNOWN: [&str; 12] = [
        "HTTP",
        "HTTPS",
        "GRPC",
        "GRPC-WEB",
        "HTTP2",
        "MONGO",
        "REDIS",
        "MYSQL",
        "TCP",
        "TLS",
        "UDP",
        "HTTP_PROXY",
    ];
    let protocol = name::known(value, "a protocol: HTTP, HTTPS, HTTP2, GRPC, TCP, TLS, MONGO", |protocol| {
        protocol.is_empty() || KNOWN.contains(&protocol.to_ascii_uppercase().as_str())
    });
    protocol.to_ascii_uppercase()
}

fn resolution(value: Value<'_, '_>) -> Resolution {
    choice(&[
        ("NONE", 0, Resolution::None),
        ("STATIC", 1, Resolution::Static),
        ("DNS", 2, Resolution::Dns),
        ("DNS_ROUND_ROBIN", 3, Resolution::DnsRoundRobin),
        ("DYNAMIC_DNS", 4, Resolution::Dns),
    ])(value)
}

fn workload_selector(fields: &mut Fields<'_, '_>) -> BTreeMap<String, String> {
    let labels = fields.or_default("labels", name::selector);
    if labels.is_empty() {
        fields.suspicious("", "selects every workload of the namespace", "add `labels`");
    }
    labels
}

/// Virtual addresses: checked, and without effect, because no connection is redirected by address here. Says whether
/// one of them is a range.
fn addresses(fields: &mut Fields<'_, '_>) -> bool {
    let mut subnets = false;
    fields.no_effect("addresses", |value| {
        value.items(|value| {
            let address = name::checked(value, name::subnet);
            subnets |= address.value.contains('/');
        })
    });
    subnets
}

fn whole(fields: &mut Fields<'_, '_>, entry: &ServiceEntry, subnets: bool) {
    if fields.has("hosts") && entry.hosts.is_empty() {
        fields.missing("hosts", "is empty", "add a host");
    }
    for host in entry.hosts.iter().filter(|host| host.value == "*") {
        fields.reader.within("hosts", |reader| {
            reader.note(
                Code::InvalidValue,
                host.span,
                "`*` alone would be every host",
                "name a host or a domain",
            );
        });
    }
    unique_ports(fields, &entry.ports);
    let foreign = entry.subject_alt_names.iter().any(|name| !name.starts_with("spiffe://"));
    if entry.location == Location::Internal && foreign {
        let message = "peers inside the mesh are SPIFFE IDs; another name acts with SIMPLE or MUTUAL of a DestinationRule only";
        fields.suspicious("subjectAltNames", message, "write `spiffe://…`");
    }
    if fields.has("workloadSelector") && !entry.endpoints.is_empty() {
        fields.conflict("endpoints", "excludes `workloadSelector`", "keep one of the two");
    }
    resolution_agrees(fields, entry, subnets);
    let shared =
        |port: &EntryPort| matches!(port.protocol.as_str(), "" | "TCP" | "UDP" | "MONGO" | "REDIS" | "MYSQL");
    if entry.resolution != Resolution::None && entry.hosts.len() > 1 && entry.ports.iter().any(shared) {
        let message = "several hosts share a port on which nothing tells them apart";
        fields.conflict("hosts", message, "write one entry for each host, or say `protocol: HTTP` or TLS");
    }
    if entry.workload_selector.is_some() && entry.resolution == Resolution::None {
        fields.suspicious(
            "workloadSelector",
            "`resolution: NONE` calls the host and nobody else",
            "set `resolution: STATIC`",
        );
    }
    check_endpoints(fields, entry);
}

/// What each way of finding endpoints excludes.
fn resolution_agrees(fields: &mut Fields<'_, '_>, entry: &ServiceEntry, subnets: bool) {
    let wildcard = entry.hosts.iter().any(|host| host.value.starts_with('*'));
    match entry.resolution {
        Resolution::None if !entry.endpoints.is_empty() => {
            fields.conflict(
                "endpoints",
                "NONE mode cannot have endpoints",
                "set `resolution: STATIC` or DNS",
            );
        }
        Resolution::DnsRoundRobin if entry.endpoints.len() > 1 => {
            fields.conflict("endpoints", "DNS_ROUND_ROBIN has one endpoint at most", "use DNS, or keep one");
        }
        Resolution::Dns | Resolution::DnsRoundRobin if subnets => {
            fields.conflict("addresses", "ranges go with NONE and STATIC only", "write single addresses");
        }
        Resolution::Dns | Resolution::DnsRoundRobin
            if wildcard && entry.endpoints.is_empty() && !fields.wrote("resolution", "DYNAMIC_DNS") =>
        {
            fields.conflict("hosts", "a wildcard cannot be resolved", "add endpoints, or name the host");
        }
        _ => {}
    }
}

fn check_endpoints(fields: &mut Fields<'_, '_>, entry: &ServiceEntry) {
    let names: BTreeSet<&str> = entry.ports.iter().map(|port| port.name.as_str()).collect();
    for (index, endpoint) in entry.endpoints.iter().enumerate() {
        let address = endpoint.address.as_str();
        let unix = address.starts_with("unix://");
        let dns = !address.is_empty() && !unix && address.parse::<std::net::IpAddr>().is_err();
        fields.reader.within(&format!("endpoints[{index}]"), |reader| {
            if entry.resolution == Resolution::Static && dns {
                reader.note(
                    Code::InvalidValue,
                    endpoint.span,
                    "STATIC endpoints have IP addresses",
                    "write the address, or use DNS",
                );
            }
            if entry.resolution != Resolution::Static && unix {
                let next = "set `resolution: STATIC`";
                reader.note(Code::InvalidValue, endpoint.span, "a socket has no name to look up", next);
            }
            if let Some(unknown) = endpoint.ports.keys().find(|name| !names.contains(name.as_str())) {
                let message = format!("`{}` is not one of the entry's ports", shorten(unknown));
                reader.note(Code::InvalidValue, endpoint.span, message, "use a name from `ports`");
            }
        });
    }
}

fn unique_ports(fields: &mut Fields<'_, '_>, ports: &[EntryPort]) {
    for (index, port) in ports.iter().enumerate() {
        let earlier = &ports[..index];
        let number = port.number > 0 && earlier.iter().any(|other| other.number == port.number);
        if number || earlier.iter().any(|other| other.name == port.name) {
            fields.reader.within(&format!("ports[{index}]"), |reader| {
                let message = format!("{} `{}` is given twice", port.number, port.name);
                reader.note(Code::Duplicate, port.span, message, "give each port its own name and number");
            });
        }
    }
}
