//! Retries, mirrors and CORS of an `http` rule: known to the last field, not honoured yet.
//!
//! They are read for their errors alone, so these decoders yield nothing. Honouring one is giving it a type to fill and
//! saying `optional` instead of `unsupported` in `http.rs`.

use super::super::fields::Fields;
use super::super::header::is_header_name;
use super::super::name;
use super::super::pattern::string_match;
use super::super::scalar::{boolean, choice, duration, integer, text};
use super::super::spelling::shorten;
use super::super::value::{Value, object};
use super::action;
use super::fault::percent;

pub(super) fn retries(fields: &mut Fields<'_, '_>) {
    let attempts = fields.or_default("attempts", integer(0, i64::from(i32::MAX)));
    fields.optional("perTryTimeout", duration);
    fields.optional("retryOn", retry_on);
    fields.optional("retryRemoteLocalities", boolean);
    fields.optional("retryIgnorePreviousHosts", boolean);
    fields.optional("backoff", duration);
    let others = ["perTryTimeout", "retryOn", "retryRemoteLocalities", "backoff"];
    if attempts == 0
        && let Some(other) = others.into_iter().find(|name| fields.has(name))
    {
        fields.conflict(other, "is given while `attempts` is 0", "set `attempts`, or remove the field");
    }
}

/// Conditions on which a request is tried again.
pub(super) const RETRY_CONDITIONS: [&str; 16] = [
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

fn retry_on(mut value: Value<'_, '_>) {
    let written = text(value.reborrow());
    for condition in written.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        let known = match condition.parse::<u16>() {
            Ok(status) => {
                http::StatusCode::from_u16(status).is_ok_and(|status| status.canonical_reason().is_some())
            }
            Err(_) => RETRY_CONDITIONS.contains(&condition),
        };
        if !known {
            let next = format!("use a status code or one of {}", RETRY_CONDITIONS.join(", "));
            value.invalid(format!("`{}` is not a condition", shorten(condition)), next);
        }
    }
}

pub(super) fn mirror(fields: &mut Fields<'_, '_>) {
    fields.required("destination", object(action::destination));
    fields.optional("percentage", object(percent));
}

pub(super) fn cors(fields: &mut Fields<'_, '_>) {
    fields.list("allowOrigins", |mut value| {
        if value.reborrow().object(string_match).is_empty() && value.node.is_some() {
            value.invalid("matches no origin", "write `exact`, `prefix` or `regex`");
        }
    });
    fields.deprecated("allowOrigin", "`allowOrigins`");
    fields.list("allowOrigin", text);
    fields.list("allowMethods", method);
    fields.list("allowHeaders", header_name);
    fields.list("exposeHeaders", header_name);
    fields.optional("maxAge", max_age);
    fields.optional("allowCredentials", boolean);
    fields.optional(
        "unmatchedPreflights",
        choice(&[("UNSPECIFIED", 0, ()), ("FORWARD", 1, ()), ("IGNORE", 2, ())]),
    );
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
fn max_age(mut value: Value<'_, '_>) {
    if duration(value.reborrow()).subsec_nanos() != 0 && value.node.is_some() {
        value.invalid("is not whole seconds", "write whole seconds, such as `24h`");
    }
}
