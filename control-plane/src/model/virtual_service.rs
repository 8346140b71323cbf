//! Which VirtualService speaks for a host (ISTIO-FIELDS §2.2): one document, whole, and never a mixture.

use super::delegate::{Delegates, Joined};
use super::{Declared, Labels, Protocol, View, Visibility, host};
use crate::document::MeshSettings;
use crate::document::{HttpMatch, HttpRule, Spanned, TransportMatch, TransportRule, VirtualService};

/// One VirtualService that holds inside the mesh, its names completed.
#[derive(Debug, Clone)]
pub struct Routing {
    /// The document.
    pub document: Declared<VirtualService>,
    hosts: Vec<String>,
    visibility: Visibility,
    /// All rules, where some are other documents'.
    joined: Option<Vec<Joined>>,
}

/// A rule that can apply to a caller on a port.
#[derive(Debug)]
pub struct Applicable<'s> {
    /// The document that the rule stands in: the host's own, or the one that it delegates to.
    pub document: &'s Declared<VirtualService>,
    /// The rule's place there.
    pub index: usize,
    /// The rule.
    pub rule: &'s HttpRule,
    /// The entries that can apply; without any, it takes every request.
    pub entries: Vec<&'s HttpMatch>,
}

/// A rule for connections that can apply to a caller on a port.
#[derive(Debug)]
pub struct ConnectionRule<'s> {
    /// `tls` or `tcp`.
    pub protocol: &'static str,
    /// The rule's place in the document.
    pub index: usize,
    /// The rule.
    pub rule: &'s TransportRule,
    /// The entries that can apply; without any, it takes every connection.
    pub entries: Vec<&'s TransportMatch>,
}

impl Routing {
    pub(super) fn new(
        document: &Declared<VirtualService>,
        delegates: &Delegates<'_>,
        settings: &MeshSettings,
    ) -> Option<Self> {
        if !document.spec.in_mesh() || document.spec.hosts.is_empty() {
            return None;
        }
        let complete = |host: &str| host::complete(host, &document.namespace).into_owned();
        let hosts = document.spec.hosts.iter().map(|host| complete(&host.value)).collect();
        let default = &settings.default_export_to.virtual_service;
        let visibility = Visibility::new(&document.spec.export_to, &document.namespace, default);
        let joined = delegates.join(document);
        Some(Self { document: document.clone(), hosts, visibility, joined })
    }

    /// The most specific of its hosts that covers `full_name`.
    pub fn pattern(&self, full_name: &str) -> Option<&str> {
        let covering = self.hosts.iter().filter(|pattern| host::covers(pattern, full_name));
        covering.max_by_key(|pattern| host::specificity(pattern)).map(String::as_str)
    }

    /// The rules that can apply to this caller on this port. The entries of a rule that cannot apply are left out; a rule
    /// that has none left is left out whole.
    pub fn rules(&self, view: &View<'_>, port: u16) -> Vec<Applicable<'_>> {
        let applicable = |(document, index, rule)| applicable(document, index, rule, view, port);
        match &self.joined {
            Some(joined) => {
                let all = joined.iter().map(|one| (&one.document, one.index, &one.rule));
                all.filter_map(applicable).collect()
            }
            None => {
                let all = self.document.spec.http.iter().enumerate();
                all.map(|(index, rule)| (&self.document, index, rule)).filter_map(applicable).collect()
            }
        }
    }
}

impl Routing {
    /// The rules for connections that can apply to this caller on this port: `tls` ones where TLS is spoken, `tcp` ones on
    /// any other port that is not declared HTTP, and either for a host of which no service says what is spoken.
    pub fn connection_rules(
        &self,
        view: &View<'_>,
        port: u16,
        spoken: Option<Protocol>,
    ) -> Vec<ConnectionRule<'_>> {
        let (tls, tcp) = match spoken {
            Some(Protocol::Http | Protocol::Http2) => (false, false),
            Some(Protocol::Tls) => (true, false),
            Some(Protocol::Tcp | Protocol::Undeclared) => (false, true),
            None => (true, true),
        };
        let spec = &self.document.spec;
        let all = [("tls", tls, &spec.tls), ("tcp", tcp, &spec.tcp)];
        let all = all.into_iter().filter(|(_, spoken, _)| *spoken).flat_map(|(protocol, _, rules)| {
            rules.iter().enumerate().map(move |(index, rule)| (protocol, index, rule))
        });
        all.filter_map(|(protocol, index, rule)| {
            let applies = |entry: &&TransportMatch| Asked::by_connections(entry).holds(view, port);
            let entries: Vec<&TransportMatch> = rule.matches.iter().filter(applies).collect();
            let possible = rule.matches.is_empty() || !entries.is_empty();
            possible.then_some(ConnectionRule { protocol, index, rule, entries })
        })
        .collect()
    }
}

fn applicable<'s>(
    document: &'s Declared<VirtualService>,
    index: usize,
    rule: &'s HttpRule,
    view: &View<'_>,
    port: u16,
) -> Option<Applicable<'s>> {
    let applies = |entry: &&HttpMatch| Asked::by_requests(entry).holds(view, port);
    let entries: Vec<&HttpMatch> = rule.matches.iter().filter(applies).collect();
    let possible = rule.matches.is_empty() || !entries.is_empty();
    possible.then_some(Applicable { document, index, rule, entries })
}

/// What of an entry is known before any request: port, gateway and who calls.
struct Asked<'m> {
    gateways: &'m [Spanned<String>],
    port: Option<u16>,
    source_namespace: Option<&'m String>,
    source_labels: &'m Labels,
}

impl<'m> Asked<'m> {
    fn by_requests(entry: &'m HttpMatch) -> Self {
        let HttpMatch { gateways, port, source_namespace, source_labels, .. } = entry;
        Self { gateways, port: *port, source_namespace: source_namespace.as_ref(), source_labels }
    }

    fn by_connections(entry: &'m TransportMatch) -> Self {
        let TransportMatch { gateways, port, source_namespace, source_labels, .. } = entry;
        Self { gateways, port: *port, source_namespace: source_namespace.as_ref(), source_labels }
    }

    fn holds(&self, view: &View<'_>, port: u16) -> bool {
        let in_mesh = self.gateways.is_empty() || self.gateways.iter().any(|one| one.value == "mesh");
        in_mesh
            && self.port.is_none_or(|wanted| wanted == port)
            && self.source_namespace.is_none_or(|wanted| wanted == view.namespace())
            && (self.source_labels.is_empty() || super::workload::carries(view.labels(), self.source_labels))
    }
}

/// The document that speaks for a host. `all` are the oldest first. Those private to the caller's namespace come before those
/// exported to it by name, and those before public ones; among them an exact host beats a wildcard, then age decides.
pub(super) fn select<'w>(all: &'w [Routing], view: &View<'_>, full_name: &str) -> Option<&'w Routing> {
    let covering: Vec<_> =
        all.iter().filter_map(|one| Some((one, host::specificity(one.pattern(full_name)?)))).collect();
    if covering.iter().all(|(one, _)| one.visibility == Visibility::Public) {
        return best(covering.into_iter());
    }
    let caller = view.namespace();
    let seen =
        covering.into_iter().filter(|(one, _)| one.visibility.includes(caller, &one.document.namespace));
    let mut seen: Vec<_> = seen.collect();
    seen.sort_by_key(|(one, _)| match one.visibility {
        Visibility::Private => 0,
        Visibility::Namespaces(_) => 1,
        Visibility::Public | Visibility::None => 2,
    });
    best(seen.into_iter())
}

/// The first of the most specific.
fn best<'w>(candidates: impl Iterator<Item = (&'w Routing, (bool, usize))>) -> Option<&'w Routing> {
    let first_of_best = |best: (&'w Routing, (bool, usize)), next: (&'w Routing, (bool, usize))| {
        if next.1 > best.1 { next } else { best }
    };
    candidates.reduce(first_of_best).map(|(routing, _)| routing)
}
