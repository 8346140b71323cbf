//! `connectionPool` and `retryBudget`: how many connections, requests and retries there may be, and how connections live. A
//! zero is a limit that is not said (ISTIO-FIELDS §2.4).

use std::time::Duration;

use mesh_core::resource::{CircuitBreaker, ConnectionTerms, Http2KeepAlive, RetryBudget, TcpKeepAlive};

use super::super::fields::Fields;
use super::super::scalar::{boolean, choice, duration, duration_or_zero, integer, number, unsigned};
use super::super::value::object;

/// A block `connectionPool`.
#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// How long a connect may take, instead of the mesh's own time.
    pub connect_timeout: Option<Duration>,
    /// Whether HTTP/2 is spoken whatever the port's name says, or only where that says so.
    pub http2: Option<bool>,
    /// How much there may be at a time.
    pub breaker: CircuitBreaker,
    /// How a connection lives.
    pub terms: ConnectionTerms,
}

impl Default for PoolSettings {
    fn default() -> Self {
        let (breaker, terms) = (CircuitBreaker::UNLIMITED, ConnectionTerms::DEFAULT);
        Self { connect_timeout: None, http2: None, breaker, terms }
    }
}

pub(super) fn connection_pool(fields: &mut Fields<'_, '_>) -> PoolSettings {
    let mut said = PoolSettings::default();
    fields.optional("tcp", |value| value.object(|fields| tcp(fields, &mut said)));
    fields.optional("http", |value| value.object(|fields| http(fields, &mut said)));
    if !fields.has("tcp") && !fields.has("http") {
        fields.missing("", "limits nothing", "add `tcp` or `http`");
    }
    said
}

fn tcp(fields: &mut Fields<'_, '_>, said: &mut PoolSettings) {
    said.breaker.connections_max = limit(fields, "maxConnections");
    said.connect_timeout = fields.optional("connectTimeout", duration);
    said.terms.age_max = fields.optional("maxConnectionDuration", duration);
    said.terms.opaque_idle_timeout = fields.optional("idleTimeout", duration);
    said.terms.idle_timeout = said.terms.opaque_idle_timeout;
    said.terms.tcp_keep_alive = fields.optional("tcpKeepalive", |value| {
        value.object(|fields| TcpKeepAlive {
            probes: fields.optional("probes", unsigned),
            time: fields.optional("time", duration),
            interval: fields.optional("interval", duration),
        })
    });
}

fn http(fields: &mut Fields<'_, '_>, said: &mut PoolSettings) {
    said.breaker.pending_max = limit(fields, "http1MaxPendingRequests");
    said.breaker.requests_max = limit(fields, "http2MaxRequests");
    said.breaker.retries_max = limit(fields, "maxRetries");
    said.terms.requests_max = limit(fields, "maxRequestsPerConnection");
    said.terms.streams_max = limit(fields, "maxConcurrentStreams");
    said.terms.idle_timeout = fields.optional("idleTimeout", duration).or(said.terms.idle_timeout);
    let upgrades = [("DEFAULT", 0, None), ("DO_NOT_UPGRADE", 1, Some(false)), ("UPGRADE", 2, Some(true))];
    said.http2 = fields.or_default("h2UpgradePolicy", choice(&upgrades));
    said.terms.http2_keep_alive = fields.optional("http2KeepAlive", object(keep_alive)).flatten();
    // What calls has no connection whose protocol there would be to keep.
    let client = fields.has("useClientProtocol");
    fields.no_effect("useClientProtocol", boolean);
    if client && said.http2 == Some(true) {
        fields.conflict("useClientProtocol", "excludes `h2UpgradePolicy: UPGRADE`", "keep one of the two");
    }
}

fn keep_alive(fields: &mut Fields<'_, '_>) -> Option<Http2KeepAlive> {
    let interval = fields.required("interval", duration);
    Some(Http2KeepAlive { interval, timeout: fields.optional("timeout", duration).unwrap_or(PONG_TIME) })
}

/// A count, for which 0 means the default.
fn limit(fields: &mut Fields<'_, '_>, name: &'static str) -> u32 {
    let count = fields.optional(name, integer(0, i64::from(i32::MAX))).filter(|count| *count > 0);
    count.and_then(|count| u32::try_from(count).ok()).unwrap_or(u32::MAX)
}

pub(super) fn retry_budget(fields: &mut Fields<'_, '_>) -> Option<RetryBudget> {
    let percent = fields.optional("percent", number(0.0, 100.0)).unwrap_or(20.0);
    Some(RetryBudget {
        // At most a million.
        millionths: (percent * 10_000.0).round() as u32,
        retries_min: fields.optional("minRetryConcurrency", unsigned).unwrap_or(3),
        interval: fields.or_default("budgetInterval", duration_or_zero),
    })
}

/// How long an answer to a ping may take, if nothing is said; gRPC's own.
const PONG_TIME: Duration = Duration::from_secs(20);
