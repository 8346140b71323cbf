//! What only the whole set shows: a subset that nothing defines, a host that nothing knows, a rule that never acts.
//!
//! It is asked of what would hold *after* a change, be it an application or a deletion, so that no order of changes can
//! bring about what a single one would be refused for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use mesh_core::route::StickyKey;

use super::host_index::HostIndex;
use super::{
    BackendRef, Code, Delegate, DestinationRule, Document, DocumentKey, DocumentSet, Finding, GrpcRoute,
    HttpAction, HttpRoute, MeshSettings, ReferenceGrant, Report, RouteDestination, SERVICE_DOMAIN, Service,
    ServiceEntry, Span, TransportRule, VirtualService, is_granted, qualified,
};

/// A finding about one document of a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WholeFinding {
    /// The document.
    pub document: DocumentKey,
    /// What is to be said about it.
    pub finding: Finding,
}

/// Says of settings among `touched` that a mesh keeps its `own` trust domain, whatever they write.
pub fn check_trust_domain(
    documents: &DocumentSet,
    touched: &BTreeSet<&DocumentKey>,
    own: &str,
) -> Option<WholeFinding> {
    const FIELD: &str = "spec.trustDomain";
    let written = documents.all::<MeshSettings>().into_iter().find_map(|(document, settings)| {
        let differs = touched.contains(&document.key) && settings.trust_domain != own;
        Some((document, document.span_of(FIELD).filter(|_| differs)?))
    });
    let (document, span) = written?;
    let finding = Finding {
        code: Code::Suspicious,
        field: FIELD.to_owned(),
        span,
        message: format!("has no effect here: this control plane was started for `{own}`"),
        next: format!("write `{own}`, or remove the field"),
    };
    Some(WholeFinding { document: document.key.clone(), finding })
}

/// Judges a set as a whole. `registered` are hosts that workloads have registered, by their full names.
pub fn check_whole(documents: &DocumentSet, registered: &BTreeSet<String>) -> Vec<WholeFinding> {
    let delegates = documents.all::<VirtualService>().into_iter();
    let delegates =
        delegates.filter(|(_, service)| service.hosts.is_empty()).map(|(document, _)| &document.key);
    let grants = documents.all::<ReferenceGrant>().into_iter();
    let mut whole = Whole {
        documents,
        hosts: Hosts::of(documents, registered),
        delegates: delegates.map(|key| (&*key.namespace, &*key.name)).collect(),
        grants: grants.map(|(document, grant)| (&*document.key.namespace, grant)).collect(),
        findings: Vec::new(),
    };
    whole.destinations();
    whole.backends();
    whole.shadowed();
    whole.shadowed_rules();
    whole.settings();
    whole.findings
}

/// Puts findings about the whole with the documents that they are about. One that has no report yet gets one.
pub fn attach(reports: &mut Vec<Report>, findings: Vec<WholeFinding>, documents: &DocumentSet) {
    // A replaced document has a report of its own, so the name alone does not tell which is meant.
    let place = |name: &str, file: &Arc<str>, span: Span| (name.to_owned(), file.clone(), span);
    let named = reports.iter().enumerate();
    let mut places: HashMap<_, usize> = named
        .filter_map(|(index, report)| {
            Some((place(report.document.as_ref()?, &report.file, report.span), index))
        })
        .collect();
    for WholeFinding { document: key, finding } in findings {
        let Some(document) = documents.get(&key) else { continue };
        let name = key.to_string();
        let index = *places.entry(place(&name, &document.file, document.span)).or_insert_with(|| {
            reports.push(Report {
                document: Some(name),
                file: document.file.clone(),
                span: document.span,
                findings: Vec::new(),
            });
            reports.len() - 1
        });
        reports[index].findings.push(finding);
    }
}

/// The subsets that DestinationRules define, by host.
type Subsets<'a> = HostIndex<BTreeSet<&'a str>>;

struct Whole<'a> {
    documents: &'a DocumentSet,
    hosts: Hosts,
    // Looked up once, since rules ask for them by the hundred thousand.
    /// Namespaces and names of VirtualServices without hosts.
    delegates: BTreeSet<(&'a str, &'a str)>,
    /// ReferenceGrants and their namespaces.
    grants: Vec<(&'a str, &'a ReferenceGrant)>,
    findings: Vec<WholeFinding>,
}

impl Whole<'_> {
    fn note(
        &mut self,
        document: &Document,
        code: Code,
        field: String,
        span: Span,
        message: String,
        next: &str,
    ) {
        let finding = Finding { code, field, span, message, next: next.to_owned() };
        self.findings.push(WholeFinding { document: document.key.clone(), finding });
    }

    fn destinations(&mut self) {
        let mut subsets = Subsets::default();
        for (document, rule) in self.documents.all::<DestinationRule>() {
            let defined = subsets.entry(qualified(&rule.host.value, &document.key.namespace));
            defined.extend(rule.subsets.iter().map(|subset| subset.name.value.as_str()));
        }
        for (document, service) in self.documents.all::<VirtualService>() {
            if !service.in_mesh() {
                continue;
            }
            for (index, rule) in service.http.iter().enumerate() {
                if let Some(delegate) = &rule.delegate {
                    self.delegate(document, delegate, index);
                }
                for mirror in &rule.mirrors {
                    let field = format!("spec.http[{index}].mirror");
                    self.destination(document, &subsets, &mirror.destination, &field);
                }
                let HttpAction::Route(routes) = &rule.action else { continue };
                for (place, route) in routes.iter().enumerate() {
                    let field = format!("spec.http[{index}].route[{place}].destination");
                    self.destination(document, &subsets, route, &field);
                }
            }
            for (protocol, rules) in [("tls", &service.tls), ("tcp", &service.tcp)] {
                for (index, rule) in rules.iter().enumerate() {
                    self.connections(document, &subsets, rule, &format!("spec.{protocol}[{index}]"));
                }
            }
        }
    }

    fn connections(&mut self, document: &Document, subsets: &Subsets<'_>, rule: &TransportRule, field: &str) {
        for (place, route) in rule.destinations.iter().enumerate() {
            self.destination(document, subsets, route, &format!("{field}.route[{place}].destination"));
        }
        let unseen = document.metadata.sticky.as_ref().filter(|key| **key != StickyKey::Identity);
        if let Some(key) = unseen.filter(|_| rule.destinations.len() > 1) {
            let message = format!("is drawn for each connection: `{key}` is no fact of one");
            let next = "write `identity` to keep each caller, or nothing if drawing is meant";
            self.note(document, Code::Suspicious, field.to_owned(), rule.span, message, next);
        }
    }

    /// Without the document that a rule leaves its requests to, the rule does nothing.
    fn delegate(&mut self, document: &Document, delegate: &Delegate, index: usize) {
        let namespace = delegate.namespace.as_deref().unwrap_or(&document.key.namespace);
        if !self.delegates.contains(&(namespace, &*delegate.name)) {
            let field = format!("spec.http[{index}].delegate");
            let span = document.span_of(&field).unwrap_or_default();
            let message = format!(
                "no VirtualService {namespace}/{} without hosts is there; the rule does nothing",
                delegate.name
            );
            self.note(document, Code::UnknownHost, field, span, message, "apply it, or correct the name");
        }
    }

    fn destination(
        &mut self,
        document: &Document,
        subsets: &Subsets<'_>,
        route: &RouteDestination,
        field: &str,
    ) {
        let host = qualified(&route.host.value, &document.key.namespace);
        if let Some(subset) = &route.subset
            && !subsets.covering(&host).any(|defined| defined.contains(subset.value.as_str()))
        {
            let message = format!("no DestinationRule of {host} defines the subset `{}`", subset.value);
            let next = "define it in a DestinationRule, applied before or together with this document";
            let field = format!("{field}.subset");
            self.note(document, Code::DanglingSubset, field, subset.span, message, next);
        }
        if !self.hosts.knows(&host) {
            self.unknown_host(document, &host, format!("{field}.host"), route.host.span);
        }
    }

    fn backends(&mut self) {
        let http = self.documents.all::<HttpRoute>().into_iter();
        let grpc =
            self.documents.all::<GrpcRoute>().into_iter().map(|(document, route)| (document, &route.0));
        for (document, route) in http.chain(grpc).filter(|(_, route)| route.in_mesh()) {
            for (index, rule) in route.rules.iter().enumerate() {
                for (place, backend) in rule.backends.iter().enumerate() {
                    let field = format!("spec.rules[{index}].backendRefs[{place}]");
                    self.backend(document, route, backend, &field);
                }
                let mirrors = rule.filters.mirrors.iter().map(|mirror| &mirror.backend);
                let auth = rule.filters.external_auth.iter().map(|auth| &auth.backend);
                for backend in mirrors.chain(auth) {
                    self.backend(document, route, backend, &format!("spec.rules[{index}].filters"));
                }
            }
        }
    }

    fn backend(&mut self, document: &Document, route: &HttpRoute, backend: &BackendRef, field: &str) {
        let DocumentKey { kind, namespace: own, .. } = &document.key;
        let namespace = backend.namespace.as_deref().unwrap_or(own);
        let host = backend.host(own);
        if !self.hosts.knows(&host) {
            self.unknown_host(document, &host, format!("{field}.name"), backend.span);
        }
        if !is_granted(self.grants.iter().copied(), (kind.name(), own), route, backend) {
            let kind = kind.name();
            let message =
                format!("no ReferenceGrant of {namespace} lets {kind}s of {own} send to {}", backend.name);
            let next = "add the grant there; until then its requests are answered 500, copies are dropped, and what it is to \
                        authorize is denied";
            self.note(document, Code::NotGranted, format!("{field}.namespace"), backend.span, message, next);
        }
    }

    fn unknown_host(&mut self, document: &Document, host: &str, field: String, span: Span) {
        let message = format!("no document and no workload makes {host} known; calls to it will fail");
        let next = "correct the name, or add a Service or ServiceEntry";
        self.note(document, Code::UnknownHost, field, span, message, next);
    }

    /// Of several VirtualServices for a host that the same callers see, the oldest wins whole.
    fn shadowed(&mut self) {
        let mut owners: BTreeMap<(String, BTreeSet<String>), DocumentKey> = BTreeMap::new();
        for (document, service) in self.documents.all::<VirtualService>() {
            if !service.in_mesh() {
                continue;
            }
            let namespace = &document.key.namespace;
            let seen_by = visibility(&service.export_to, namespace);
            for (index, host) in service.hosts.iter().enumerate() {
                let name = qualified(&host.value, namespace);
                let owner =
                    owners.entry((name.clone(), seen_by.clone())).or_insert_with(|| document.key.clone());
                if *owner != document.key {
                    let message = format!(
                        "{owner} is older and also speaks for {name}; this document never acts for it"
                    );
                    let next = "move the rules into one document, or remove one of the two";
                    let field = format!("spec.hosts[{index}]");
                    self.note(document, Code::Shadowed, field, host.span, message, next);
                }
            }
        }
    }

    /// DestinationRules of one host, namespace, selector and visibility are read as one: of the older one's policy and of its
    /// subsets none is replaced.
    fn shadowed_rules(&mut self) {
        let mut said: HashMap<_, DocumentKey> = HashMap::new();
        for (document, rule) in self.documents.all::<DestinationRule>() {
            let namespace = &document.key.namespace;
            let host = qualified(&rule.host.value, namespace);
            let seen_by = match rule.workload_selector {
                Some(_) => BTreeSet::from([namespace.clone()]),
                None => visibility(&rule.export_to, namespace),
            };
            let policy = rule
                .traffic_policy
                .as_ref()
                .map(|policy| (String::new(), "spec.trafficPolicy".to_owned(), policy.span));
            let subsets = rule.subsets.iter().enumerate().map(|(index, subset)| {
                (subset.name.value.clone(), format!("spec.subsets[{index}].name"), subset.name.span)
            });
            for (name, field, span) in policy.into_iter().chain(subsets) {
                let place = (host.clone(), namespace, seen_by.clone(), &rule.workload_selector, name);
                let owner = said.entry(place).or_insert_with(|| document.key.clone()).clone();
                if owner != document.key {
                    let message =
                        format!("{owner} is older and says this for {host} already; it never acts here");
                    self.note(document, Code::Shadowed, field, span, message, "say it in one document");
                }
            }
        }
    }

    fn settings(&mut self) {
        let all = self.documents.all::<MeshSettings>();
        let Some(((first, _), others)) = all.split_first() else { return };
        for (document, _) in others {
            let message = format!("{} holds already, and a mesh has one MeshSettings", first.key);
            let next = "write all settings into one document";
            self.note(document, Code::Duplicate, String::new(), document.span, message, next);
        }
    }
}

/// The namespaces that see a document; `*` is all of them.
fn visibility(export_to: &[String], namespace: &str) -> BTreeSet<String> {
    if export_to.is_empty() || export_to.iter().any(|name| name == "*") {
        return BTreeSet::from(["*".to_owned()]);
    }
    let named = export_to.iter().filter(|name| *name != "~");
    named.map(|name| if name == "." { namespace.to_owned() } else { name.clone() }).collect()
}

/// The hosts that can be called.
struct Hosts {
    known: HostIndex<()>,
    /// Whether the mesh's own services are known at all: without any document of one, they register themselves.
    services: bool,
}

impl Hosts {
    fn of(documents: &DocumentSet, registered: &BTreeSet<String>) -> Self {
        let mut known = HostIndex::default();
        registered.iter().for_each(|host| *known.entry(host.clone()) = ());
        for (document, _) in documents.all::<Service>() {
            *known.entry(qualified(&document.key.name, &document.key.namespace)) = ();
        }
        let services = !known.is_empty();
        for (document, entry) in documents.all::<ServiceEntry>() {
            for host in &entry.hosts {
                *known.entry(qualified(&host.value, &document.key.namespace)) = ();
            }
        }
        Self { known, services }
    }

    fn knows(&self, host: &str) -> bool {
        let local = host.ends_with(&format!(".svc.{SERVICE_DOMAIN}"));
        (local && !self.services) || self.known.covering(host).next().is_some()
    }
}
