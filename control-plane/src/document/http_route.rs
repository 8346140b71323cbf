//! HTTPRoute of the Gateway API with a Service as its parent (GAMMA).
//!
//! Matches on path, headers, query and method, and weighted backends are honoured, and sessions; filters and timeouts are read for
//! their errors and refused by name. A route without any Service parent acts at gateways only and is kept inert.

use super::fields::Fields;
use super::header::is_header_name;
use super::name;
use super::pattern::{StringMatch, regex};
use super::route_filter;
use super::scalar::{choice, integer, port, some_text, text};
use super::session_persistence::{self, SessionPersistence};
use super::spelling::shorten;
use super::value::{Value, object};
use super::yaml::Span;

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
    /// Where requests go, by weight; none at all is answered 500.
    pub backends: Vec<BackendRef>,
    /// What keeps a caller with a backend and its endpoint.
    pub session: Option<SessionPersistence>,
}

/// One entry of `matches`, of which every part must match.
#[derive(Clone, Debug, Default)]
pub struct RouteMatch {
    /// Where the entry begins.
    pub span: Span,
    /// The path; absent is everything.
    pub path: Option<PathMatch>,
    /// Headers.
    pub headers: Vec<(String, StringMatch)>,
    /// Query parameters.
    pub query_params: Vec<(String, StringMatch)>,
    /// The method.
    pub method: Option<String>,
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// As a whole.
    Exact(String),
    /// By its first segments.
    Prefix(String),
    /// By an expression that matches the whole path.
    Regex(String),
}

/// A weighted backend.
#[derive(Clone, Debug, Default)]
pub struct BackendRef {
    /// Where the entry begins.
    pub span: Span,
    /// The Service's name.
    pub name: String,
    /// Its namespace, if another.
    pub namespace: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The share, relative to the sum.
    pub weight: u32,
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
        rules: fields.list("rules", object(rule)),
    };
    if route.in_mesh() {
        fields.no_effect("hostnames", |value| value.items(name::host));
    } else {
        fields.list("hostnames", name::host);
    }
    fields.no_effect("useDefaultGateways", text);
    if route.rules.len() > RULES_MAX {
        fields.invalid("rules", format!("has more than {RULES_MAX} rules"), "split the route");
    }
    route
}

fn parent(fields: &mut Fields<'_, '_>) -> ParentRef {
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
    let parent = ParentRef {
        span: fields.span(),
        kind,
        name: fields.required("name", some_text),
        namespace: fields.optional("namespace", name::label),
        port: fields.optional("port", port),
    };
    fields.no_effect("sectionName", text);
    parent
}

fn rule(fields: &mut Fields<'_, '_>) -> RouteRule {
    let rule = RouteRule {
        span: fields.span(),
        name: fields.optional("name", text),
        matches: fields.list("matches", object(route_match)),
        backends: fields.list("backendRefs", object(backend)),
        session: fields.optional("sessionPersistence", object(session_persistence::decode)),
    };
    fields.unsupported("filters", |value| value.items(object(route_filter::filter)));
    fields.unsupported("timeouts", object(route_filter::timeouts));
    fields.unsupported("retry", object(route_filter::retry));
    if rule.matches.len() > MATCHES_MAX {
        fields.invalid("matches", format!("has more than {MATCHES_MAX} entries"), "split the rule");
    }
    rule
}

fn backend(fields: &mut Fields<'_, '_>) -> BackendRef {
    let backend = backend_reference(fields);
    let weight = fields.optional("weight", integer(0, 1_000_000)).unwrap_or(1);
    fields.unsupported("filters", |value| value.items(object(route_filter::filter)));
    BackendRef { weight: u32::try_from(weight).unwrap_or(1), ..backend }
}

/// A Service, by name and port.
pub(super) fn backend_reference(fields: &mut Fields<'_, '_>) -> BackendRef {
    let group = fields.or_default("group", text);
    let kind = fields.optional("kind", some_text).unwrap_or_else(|| "Service".to_owned());
    let backend = BackendRef {
        span: fields.span(),
        name: fields.required("name", some_text),
        namespace: fields.optional("namespace", name::label),
        port: fields.optional("port", port),
        weight: 1,
    };
    if !group.is_empty() || kind != "Service" {
        let message = format!("a {} of group `{}` is no backend here", shorten(&kind), shorten(&group));
        fields.not_honoured("kind", message, "name a Service");
    } else if backend.port.is_none() {
        fields.missing("port", "is required for a Service", "add the Service's port");
    }
    backend
}

fn route_match(fields: &mut Fields<'_, '_>) -> RouteMatch {
    RouteMatch {
        span: fields.span(),
        path: fields.optional("path", path),
        headers: fields.or_default("headers", |value| named(value, true)),
        query_params: fields.or_default("queryParams", |value| named(value, false)),
        method: fields.optional("method", method),
    }
}

fn method(value: Value<'_, '_>) -> String {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    name::known(value, "a method", |method| known.contains(&method))
}

/// How the `value` beside a `type` is compared.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Comparison {
    Exact,
    #[default]
    Prefix,
    Regex,
}

fn path(value: Value<'_, '_>) -> PathMatch {
    let read = value.object(|fields| {
        let kinds = [
            ("PathPrefix", -1, Comparison::Prefix),
            ("Exact", -2, Comparison::Exact),
            ("RegularExpression", -3, Comparison::Regex),
        ];
        let comparison = fields.or_default("type", choice(&kinds));
        let path = fields.optional("value", |value| match comparison {
            Comparison::Regex => regex(value),
            _ => name::checked(value, check_path).value,
        });
        (comparison, path)
    });
    let path = read.1.unwrap_or_else(|| "/".to_owned());
    match read.0 {
        Comparison::Exact => PathMatch::Exact(path),
        Comparison::Prefix => PathMatch::Prefix(path),
        Comparison::Regex => PathMatch::Regex(path),
    }
}

/// What the Gateway API refuses in paths, because no canonical path can have it.
fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("`{}` does not begin with `/`", shorten(path)));
    }
    let never = ["//", "/./", "/../", "%2f", "%2F", "#"];
    if let Some(never) = never.iter().find(|part| path.contains(**part)) {
        return Err(format!("`{}` has `{never}`, which no canonical path has", shorten(path)));
    }
    if path.ends_with("/..") || path.ends_with("/.") {
        return Err(format!("`{}` ends with dots, as no canonical path does", shorten(path)));
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("is longer than {PATH_BYTES_MAX} bytes"));
    }
    Ok(())
}

/// Matches by name: of one name only the first counts, as the Gateway API says.
fn named(value: Value<'_, '_>, header: bool) -> Vec<(String, StringMatch)> {
    let mut matches: Vec<(String, StringMatch)> = Vec::new();
    let read = value.items(object(|fields| {
        let kinds = [("Exact", -1, Comparison::Exact), ("RegularExpression", -2, Comparison::Regex)];
        let comparison = fields.optional("type", choice(&kinds)).unwrap_or(Comparison::Exact);
        let name = fields.required("name", |value| name::known(value, "a name", is_header_name));
        let wanted = fields.required("value", |value| match comparison {
            Comparison::Regex => StringMatch::Regex(regex(value)),
            _ => StringMatch::Exact(some_text(value)),
        });
        (name, wanted)
    }));
    for (name, wanted) in read {
        let same = |other: &str| if header { other.eq_ignore_ascii_case(&name) } else { other == name };
        if !matches.iter().any(|(other, _)| same(other)) {
            matches.push((name, wanted));
        }
    }
    matches
}

/// As many rules as the Gateway API takes.
const RULES_MAX: usize = 16;
/// As many matches of one rule as the Gateway API takes.
const MATCHES_MAX: usize = 64;
/// As long a path as the Gateway API takes.
const PATH_BYTES_MAX: usize = 1024;
