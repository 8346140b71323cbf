//! CORS: which pages of other origins may call, as `corsPolicy` of a VirtualService's rule or as a filter of an HTTPRoute.

use std::time::Duration;

use super::header::is_header_name;
use super::{
    Fields, StringMatch, Value, boolean, choice, duration, integer, name, shorten, string_match, text,
};

/// What browsers are told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CorsPolicy {
    /// The origins that may call.
    pub allow_origins: Vec<StringMatch>,
    /// With which methods.
    pub allow_methods: Vec<String>,
    /// With which headers.
    pub allow_headers: Vec<String>,
    /// Which headers of a response their scripts may read.
    pub expose_headers: Vec<String>,
    /// How long a browser may keep the answer.
    pub max_age: Option<Duration>,
    /// Whether cookies may go along; not said is not sent.
    pub allow_credentials: Option<bool>,
    /// Whether a preflight from another origin is answered here, allowing nothing, or goes on to the service.
    pub unmatched_preflights: UnmatchedPreflights,
}

/// What becomes of a preflight from an origin that may not call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnmatchedPreflights {
    /// It goes on.
    #[default]
    Forward,
    /// It is answered, and allowed nothing.
    Ignore,
}

/// Of a VirtualService's rule.
pub(super) fn virtual_service(fields: &mut Fields<'_, '_>) -> CorsPolicy {
    let mut allow_origins = fields.list("allowOrigins", |mut value| {
        let origin = value.reborrow().object(string_match);
        if origin.is_empty() && value.node.is_some() {
            value.invalid("matches no origin", "write `exact`, `prefix` or `regex`");
        }
        origin
    });
    fields.deprecated("allowOrigin", "`allowOrigins`");
    allow_origins.extend(fields.list("allowOrigin", |value| StringMatch::Exact(text(value))));
    CorsPolicy {
        allow_origins,
        allow_methods: fields.list("allowMethods", method),
        allow_headers: fields.list("allowHeaders", header_name),
        expose_headers: fields.list("exposeHeaders", header_name),
        max_age: fields.optional("maxAge", max_age),
        allow_credentials: fields.optional("allowCredentials", boolean),
        unmatched_preflights: fields.or_default(
            "unmatchedPreflights",
            choice(&[
                ("UNSPECIFIED", 0, UnmatchedPreflights::Forward),
                ("FORWARD", 1, UnmatchedPreflights::Forward),
                ("IGNORE", 2, UnmatchedPreflights::Ignore),
            ]),
        ),
    }
}

/// An HTTPRoute's filter.
pub(super) fn http_route(fields: &mut Fields<'_, '_>) -> CorsPolicy {
    let seconds = fields.optional("maxAge", integer(1, i64::from(i32::MAX))).unwrap_or(MAX_AGE_SECONDS);
    CorsPolicy {
        allow_origins: fields.list("allowOrigins", origin),
        allow_methods: fields.list("allowMethods", method),
        allow_headers: fields.list("allowHeaders", header_name),
        expose_headers: fields.list("exposeHeaders", header_name),
        max_age: Some(Duration::from_secs(seconds.unsigned_abs())),
        allow_credentials: fields.optional("allowCredentials", boolean),
        unmatched_preflights: UnmatchedPreflights::Ignore,
    }
}

/// `*`, or scheme and host, in which a `*` at the front stands for any labels.
fn origin(mut value: Value<'_, '_>) -> StringMatch {
    let written = text(value.reborrow());
    if written == "*" {
        return StringMatch::Exact(written);
    }
    let (scheme, authority) = written.split_once("://").unwrap_or_default();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-.:[]".contains(letter);
    let host = authority.strip_prefix('*').unwrap_or(authority);
    let is_scheme = scheme.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && scheme.chars().all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter));
    if value.node.is_some() && (!is_scheme || host.is_empty() || !host.chars().all(plain)) {
        let message = format!("`{}` is no origin", shorten(&written));
        value.invalid(message, "write `*`, `https://example.com` or `https://*.example.com`");
    }
    match authority.starts_with('*') {
        true => StringMatch::Regex(format!(
            "{}://[^/]+{}",
            regex_syntax::escape(scheme),
            regex_syntax::escape(host)
        )),
        false => StringMatch::Exact(written),
    }
}

/// A method in capitals, or `*`.
fn method(value: Value<'_, '_>) -> String {
    name::known(value, "a method", |name| {
        let upper = name.to_ascii_uppercase();
        name == "*" || http::Method::from_bytes(name.as_bytes()).is_ok_and(|method| method.as_str() == upper)
    })
}

fn header_name(value: Value<'_, '_>) -> String {
    name::known(value, "the name of a header", |name| name == "*" || is_header_name(name))
}

/// The header that carries it counts whole seconds.
fn max_age(mut value: Value<'_, '_>) -> Duration {
    let age = duration(value.reborrow());
    if age.subsec_nanos() != 0 && value.node.is_some() {
        value.invalid("is not whole seconds", "write whole seconds, such as `24h`");
    }
    age
}

/// What the Gateway API has browsers keep an answer for.
const MAX_AGE_SECONDS: i64 = 5;
