//! Retries of an `http` rule: known to the last field, not honoured yet.
//!
//! They are read for their errors alone, so the decoder yields nothing. Honouring them is giving it a type to fill and
//! saying `optional` instead of `unsupported` in `http.rs`.

use super::super::fields::Fields;
use super::super::scalar::{boolean, duration, integer, text};
use super::super::spelling::shorten;
use super::super::value::Value;

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
