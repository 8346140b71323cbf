//! Filters of HTTPRoutes and GRPCRoutes: what a rule, or one of its backends, changes on the way.
//!
//! Headers, redirects, rewrites, mirrors, CORS and external authorization are honoured; what other projects define is refused by name.

use super::cors::{self, CorsPolicy};
use super::external_auth::{self, ExternalAuth};
use super::fields::Fields;
use super::header::{HeaderOperations, Headers, changed_name, is_authority, literal_value};
use super::http_route::{BackendRef, backend_reference};
use super::name;
use super::scalar::{choice, integer, port, some_text};
use super::spelling::shorten;
use super::value::{Value, object};

/// What all filters of one list do together.
#[derive(Clone, Debug, Default)]
pub struct RouteFilters {
    /// Operations on headers.
    pub headers: Headers,
    /// The caller is sent elsewhere.
    pub redirect: Option<RouteRedirect>,
    /// Path and host on the way to the backend.
    pub rewrite: Option<RouteRewrite>,
    /// Where copies go.
    pub mirrors: Vec<RouteMirror>,
    /// What pages of other origins may do.
    pub cors: Option<CorsPolicy>,
    /// Who is asked whether a request may go on.
    pub external_auth: Option<Box<ExternalAuth>>,
}

/// Copies to one backend.
#[derive(Clone, Debug, Default)]
pub struct RouteMirror {
    /// The backend; its weight says nothing.
    pub backend: BackendRef,
    /// Of a hundred requests; all unless it is said.
    pub percentage: f64,
}

/// A redirect. What is absent is the request's own, save that a port goes with its scheme.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRedirect {
    /// The scheme.
    pub scheme: Option<&'static str>,
    /// The host.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<PathModifier>,
    /// The port.
    pub port: Option<u16>,
    /// The status, 302 by default.
    pub code: u16,
}

/// A rewrite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteRewrite {
    /// The host becomes this.
    pub hostname: Option<String>,
    /// The path.
    pub path: Option<PathModifier>,
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathModifier {
    /// This.
    Full(String),
    /// Its matched segments become these.
    Prefix(String),
}

impl RouteFilters {
    /// Whether the host changes on the way to the backend.
    pub(super) fn names_host(&self) -> bool {
        let mut headers = self.headers.request.set.iter().chain(&self.headers.request.add);
        headers.any(|(name, _)| is_authority(name))
            || self.rewrite.as_ref().is_some_and(|rewrite| rewrite.hostname.is_some())
    }

    /// Whether a path changes in its matched prefix, so that there has to be one.
    pub(super) fn replaces_prefix(&self) -> bool {
        let redirect = self.redirect.as_ref().and_then(|redirect| redirect.path.as_ref());
        let rewrite = self.rewrite.as_ref().and_then(|rewrite| rewrite.path.as_ref());
        redirect.into_iter().chain(rewrite).any(|path| matches!(path, PathModifier::Prefix(_)))
    }
}

/// One filter.
#[derive(Default)]
enum Filter {
    RequestHeaders(HeaderOperations),
    ResponseHeaders(HeaderOperations),
    Redirect(RouteRedirect),
    Rewrite(RouteRewrite),
    Mirror(Box<RouteMirror>),
    Cors(CorsPolicy),
    ExternalAuth(Box<ExternalAuth>),
    /// Noted already.
    #[default]
    Refused,
}

/// Types of filter and the field that each fills; a GRPCRoute has the first four.
const FILTERS: [(&str, &str); 8] = [
    ("RequestHeaderModifier", "requestHeaderModifier"),
    ("ResponseHeaderModifier", "responseHeaderModifier"),
    ("RequestMirror", "requestMirror"),
    ("ExtensionRef", "extensionRef"),
    ("RequestRedirect", "requestRedirect"),
    ("URLRewrite", "urlRewrite"),
    ("CORS", "cors"),
    ("ExternalAuth", "externalAuth"),
];

/// The filters of an HTTPRoute.
pub(super) fn http(value: Value<'_, '_>) -> RouteFilters {
    filters(value, |fields| {
        let common = common(fields, &FILTERS);
        let redirect = fields.optional("requestRedirect", object(redirect)).map(Filter::Redirect);
        let rewrite = fields.optional("urlRewrite", object(rewrite)).map(Filter::Rewrite);
        let cors = fields.optional("cors", object(cors::http_route)).map(Filter::Cors);
        let auth = fields.optional("externalAuth", object(external_auth::decode));
        let auth = auth.map(|auth| Filter::ExternalAuth(Box::new(auth)));
        common.or(redirect).or(rewrite).or(cors).or(auth).unwrap_or_default()
    })
}

/// The filters of a GRPCRoute.
pub(super) fn grpc(value: Value<'_, '_>) -> RouteFilters {
    filters(value, |fields| common(fields, &FILTERS[..4]).unwrap_or_default())
}

fn filters(mut value: Value<'_, '_>, decode: impl Fn(&mut Fields<'_, '_>) -> Filter) -> RouteFilters {
    let mut all = RouteFilters::default();
    let mut seen: Vec<&str> = Vec::new();
    let read = value.reborrow().items(object(decode));
    if read.len() > FILTERS_MAX {
        value.invalid(format!("has more than {FILTERS_MAX} filters"), "remove some");
    }
    for filter in read {
        let kind = match filter {
            Filter::RequestHeaders(operations) => {
                all.headers.request = operations;
                "RequestHeaderModifier"
            }
            Filter::ResponseHeaders(operations) => {
                all.headers.response = operations;
                "ResponseHeaderModifier"
            }
            Filter::Redirect(redirect) => {
                all.redirect = Some(redirect);
                "RequestRedirect"
            }
            Filter::Rewrite(rewrite) => {
                all.rewrite = Some(rewrite);
                "URLRewrite"
            }
            Filter::Cors(cors) => {
                all.cors = Some(cors);
                "CORS"
            }
            Filter::ExternalAuth(auth) => {
                all.external_auth = Some(auth);
                "ExternalAuth"
            }
            // These alone may be repeated.
            Filter::Mirror(mirror) => {
                all.mirrors.push(*mirror);
                continue;
            }
            Filter::Refused => continue,
        };
        if seen.contains(&kind) {
            value.invalid(format!("has {kind} twice"), "put all of it into one filter");
        }
        seen.push(kind);
    }
    if all.redirect.is_some() && all.rewrite.is_some() {
        value.invalid("has both RequestRedirect and URLRewrite", "keep one: a redirect sends nothing on");
    }
    all
}

/// The fields of every route's filters, and that the type has its own field and no other.
fn common(fields: &mut Fields<'_, '_>, types: &[(&'static str, &'static str)]) -> Option<Filter> {
    let kind = fields.required("type", some_text);
    let request = fields.optional("requestHeaderModifier", object(|fields| header_modifier(fields, true)));
    let response = fields.optional("responseHeaderModifier", object(|fields| header_modifier(fields, false)));
    let mirror = fields.optional("requestMirror", object(mirror));
    fields.unsupported("extensionRef", opaque);
    match types.iter().find(|(name, _)| *name == kind) {
        Some((_, wanted)) => {
            if !fields.has(wanted) {
                fields.missing(wanted, format!("is required by {kind}"), "add the field");
            }
            let others = types.iter().filter(|(_, name)| name != wanted && fields.has(name));
            for (_, name) in others.collect::<Vec<_>>() {
                fields.conflict(name, format!("does not go with {kind}"), "remove the field");
            }
        }
        None if kind.is_empty() => {}
        None => {
            let known: Vec<&str> = types.iter().map(|(name, _)| *name).collect();
            let message = format!("`{}` is not a filter", shorten(&kind));
            fields.invalid("type", message, format!("write one of {}", known.join(", ")));
        }
    }
    let headers = request.map(Filter::RequestHeaders).or(response.map(Filter::ResponseHeaders));
    headers.or(mirror.map(|mirror| Filter::Mirror(Box::new(mirror))))
}

/// A block that other projects define.
fn opaque(_: Value<'_, '_>) {}

fn header_modifier(fields: &mut Fields<'_, '_>, authority: bool) -> HeaderOperations {
    let operations = HeaderOperations {
        set: fields.or_default("set", |value| pairs(value, authority)),
        add: fields.or_default("add", |value| pairs(value, authority)),
        remove: fields.list("remove", |value| changed_name(value, false)),
    };
    for (name, count) in
        [("set", operations.set.len()), ("add", operations.add.len()), ("remove", operations.remove.len())]
    {
        if count > HEADERS_MAX {
            fields.invalid(name, format!("has more than {HEADERS_MAX} headers"), "remove some");
        }
    }
    operations
}

/// Headers by name: of one name only the first counts, as the Gateway API says.
fn pairs(value: Value<'_, '_>, authority: bool) -> Vec<(String, String)> {
    let read = value.items(object(|fields| {
        let name = fields.required("name", |value| changed_name(value, authority));
        (name, fields.required("value", literal_value))
    }));
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, content) in read {
        if !pairs.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
            pairs.push((name, content));
        }
    }
    pairs
}

fn mirror(fields: &mut Fields<'_, '_>) -> RouteMirror {
    let backend = fields.required("backendRef", object(backend_reference));
    fields.at_most_one(&["percent", "fraction"]);
    // A hundred at most, which is exact.
    let percent = fields.optional("percent", integer(0, 100)).map(|percent| percent as f64);
    let fraction = fields.optional("fraction", object(fraction));
    RouteMirror { backend, percentage: percent.or(fraction).unwrap_or(100.0) }
}

/// A part, as percentage.
fn fraction(fields: &mut Fields<'_, '_>) -> f64 {
    let numerator = fields.required("numerator", integer(0, i64::from(i32::MAX)));
    let denominator = fields.optional("denominator", integer(1, i64::from(i32::MAX))).unwrap_or(100);
    if numerator > denominator {
        fields.invalid("numerator", "is above the denominator", "write a share of at most one");
    }
    // Both fit in 32 bits, which a float holds exactly; there is a denominator of 0 only where fields are listed.
    100.0 * numerator as f64 / denominator.max(1) as f64
}

fn redirect(fields: &mut Fields<'_, '_>) -> RouteRedirect {
    let schemes = [("http", -1, "http"), ("https", -2, "https")];
    RouteRedirect {
        scheme: fields.optional("scheme", choice(&schemes)),
        hostname: fields.optional("hostname", hostname),
        path: fields.optional("path", path_modifier).flatten(),
        port: fields.optional("port", port),
        code: fields.optional("statusCode", status_code).unwrap_or(302),
    }
}

fn status_code(mut value: Value<'_, '_>) -> u16 {
    let code = u16::try_from(integer(0, 599)(value.reborrow())).unwrap_or_default();
    if !matches!(code, 301 | 302 | 303 | 307 | 308) && value.node.is_some() {
        value.invalid(format!("{code} is no redirect"), "write 301, 302, 303, 307 or 308");
    }
    code
}

fn rewrite(fields: &mut Fields<'_, '_>) -> RouteRewrite {
    RouteRewrite {
        hostname: fields.optional("hostname", hostname),
        path: fields.optional("path", path_modifier).flatten(),
    }
}

/// A precise host name, small letters as the Gateway API has it.
fn hostname(value: Value<'_, '_>) -> String {
    name::known(value, "a host name in small letters", name::is_subdomain)
}

fn path_modifier(value: Value<'_, '_>) -> Option<PathModifier> {
    value.object(|fields| {
        let kind = fields.required("type", some_text);
        let full = fields.optional("replaceFullPath", path).map(PathModifier::Full);
        let prefix = fields.optional("replacePrefixMatch", path).map(PathModifier::Prefix);
        let wanted = match kind.as_str() {
            "ReplaceFullPath" => "replaceFullPath",
            "ReplacePrefixMatch" => "replacePrefixMatch",
            "" => return None,
            _ => {
                let next = "write ReplaceFullPath or ReplacePrefixMatch";
                fields.invalid("type", "is no way to change a path", next);
                return None;
            }
        };
        fields.exactly_one(&["replaceFullPath", "replacePrefixMatch"]);
        if !fields.has(wanted) {
            fields.missing(wanted, format!("is required by {kind}"), "add the field");
        }
        full.or(prefix)
    })
}

/// What a path becomes: a path by itself, or empty.
pub(super) fn path(value: Value<'_, '_>) -> String {
    name::checked(value, |path| {
        let slash = if path.starts_with('/') { "" } else { "/" };
        let read = http::uri::PathAndQuery::try_from(format!("{slash}{path}"));
        let whole = read.is_ok_and(|read| read.path().len() == slash.len() + path.len());
        if !whole || path.len() > PATH_BYTES_MAX {
            let message = format!("`{}` is not a path of at most {PATH_BYTES_MAX} bytes", shorten(path));
            return Err(message);
        }
        Ok(())
    })
    .value
}

/// As many filters of one rule or backend as the Gateway API takes.
const FILTERS_MAX: usize = 16;
/// As many headers of one operation as the Gateway API takes.
const HEADERS_MAX: usize = 16;
/// As long a path as the Gateway API takes.
const PATH_BYTES_MAX: usize = 1024;
