//! CORS of an `http` rule: which pages of other origins may call.

use std::time::Duration;

use super::super::fields::Fields;
use super::super::header::is_header_name;
use super::super::name;
use super::super::pattern::{StringMatch, string_match};
use super::super::scalar::{boolean, choice, duration, text};
use super::super::value::Value;

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

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> CorsPolicy {
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
