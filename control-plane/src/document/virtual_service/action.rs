//! What an `http` rule does: send to weighted destinations, redirect, or answer by itself.
//!
//! Rewriting stands here too, because it is read together with the action that it changes.

use base64::Engine as _;

use super::super::{
    Code, Fields, Headers, Span, Spanned, Value, choice, header, integer, name, object, port, regex,
    some_text, text,
};

/// What is done with a request.
#[derive(Clone, Debug)]
pub enum HttpAction {
    /// It is sent to one of these, by weight.
    Route(Vec<RouteDestination>),
    /// The caller is sent elsewhere.
    Redirect(Redirect),
    /// It is answered without being sent.
    DirectResponse(DirectResponse),
}

impl Default for HttpAction {
    fn default() -> Self {
        Self::Route(Vec::new())
    }
}

/// One weighted destination.
#[derive(Clone, Debug, Default)]
pub struct RouteDestination {
    /// Where the entry begins.
    pub span: Span,
    /// The host, as written.
    pub host: Spanned<String>,
    /// The subset, which a DestinationRule of the host defines.
    pub subset: Option<Spanned<String>>,
    /// The service port; may be absent if it is clear.
    pub port: Option<u16>,
    /// The share, relative to the sum; without effect when there is one destination.
    pub weight: u32,
    /// Operations on headers, after those of the rule.
    pub headers: Headers,
}

/// A redirect.
#[derive(Clone, Debug, Default)]
pub struct Redirect {
    /// What becomes of the path.
    pub path: Option<RedirectPath>,
    /// The authority.
    pub authority: Option<String>,
    /// The scheme.
    pub scheme: Option<String>,
    /// The port.
    pub port: Option<RedirectPort>,
    /// The status, 301 by default.
    pub code: u16,
}

/// What becomes of a redirected path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// Replaced.
    Full(String),
    /// The matched prefix is replaced.
    Prefix(String),
}

/// The port of a redirect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectPort {
    /// The scheme's own.
    #[default]
    FromProtocol,
    /// The one that the request names.
    FromRequest,
    /// This one.
    Number(u16),
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectResponse {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// What is rewritten before sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The matched prefix, or the whole path of an exact or regex match, becomes this.
    pub uri: Option<String>,
    /// The authority becomes this.
    pub authority: Option<String>,
    /// Every match in the path is replaced.
    pub uri_regex: Option<RegexRewrite>,
}

/// An expression and what replaces its matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegexRewrite {
    /// The expression, searched for in the path.
    pub pattern: String,
    /// The replacement, with `\1` for the first group.
    pub replacement: String,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> HttpAction {
    let routes = fields.optional("route", destinations).map(HttpAction::Route);
    let redirect = fields.optional("redirect", object(redirect)).map(HttpAction::Redirect);
    let response = fields.optional("directResponse", object(direct_response)).map(HttpAction::DirectResponse);
    routes.or(redirect).or(response).unwrap_or_default()
}

/// Weighted destinations, of which at least one can be chosen.
fn destinations(value: Value<'_, '_>) -> Vec<RouteDestination> {
    weighted(value, object(route_destination), |route| route.weight)
}

/// Reads destinations and refuses weights of which none can be drawn. A single destination takes everything, whatever
/// its weight.
pub(super) fn weighted<'n, T>(
    mut value: Value<'_, 'n>,
    decode: impl FnMut(Value<'_, 'n>) -> T,
    weight: impl Fn(&T) -> u32,
) -> Vec<T> {
    let before = value.reader.findings.len();
    let destinations = value.reborrow().items(decode);
    let total: u64 = destinations.iter().map(|destination| u64::from(weight(destination))).sum();
    if value.node.is_none() || value.reader.findings.len() > before {
        // A weight that could not be read says nothing about the sum.
        return destinations;
    }
    if destinations.is_empty() {
        value.invalid("names no destination", "add one, or remove the field");
    } else if destinations.len() > 1 && total == 0 {
        let next = "give a destination a weight above 0";
        value.invalid("all weights are 0, so that no destination can be chosen", next);
    } else if total > u64::from(u32::MAX) {
        value.invalid(format!("the weights' sum is above {}", u32::MAX), "write smaller weights");
    }
    destinations
}

fn route_destination(fields: &mut Fields<'_, '_>) -> RouteDestination {
    let target = fields.required("destination", object(destination));
    RouteDestination {
        span: fields.span(),
        weight: fields.or_default("weight", weight),
        headers: fields.or_default("headers", object(header::headers)),
        ..target
    }
}

/// A weight, which protobuf keeps in 32 signed bits.
pub(super) fn weight(value: Value<'_, '_>) -> u32 {
    u32::try_from(integer(0, i64::from(i32::MAX))(value)).unwrap_or_default()
}

pub(super) fn destination(fields: &mut Fields<'_, '_>) -> RouteDestination {
    RouteDestination {
        span: fields.span(),
        host: fields.required("host", name::destination_host),
        subset: fields.optional("subset", name::subset_name),
        port: fields.optional("port", object(|fields| fields.required("number", port))),
        ..RouteDestination::default()
    }
}

fn redirect(fields: &mut Fields<'_, '_>) -> Redirect {
    fields.at_most_one(&["uri", "prefixRewrite"]);
    fields.at_most_one(&["port", "derivePort"]);
    let full = fields.optional("uri", text).map(RedirectPath::Full);
    let prefix = fields.optional("prefixRewrite", text).map(RedirectPath::Prefix);
    let number = fields.optional("port", port).map(RedirectPort::Number);
    let derived = fields.optional(
        "derivePort",
        choice(&[
            ("FROM_PROTOCOL_DEFAULT", 0, RedirectPort::FromProtocol),
            ("FROM_REQUEST_PORT", 1, RedirectPort::FromRequest),
        ]),
    );
    let redirect = Redirect {
        path: full.or(prefix),
        authority: fields.optional("authority", text),
        scheme: fields.optional("scheme", scheme),
        port: number.or(derived),
        code: fields.optional("redirectCode", redirect_code).unwrap_or(301),
    };
    let said = ["uri", "prefixRewrite", "authority", "scheme", "port", "derivePort"];
    if !said.iter().any(|name| fields.filled(name)) {
        fields.missing("", "does not say where to", "add `uri`, `authority` or `scheme`");
    }
    redirect
}

fn scheme(value: Value<'_, '_>) -> String {
    name::known(value, "a scheme: http or https", |scheme| matches!(scheme, "http" | "https"))
}

fn redirect_code(mut value: Value<'_, '_>) -> u16 {
    let code = integer(0, 599)(value.reborrow());
    // Protobuf's 0 is "unset".
    match u16::try_from(code).unwrap_or_default() {
        0 => 301,
        code @ (301 | 302 | 303 | 307 | 308) => code,
        code @ 300..400 => {
            let message = format!("the redirect {code} is not honoured by this mesh");
            value.note(Code::UnsupportedField, message, "write 301, 302, 303, 307 or 308");
            301
        }
        other => {
            value.invalid(format!("{other} is no redirect"), "write 301, 302, 303, 307 or 308");
            301
        }
    }
}

fn direct_response(fields: &mut Fields<'_, '_>) -> DirectResponse {
    DirectResponse {
        status: u16::try_from(fields.required("status", integer(200, 599))).unwrap_or_default(),
        body: fields.or_default("body", object(body)),
    }
}

fn body(fields: &mut Fields<'_, '_>) -> Vec<u8> {
    fields.exactly_one(&["string", "bytes"]);
    let string = fields.optional("string", |value| text(value).into_bytes());
    let bytes = fields.optional("bytes", |mut value| {
        let encoded = text(value.reborrow());
        let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
        decoded.unwrap_or_else(|_| {
            value.invalid("is not base64", "encode the body as base64, or use `string`");
            Vec::new()
        })
    });
    let body = string.or(bytes).unwrap_or_default();
    if body.len() > RESPONSE_BODY_BYTES_MAX {
        fields.invalid(
            "",
            format!("has {} bytes, at most {RESPONSE_BODY_BYTES_MAX} are allowed", body.len()),
            "serve it from a service",
        );
    } else if body.len() > RESPONSE_BODY_BYTES_LARGE {
        fields.suspicious(
            "",
            format!("has {} bytes, which every caller keeps in memory", body.len()),
            "serve it from a service",
        );
    }
    body
}

pub(super) fn rewrite(fields: &mut Fields<'_, '_>) -> Rewrite {
    fields.at_most_one(&["uri", "uriRegexRewrite"]);
    let rewrite = Rewrite {
        uri: fields.optional("uri", text).filter(|uri| !uri.is_empty()),
        authority: fields.optional("authority", some_text),
        uri_regex: fields.optional("uriRegexRewrite", |value| {
            value.object(|fields| RegexRewrite {
                pattern: fields.required("match", regex),
                replacement: fields.required("rewrite", some_text),
            })
        }),
    };
    if rewrite == Rewrite::default() {
        fields.missing("", "rewrites nothing", "add `uri`, `uriRegexRewrite` or `authority`");
    }
    rewrite
}

/// The document whose rules take a rule's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delegate {
    /// Its name.
    pub name: String,
    /// Its namespace; the document's own unless it is said.
    pub namespace: Option<String>,
}

pub(super) fn delegate(fields: &mut Fields<'_, '_>) -> Delegate {
    Delegate {
        name: fields.required("name", some_text),
        namespace: fields.optional("namespace", name::label),
    }
}

/// An answer's body is at most this long, as in Istio.
const RESPONSE_BODY_BYTES_MAX: usize = 1024 * 1024;
/// From here on an answer's body is worth a warning.
const RESPONSE_BODY_BYTES_LARGE: usize = 100 * 1024;
