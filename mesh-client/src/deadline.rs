//! When a request must be done: the earliest of the route's timeout, the caller's own deadline and `grpc-timeout`.
//!
//! What remains is told to the next hop, so that nobody works for a caller who has gone.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Sleep;

use crate::body::Protocol;

/// What decides on a request's deadline.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    /// The route's timeout, from the request's start.
    pub(crate) route: Option<Duration>,
    /// What the request's own `grpc-timeout` says.
    pub(crate) grpc: Option<Duration>,
    /// When the request that this one serves must be done.
    pub(crate) inherited: Option<Instant>,
}

impl Limits {
    /// The earliest, for a request that began at `start`.
    pub(crate) fn deadline(self, start: Instant) -> Option<Instant> {
        let route = self.route.and_then(|timeout| start.checked_add(timeout));
        let grpc = self.grpc.and_then(|timeout| start.checked_add(timeout));
        [route, grpc, self.inherited].into_iter().flatten().min()
    }
}

/// The `grpc-timeout` of a request: up to eight digits and a unit; anything else is no timeout.
pub(crate) fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

/// Tells the next hop what remains: gRPC in its own header, HTTP in Envoy's.
pub(crate) fn announce(headers: &mut HeaderMap, remaining: Duration, protocol: Protocol) {
    match protocol {
        Protocol::Grpc => headers.insert(GRPC_TIMEOUT, grpc_value(remaining)),
        Protocol::Http => {
            let millis = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX).max(1);
            headers.insert(EXPECTED_TIMEOUT_MS, HeaderValue::from(millis))
        }
    };
}

/// In the finest unit that fits into eight digits, rounded down: the next hop may not believe to have more than there is.
fn grpc_value(remaining: Duration) -> HeaderValue {
    let micros = remaining.as_micros().max(1);
    let units: [(u128, &str); 5] =
        [(1, "u"), (1_000, "m"), (1_000_000, "S"), (60_000_000, "M"), (3_600_000_000, "H")];
    let (count, unit) = units
        .into_iter()
        .map(|(size, unit)| (micros / size, unit))
        .find(|(count, _)| *count <= GRPC_TIMEOUT_MAX)
        .unwrap_or((GRPC_TIMEOUT_MAX, "H"));
    HeaderValue::try_from(format!("{count}{unit}")).expect("digits and a letter are a header value")
}

/// Goes off at a request's deadline, first for its head, then for its body.
#[derive(Debug)]
pub(crate) struct Timer(Pin<Box<Sleep>>);

impl Timer {
    pub(crate) fn at(deadline: Instant) -> Self {
        Self(Box::pin(tokio::time::sleep_until(deadline.into())))
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

pub(crate) const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub(crate) const EXPECTED_TIMEOUT_MS: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const GRPC_TIMEOUT_MAX: u128 = 99_999_999;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_limit_is_the_deadline() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let check = |route, grpc, inherited: Option<u64>, expected: Option<u64>| {
            let limits = Limits { route, grpc, inherited: inherited.map(|at| start + ms(at)) };
            assert_eq!(limits.deadline(start), expected.map(|at| start + ms(at)));
        };
        check(None, None, None, None);
        check(Some(ms(30)), None, None, Some(30));
        check(Some(ms(30)), Some(ms(20)), Some(10), Some(10));
        check(Some(ms(30)), Some(ms(20)), Some(40), Some(20));
        check(Some(ms(5)), Some(ms(20)), Some(40), Some(5));
        check(Some(Duration::MAX), None, None, None);
    }

    #[test]
    fn grpc_timeout_is_read_as_the_protocol_defines_it() {
        let check = |value: &'static str, expected: Option<Duration>| {
            let headers = HeaderMap::from_iter([(GRPC_TIMEOUT, HeaderValue::from_static(value))]);
            assert_eq!(grpc_timeout(&headers), expected, "{value}");
        };
        check("1H", Some(Duration::from_secs(3600)));
        check("2M", Some(Duration::from_secs(120)));
        check("99999999S", Some(Duration::from_secs(99_999_999)));
        check("250m", Some(Duration::from_millis(250)));
        check("7u", Some(Duration::from_micros(7)));
        check("7n", Some(Duration::from_nanos(7)));
        for bad in ["", "m", "10", "100000000m", "-1S", "+1S", "1s", "1 S"] {
            check(bad, None);
        }
    }

    #[test]
    fn what_remains_is_announced_in_at_most_eight_digits_and_never_rounded_up() {
        let check = |remaining: Duration, expected: &str| {
            assert_eq!(grpc_value(remaining), expected);
        };
        check(Duration::from_micros(1_500), "1500u");
        check(Duration::from_nanos(1), "1u");
        check(Duration::from_millis(1_500), "1500000u");
        check(Duration::from_micros(100_000_999), "100000m");
        check(Duration::from_secs(100_000), "100000S");
        check(Duration::MAX, "99999999H");
    }
}
