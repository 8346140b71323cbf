//! Faults that an `http` rule injects: a delay, an abort, each for a share of the requests.

use std::time::Duration;

use super::super::{Fields, Value, duration, integer, name, number, object};

/// What is injected.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fault {
    /// A delay.
    pub delay: Option<Delay>,
    /// An abort.
    pub abort: Option<Abort>,
}

/// A delay of some requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Delay {
    /// How long; without it nothing is delayed.
    pub fixed: Option<Duration>,
    /// Of a hundred requests; none unless it is said.
    pub percentage: f64,
}

/// An answer in the destination's place, to some requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Abort {
    /// With what; without it nothing is aborted.
    pub status: Option<AbortStatus>,
    /// Of a hundred requests; none unless it is said.
    pub percentage: f64,
}

/// What an aborted request is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortStatus {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status.
    Grpc(u8),
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Fault {
    let fault = Fault {
        delay: fields.optional("delay", object(delay)),
        abort: fields.optional("abort", object(abort)),
    };
    if fault == Fault::default() {
        fields.missing("", "injects nothing", "add `delay` or `abort`");
    }
    fault
}

fn delay(fields: &mut Fields<'_, '_>) -> Delay {
    fields.at_most_one(&["fixedDelay", "exponentialDelay"]);
    fields.unsupported("exponentialDelay", |value| never(value, "exponential delays"));
    let fixed = fields.optional("fixedDelay", duration);
    let percentage = fields.optional("percentage", share);
    fields.deprecated("percent", "`percentage`");
    let percent = fields.or_default("percent", integer(0, 100));
    // A hundred at most, which is exact.
    Delay { fixed, percentage: percentage.unwrap_or(percent as f64) }
}

fn abort(fields: &mut Fields<'_, '_>) -> Abort {
    let kinds = ["httpStatus", "grpcStatus", "http2Error"];
    fields.at_most_one(&kinds);
    if !kinds.iter().any(|kind| fields.has(kind)) {
        fields.suspicious("", "does not say with what to abort", "add `httpStatus` or `grpcStatus`");
    }
    fields.unsupported("http2Error", |value| never(value, "HTTP/2 errors"));
    let http = fields.optional("httpStatus", |value| {
        AbortStatus::Http(u16::try_from(integer(200, 599)(value)).unwrap_or_default())
    });
    let grpc = fields.optional("grpcStatus", grpc_status);
    let percentage = fields.optional("percentage", share);
    Abort { status: http.or(grpc), percentage: percentage.unwrap_or_default() }
}

/// What Istio's documents can say and Istio never did.
fn never(mut value: Value<'_, '_>, what: &str) {
    value.invalid(format!("{what} exist in no mesh"), "remove the field");
}

fn grpc_status(value: Value<'_, '_>) -> AbortStatus {
    let at = |status: &str| GRPC_STATUSES.iter().position(|name| *name == status);
    let status = name::known(value, "a gRPC status", |status| at(status).is_some());
    AbortStatus::Grpc(at(&status).and_then(|at| u8::try_from(at).ok()).unwrap_or_default())
}

/// `{value: 12.5}`, of a hundred.
pub(super) fn percent(fields: &mut Fields<'_, '_>) -> f64 {
    fields.optional("value", number(0.0, 100.0)).unwrap_or_default()
}

/// How often a fault strikes: what is above zero is at least a millionth, as Envoy counts.
fn share(mut value: Value<'_, '_>) -> f64 {
    let share = value.reborrow().object(percent);
    if share > 0.0 && share < 0.0001 {
        value.invalid(format!("{share} is below the smallest share"), "write 0, or at least 0.0001");
    }
    share
}

/// By their numbers.
const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];
