//! What an inbound request leaves to the calls made on its behalf: its deadline, its trace, its caller, and the headers that
//! configuration names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};
use mesh_core::context::RequestContext;

/// Reads the context from a request's headers; what cannot be read is as if it were not there.
pub(crate) fn context(
    headers: &HeaderMap,
    propagated: &[HeaderName],
    peer: Option<Arc<str>>,
    now: Instant,
) -> RequestContext {
    RequestContext {
        deadline: deadline(headers, now),
        trace: copied(headers, &TRACE),
        propagated: copied(headers, propagated),
        peer,
    }
}

/// The earlier of what gRPC and HTTP callers say. A caller can only shorten its own request.
fn deadline(headers: &HeaderMap, now: Instant) -> Option<Instant> {
    let grpc = headers.get("grpc-timeout").and_then(grpc_timeout);
    let http = headers.get(EXPECTED_TIMEOUT).and_then(|value| {
        let milliseconds: u64 = value.to_str().ok()?.parse().ok()?;
        // Nought means no limit.
        (milliseconds != 0).then(|| Duration::from_millis(milliseconds))
    });
    let timeout = grpc.into_iter().chain(http).min()?;
    now.checked_add(timeout)
}

/// gRPC's `TimeoutValue TimeoutUnit`: at most eight digits and one letter.
fn grpc_timeout(value: &HeaderValue) -> Option<Duration> {
    let (unit, digits) = value.as_bytes().split_last()?;
    if digits.is_empty() || digits.len() > GRPC_TIMEOUT_DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// An empty map allocates nothing, so a request without these headers pays nothing.
fn copied(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let mut copies = HeaderMap::new();
    for name in names {
        for value in headers.get_all(name) {
            copies.append(name, value.clone());
        }
    }
    copies
}

const TRACE: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];
/// Envoy's word for the time that a caller has left, so that plain HTTP inherits it from any mesh.
const EXPECTED_TIMEOUT: HeaderName = HeaderName::from_static("x-envoy-expected-rq-timeout-ms");
const GRPC_TIMEOUT_DIGITS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use mesh_core::context::PROPAGATED_BY_DEFAULT;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[track_caller]
    fn check(pairs: &[(&'static str, &'static str)], expected: Option<Duration>) {
        let now = Instant::now();
        assert_eq!(deadline(&headers(pairs), now), expected.map(|timeout| now + timeout), "{pairs:?}");
    }

    #[test]
    fn the_earliest_deadline_counts() {
        check(&[("grpc-timeout", "2S")], Some(Duration::from_secs(2)));
        check(&[("grpc-timeout", "99999999H")], Some(Duration::from_secs(99_999_999 * 3600)));
        check(&[("x-envoy-expected-rq-timeout-ms", "1500")], Some(Duration::from_millis(1500)));
        check(
            &[("grpc-timeout", "2S"), ("x-envoy-expected-rq-timeout-ms", "15")],
            Some(Duration::from_millis(15)),
        );
    }

    #[test]
    fn what_is_no_timeout_is_none() {
        check(&[], None);
        check(&[("grpc-timeout", "")], None);
        check(&[("grpc-timeout", "S")], None);
        check(&[("grpc-timeout", "123456789S")], None);
        check(&[("grpc-timeout", "-1S")], None);
        check(&[("grpc-timeout", "5x")], None);
        check(&[("x-envoy-expected-rq-timeout-ms", "0")], None);
        check(&[("x-envoy-expected-rq-timeout-ms", "soon")], None);
    }

    #[test]
    fn trace_and_named_headers_go_on_and_nothing_else() {
        let headers = headers(&[
            ("traceparent", "00-a-b-01"),
            ("baggage", "k=v"),
            ("x-user", "ada"),
            ("x-user", "grace"),
            ("cookie", "secret"),
        ]);
        let check = |named: &[HeaderName], expected: &[&str]| {
            let context = context(&headers, named, None, Instant::now());
            assert_eq!(context.trace.len(), 1);
            assert_eq!(context.propagated.values().collect::<Vec<_>>(), expected);
        };
        check(&PROPAGATED_BY_DEFAULT, &["k=v"]);
        check(&[HeaderName::from_static("x-user")], &["ada", "grace"]);
        check(&[], &[]);
    }
}
