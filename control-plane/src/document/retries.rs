//! How often a request is tried again, and on what: `retries` of a VirtualService's rule and `retry` of an HTTPRoute's.

use std::time::Duration;

use http::StatusCode;
use mesh_core::route::RetryCondition;

use super::{Code, Fields, Value, boolean, duration, integer, route_timeouts, shorten, text};

/// Retries as a document says them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// Attempts beyond the first; none at all is the wish not to retry.
    pub attempts: u32,
    /// On what; nothing said is what is known to be unprocessed.
    pub on: Vec<RetryCondition>,
    /// On which statuses.
    pub status_codes: Vec<StatusCode>,
    /// How long each attempt may take until its answer begins.
    pub per_try_timeout: Option<Duration>,
    /// The interval from which the wait before the first retry is drawn; it is at least half of that.
    pub backoff: Option<Duration>,
    /// Whether an endpoint may be asked again though there are others.
    pub same_endpoint: bool,
}

/// Of a VirtualService's rule.
pub(super) fn virtual_service(fields: &mut Fields<'_, '_>) -> Retries {
    let attempts = fields.or_default("attempts", integer(0, i64::from(i32::MAX)));
    let mut retries = Retries {
        attempts: u32::try_from(attempts).unwrap_or_default(),
        per_try_timeout: fields.optional("perTryTimeout", duration),
        backoff: fields.optional("backoff", duration),
        same_endpoint: fields.optional("retryIgnorePreviousHosts", boolean) == Some(false),
        ..Retries::default()
    };
    fields.optional("retryOn", |value| retry_on(value, &mut retries));
    // Who has tried all that are near goes on to others in any case.
    fields.no_effect("retryRemoteLocalities", boolean);
    let others = ["perTryTimeout", "retryOn", "retryRemoteLocalities", "backoff"];
    if attempts == 0
        && let Some(other) = others.into_iter().find(|name| fields.has(name))
    {
        fields.conflict(other, "is given while `attempts` is 0", "set `attempts`, or remove the field");
    }
    retries
}

/// Of an HTTPRoute's rule: connections that break are tried again whatever statuses are named.
pub(super) fn http_route(fields: &mut Fields<'_, '_>) -> Retries {
    use RetryCondition::{ConnectFailure, RefusedStream, Reset, RetriableStatusCodes};
    let status = |value: Value<'_, '_>| {
        u16::try_from(integer(400, 599)(value)).ok().and_then(|status| StatusCode::from_u16(status).ok())
    };
    let status_codes: Vec<StatusCode> = fields.list("codes", status).into_iter().flatten().collect();
    let named = (!status_codes.is_empty()).then_some(RetriableStatusCodes);
    let attempts = fields.optional("attempts", integer(0, i64::from(i32::MAX)));
    Retries {
        attempts: attempts.map_or(ATTEMPTS, |attempts| u32::try_from(attempts).unwrap_or_default()),
        on: [ConnectFailure, RefusedStream, Reset].into_iter().chain(named).collect(),
        status_codes,
        // Here it is the least that is waited.
        backoff: fields.optional("backoff", route_timeouts::duration).map(|least| least.saturating_mul(2)),
        ..Retries::default()
    }
}

/// Conditions and statuses, with commas between them.
fn retry_on(mut value: Value<'_, '_>, retries: &mut Retries) {
    let written = text(value.reborrow());
    for condition in written.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        if let Some(condition) = RetryCondition::named(condition) {
            retries.on.push(condition);
            continue;
        }
        let status = condition.parse().ok().and_then(|status: u16| StatusCode::from_u16(status).ok());
        match status.filter(|status| status.canonical_reason().is_some()) {
            Some(status) => retries.status_codes.push(status),
            None if OF_ENVOY_ALONE.contains(&condition) => {
                let message =
                    format!("`{condition}` is a condition of Envoy's own, which this mesh does not have");
                value.note(Code::UnsupportedField, message, "remove it to apply the document");
            }
            None => {
                let known = RetryCondition::ALL.map(RetryCondition::as_str).join(", ");
                let next = format!("use a status code or one of {known}");
                value.invalid(format!("`{}` is not a condition", shorten(condition)), next);
            }
        }
    }
    if !retries.status_codes.is_empty() && !retries.on.contains(&RetryCondition::RetriableStatusCodes) {
        retries.on.push(RetryCondition::RetriableStatusCodes);
    }
}

/// What an HTTPRoute's `retry` leaves open.
const ATTEMPTS: u32 = 2;
/// Conditions about Envoy's rate limit service, its HTTP/3, and headers that a VirtualService cannot name.
const OF_ENVOY_ALONE: [&str; 3] = ["retriable-headers", "envoy-ratelimited", "http3-post-connect-failure"];
