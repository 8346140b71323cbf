//! HTTPRoute of the Gateway API with a Service as its parent (GAMMA).
//!
//! Matches on path, headers, query and method, weighted backends, filters, timeouts, retries and sessions are honoured. A route without any Service parent acts at gateways only and is kept inert.

use super::{
    Fields, PathMatch, Retries, RouteFilters, RouteMatch, RouteRewrite, RouteTimeouts, SessionPersistence,
    Span, Value, integer, name, object, port, retries, route_filter, route_match, route_timeouts,
    session_persistence, shorten, some_text, text,
};

/// An HTTPRoute's spec.
#[derive(Clone, Debug, Default)]
pub struct HttpRoute {
    /// Where the spec stands.
    pub span: Span,
    /// What the route is attached to.
    pub parents: Vec<ParentRef>,
    /// The rules.
    pub rules: Vec<RouteRule>,
}

/// Something that a route is attached to.
#[derive(Clone, Debug, Default)]
pub struct ParentRef {
    /// Where the entry begins.
    pub span: Span,
    /// What it is.
    pub kind: ParentKind,
    /// Its name.
    pub name: String,
    /// Its namespace, if another.
    pub namespace: Option<String>,
    /// The one port that is meant, if not all.
    pub port: Option<u16>,
    /// The name of the one port that is meant, if not all.
    pub section: Option<String>,
}

/// What a route is attached to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ParentKind {
    /// A gateway, which this mesh does not have yet.
    #[default]
    Gateway,
    /// A Service.
    Service,
    /// An Istio ServiceEntry.
    ServiceEntry,
}

/// One rule.
#[derive(Clone, Debug, Default)]
pub struct RouteRule {
    /// Where the rule begins.
    pub span: Span,
    /// Its name, for people.
    pub name: Option<String>,
    /// Any of these must match; none at all matches everything.
    pub matches: Vec<RouteMatch>,
    /// What is done to requests and answers; a redirect takes the place of the backends.
    pub filters: RouteFilters,
    /// How long it may take.
    pub timeouts: RouteTimeouts,
    /// Where requests go, by weight; none at all is answered 500.
    pub backends: Vec<BackendRef>,
    /// What keeps a caller with a backend and its endpoint.
    pub session: Option<SessionPersistence>,
    /// How often a request is tried again.
    pub retries: Option<Retries>,
}

/// A weighted backend.
#[derive(Clone, Debug, Default)]
pub struct BackendRef {
    /// Where the entry begins.
    pub span: Span,
    /// What it is.
    pub kind: BackendKind,
    /// The Service's name, or the host itself.
    pub name: String,
    /// Its namespace, if another.
    pub namespace: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The share, relative to the sum.
    pub weight: u32,
    /// What is done to the requests that go here, after the rule's own filters.
    pub filters: RouteFilters,
}

/// What a backend is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BackendKind {
    /// A Service.
    #[default]
    Service,
    /// Istio's `Hostname`: any host that the mesh knows, by its full name.
    Hostname,
}

impl BackendRef {
    /// The full name of its host, for a route of a namespace.
    pub fn host(&self, namespace: &str) -> String {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        match self.kind {
            BackendKind::Service => {
                format!("{}.{namespace}.svc.{}", self.name.to_ascii_lowercase(), name::SERVICE_DOMAIN)
            }
            BackendKind::Hostname => self.name.to_ascii_lowercase(),
        }
    }
}

impl HttpRoute {
    /// Whether the route is attached to anything inside the mesh.
    pub fn in_mesh(&self) -> bool {
        self.parents.iter().any(|parent| parent.kind != ParentKind::Gateway)
    }
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> HttpRoute {
    let route = HttpRoute {
        span: fields.span(),
        parents: fields.list("parentRefs", object(parent)),
        rules: fields.optional("rules", |value| value.items(object(rule))).unwrap_or_else(everything),
    };
    common(fields, &route);
    route
}

/// What the Gateway API puts where no rules are written: everything, to no backend.
fn everything() -> Vec<RouteRule> {
    vec![RouteRule::default()]
}

/// What a route of any protocol has beside its rules.
pub(super) fn common(fields: &mut Fields<'_, '_>, route: &HttpRoute) {
    if route.in_mesh() {
        fields.no_effect("hostnames", |value| value.items(name::host));
    } else {
        fields.list("hostnames", name::host);
    }
    fields.no_effect("useDefaultGateways", text);
    if route.rules.len() > RULES_MAX {
        fields.invalid("rules", format!("has more than {RULES_MAX} rules"), "split the route");
    }
    if route.rules.iter().map(|rule| rule.matches.len()).sum::<usize>() > ROUTE_MATCHES_MAX {
        let message = format!("have more than {ROUTE_MATCHES_MAX} matches together");
        fields.invalid("rules", message, "split the route");
    }
}

pub(super) fn parent(fields: &mut Fields<'_, '_>) -> ParentRef {
    let group = fields.optional("group", text).unwrap_or_else(|| "gateway.networking.k8s.io".to_owned());
    let kind = fields.optional("kind", some_text).unwrap_or_else(|| "Gateway".to_owned());
    let kind = match (group.as_str(), kind.as_str()) {
        ("", "Service") => ParentKind::Service,
        ("networking.istio.io", "ServiceEntry") => ParentKind::ServiceEntry,
        ("gateway.networking.k8s.io", "Gateway" | "ListenerSet") => ParentKind::Gateway,
        (group, kind) => {
            let message = format!("a {} of group `{}` is no parent here", shorten(kind), shorten(group));
            fields.not_honoured("kind", message, "use `group: \"\"` and `kind: Service`");
            ParentKind::Service
        }
    };
    ParentRef {
        span: fields.span(),
        kind,
        name: fields.required("name", some_text),
        namespace: fields.optional("namespace", name::label),
        port: fields.optional("port", port),
        section: fields.optional("sectionName", some_text),
    }
}

fn rule(fields: &mut Fields<'_, '_>) -> RouteRule {
    let rule = RouteRule {
        span: fields.span(),
        name: fields.optional("name", text),
        matches: fields.list("matches", object(route_match::http)),
        filters: fields.or_default("filters", route_filter::http),
        timeouts: fields.or_default("timeouts", object(route_timeouts::timeouts)),
        backends: fields.list("backendRefs", object(|fields| backend(fields, route_filter::http))),
        session: fields.optional("sessionPersistence", object(session_persistence::decode)),
        retries: fields.optional("retry", object(retries::http_route)),
    };
    check_rewrites(fields, &rule);
    check_matches(fields, &rule);
    rule
}

/// As many matches as the Gateway API takes.
pub(super) fn check_matches(fields: &mut Fields<'_, '_>, rule: &RouteRule) {
    if rule.matches.len() > MATCHES_MAX {
        fields.invalid("matches", format!("has more than {MATCHES_MAX} entries"), "split the rule");
    }
    if rule.backends.len() > BACKENDS_MAX {
        fields.invalid("backendRefs", format!("has more than {BACKENDS_MAX} entries"), "name fewer backends");
    }
}

/// Where redirects and rewrites can stand. A path is rewritten per route in xDS, so that the backends of a rule that rewrite
/// it have to agree.
fn check_rewrites(fields: &mut Fields<'_, '_>, rule: &RouteRule) {
    let all = std::iter::once(&rule.filters).chain(rule.backends.iter().map(|backend| &backend.filters));
    let one_prefix = match rule.matches.as_slice() {
        [] => true,
        [only] => matches!(only.path, None | Some(PathMatch::Prefix(_))),
        _ => false,
    };
    if all.clone().any(RouteFilters::replaces_prefix) && !one_prefix {
        let next = "match one PathPrefix, or use ReplaceFullPath";
        fields.conflict("matches", "is not the one PathPrefix that a filter replaces", next);
    }
    if rule.filters.redirect.is_some() && !rule.backends.is_empty() {
        fields.conflict("backendRefs", "are never reached, for the rule redirects", "remove one of the two");
    }
    check_backend_mirrors(fields, rule);
    let of_rule = |filters: &RouteFilters| {
        filters.redirect.is_some() || filters.cors.is_some() || filters.external_auth.is_some()
    };
    if all.clone().skip(1).any(of_rule) {
        let message = "has a redirect, CORS or ExternalAuth, which this mesh makes for a whole rule only";
        fields.not_honoured("backendRefs", message, "put the filter into the rule's `filters`");
    }
    let rewrites: Vec<&RouteRewrite> =
        rule.backends.iter().filter_map(|backend| backend.filters.rewrite.as_ref()).collect();
    let apart =
        rewrites.len() != rule.backends.len() || rewrites.windows(2).any(|two| two[0].path != two[1].path);
    if rewrites.iter().any(|rewrite| rewrite.path.is_some()) && apart {
        let message = "rewrite the path differently, which xDS cannot say of one rule";
        fields.not_honoured("backendRefs", message, "rewrite it alike, or write a rule for each");
    } else if rewrites.iter().any(|rewrite| rewrite.path.is_some()) && rule.filters.rewrite.is_some()
        || all.skip(1).any(RouteFilters::names_host) && rule.filters.names_host()
    {
        let message = "rewrite what the rule rewrites already";
        fields.not_honoured("backendRefs", message, "put it into one place");
    }
}

/// Copies are made per route in xDS, whichever backend is drawn.
pub(super) fn check_backend_mirrors(fields: &mut Fields<'_, '_>, rule: &RouteRule) {
    if rule.backends.iter().any(|backend| !backend.filters.mirrors.is_empty()) {
        let message = "has a RequestMirror, which this mesh makes for a whole rule only";
        fields.not_honoured("backendRefs", message, "put the filter into the rule's `filters`");
    }
}

/// A weighted backend, with filters of the route's own kind.
pub(super) fn backend(
    fields: &mut Fields<'_, '_>,
    filters: impl Fn(Value<'_, '_>) -> RouteFilters,
) -> BackendRef {
    let backend = backend_reference(fields);
    let weight = fields.optional("weight", integer(0, 1_000_000)).unwrap_or(1);
    let filters = fields.or_default("filters", filters);
    BackendRef { weight: u32::try_from(weight).unwrap_or(1), filters, ..backend }
}

/// A Service or a host, by name and port.
pub(super) fn backend_reference(fields: &mut Fields<'_, '_>) -> BackendRef {
    let group = fields.or_default("group", text);
    let kind = fields.optional("kind", some_text).unwrap_or_else(|| "Service".to_owned());
    let known = match (group.as_str(), kind.as_str()) {
        ("", "Service") => Some(BackendKind::Service),
        ("networking.istio.io", "Hostname") => Some(BackendKind::Hostname),
        _ => None,
    };
    let backend = BackendRef {
        span: fields.span(),
        kind: known.unwrap_or_default(),
        name: fields.required("name", some_text),
        namespace: fields.optional("namespace", name::label),
        port: fields.optional("port", port),
        weight: 1,
        filters: RouteFilters::default(),
    };
    if known == Some(BackendKind::Hostname) && backend.namespace.is_some() {
        fields.conflict("namespace", "does not go with a Hostname", "write the host's full name alone");
    }
    if known.is_none() {
        let message = format!("a {} of group `{}` is no backend here", shorten(&kind), shorten(&group));
        fields.not_honoured("kind", message, "name a Service");
    } else if backend.port.is_none() {
        fields.missing("port", "is required", "add the port");
    }
    backend
}

/// As many rules as the Gateway API takes.
const RULES_MAX: usize = 16;
/// As many matches of one rule as the Gateway API takes.
const MATCHES_MAX: usize = 64;
/// As many matches of all rules as the Gateway API takes.
const ROUTE_MATCHES_MAX: usize = 127;
/// As many backends of one rule as the Gateway API takes.
const BACKENDS_MAX: usize = 16;
