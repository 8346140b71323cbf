//! What a case of the conformance tests expects, held against a decision.

use std::time::Duration;

use control_plane::explain::Decision;
use serde_json::Value;

use super::super::{Outcome, items, same, text};

/// The request as it was asked about.
pub(super) struct Sent<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) host: &'a str,
}

pub(super) fn compare(decision: &Decision, case: &Value, sent: &Sent<'_>) -> Result<(), Outcome> {
    let expect = &case["expect"];
    status(decision, case, sent)?;
    backends(decision, expect)?;
    upstream(decision, case, sent)?;
    redirect(decision, expect, sent)?;
    mirrors(decision, expect)?;
    response(decision, expect)
}

fn status(decision: &Decision, case: &Value, sent: &Sent<'_>) -> Result<(), Outcome> {
    let expect = &case["expect"];
    let inbound = decision.inbound.as_ref().and_then(|inbound| inbound.status);
    // A backend whose answers the case does not restrict, or that is outside the mesh, answers 200, and as late as it is
    // asked to.
    let late = sent.path.split_once("delay=").and_then(|(_, delay)| seconds(delay));
    let limit = decision.timeout.as_deref().and_then(seconds);
    let answered = match (late, limit) {
        (Some(late), Some(limit)) if late > limit => 504,
        _ => 200,
    };
    let by_backend = inbound.filter(|status| *status != 200).unwrap_or(answered);
    let by_backend = failing(decision, &case["backend_behaviour"]).unwrap_or(by_backend);
    let found = u64::from(decision.status.unwrap_or(by_backend));
    if let Some(status) = expect["status"].as_u64() {
        same("the status", found, status)?;
    }
    let any_of: Vec<u64> = items(expect, "status").iter().filter_map(Value::as_u64).collect();
    if !any_of.is_empty() {
        same("one of the statuses", any_of.contains(&found), true)?;
    }
    if let Some(code) = expect["grpc_code"].as_u64() {
        let by_backend = if by_backend == 200 { Some(0) } else { None };
        same("the gRPC status", decision.grpc_status.or(by_backend).map(u64::from), Some(code))?;
    }
    Ok(())
}

/// What the caller is told where the backend fails its first requests, and the decision's retries go on.
fn failing(decision: &Decision, behaviour: &Value) -> Option<u16> {
    let first = behaviour["fail_first"].as_u64()?;
    let status = behaviour["fail_status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let retries = decision.retries.as_ref();
    let repeats = retries.is_some_and(|retries| match status {
        Some(status) => retries.status_codes.contains(&status),
        None => retries.on.iter().any(|on| on == "reset"),
    });
    let attempts = retries.filter(|_| repeats).map_or(1, |retries| 1 + u64::from(retries.attempts));
    Some(if first < attempts { 200 } else { status.unwrap_or(503) })
}

/// `500ms`, `1.5s`.
fn seconds(duration: &str) -> Option<Duration> {
    let (number, unit) = match duration.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (duration.strip_suffix('s')?, 1.0),
    };
    Some(Duration::from_secs_f64(number.parse::<f64>().ok()? * unit))
}

fn backends(decision: &Decision, expect: &Value) -> Result<(), Outcome> {
    let drawn: Vec<_> = decision.destinations.iter().filter(|one| one.odds > 0.0).collect();
    if let Some(backend) = expect["backend"].as_str() {
        let workloads = drawn.iter().flat_map(|one| &one.endpoints).filter_map(|one| one.workload.as_deref());
        let names: Vec<&str> =
            workloads.map(|workload| workload.rsplit('/').next().unwrap_or_default()).collect();
        let presumed = drawn.iter().all(|one| one.host.starts_with(&format!("{backend}.")));
        let wrong = names.iter().any(|name| !name.starts_with(backend)) || (names.is_empty() && !presumed);
        same("another backend", wrong.then_some(names), None)?;
    }
    if let Some(namespace) = expect["backend_namespace"].as_str() {
        let other = drawn.iter().find(|one| one.host.split('.').nth(1) != Some(namespace));
        same("another namespace", other.map(|one| one.host.as_str()), None)?;
    }
    for (name, share) in expect["distribution"].as_object().into_iter().flatten() {
        let of = decision.destinations.iter().filter(|one| one.host.starts_with(&format!("{name}.")));
        let odds = of.map(|one| one.odds).sum::<f64>();
        same(name, Some((odds * 100.0).round()), share.as_f64().map(|share| (share * 100.0).round()))?;
    }
    Ok(())
}

/// The request as the backend gets it. What a case does not say arrives unchanged.
fn upstream(decision: &Decision, case: &Value, sent: &Sent<'_>) -> Result<(), Outcome> {
    let expect = &case["expect"];
    let expected = &expect["backend_request"];
    let ok = expect["status"] == 200 || expect["grpc_code"] == 0;
    let upstream = decision.upstream_request.as_ref();
    if !ok || expect["reaches_backend"] == false || upstream.is_none() && expected.is_null() {
        return Ok(());
    }
    let arrives = |field: &str, unchanged| expected[field].as_str().or(Some(unchanged));
    same("the path", upstream.map(|request| request.path.as_str()), arrives("path", sent.path))?;
    same("the method", upstream.map(|request| request.method.as_str()), arrives("method", sent.method))?;
    if let Some(host) = expected["host"].as_str() {
        same("the host", upstream.map(|request| request.authority.as_str()), Some(host))?;
    }
    let headers = upstream.map_or(&[][..], |request| request.headers.as_slice());
    let named = match expected["headers"].as_object() {
        None if expected.is_null() => case["request"]["headers"].as_object(),
        headers => headers,
    };
    for (name, value) in named.into_iter().flatten().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        same(name, joined(headers, name).as_deref(), value.as_str())?;
    }
    for name in items(expected, "absent_headers").iter().filter_map(Value::as_str) {
        same(name, joined(headers, name), None)?;
    }
    Ok(())
}

/// Whoever gets copies, and of how many requests.
fn mirrors(decision: &Decision, expect: &Value) -> Result<(), Outcome> {
    let mut found: Vec<(String, f64)> = decision
        .mirrors
        .iter()
        .map(|mirror| {
            let mut labels = mirror.host.split('.');
            let name = labels.next().unwrap_or_default();
            (format!("{}/{name}", labels.next().unwrap_or_default()), mirror.percentage)
        })
        .collect();
    let named = items(expect, "mirrored_to").iter();
    let expected = named.map(|one| {
        (
            format!("{}/{}", text(one, "namespace"), text(one, "name")),
            one["percent"].as_f64().unwrap_or(100.0),
        )
    });
    let mut expected: Vec<(String, f64)> = expected.collect();
    let by_name = |left: &(String, f64), right: &(String, f64)| left.0.cmp(&right.0);
    found.sort_by(by_name);
    expected.sort_by(by_name);
    same("the mirrors", found, expected)
}

/// A repeated header's values, as one.
fn joined(headers: &[(String, String)], name: &str) -> Option<String> {
    let of_name = headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let values: Vec<&str> = of_name.map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

/// Where a redirect leads. What a case does not say is the request's own.
fn redirect(decision: &Decision, expect: &Value, sent: &Sent<'_>) -> Result<(), Outcome> {
    let Some(expected) = expect.get("redirect") else { return Ok(()) };
    let location = decision.redirect.as_ref().map(|redirect| redirect.location.as_str()).unwrap_or_default();
    let (scheme, rest) = location.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = authority.split_once(':').map_or((authority, ""), |(host, port)| (host, port));
    let or = |key: &str, unsaid| match text(expected, key) {
        "" => unsaid,
        said => said,
    };
    same("the location's scheme", scheme, or("scheme", "http"))?;
    same("the location's host", host, or("host", sent.host))?;
    same("the location's port", port, or("port", ""))?;
    same("the location's path", path, or("path", sent.path))
}

/// Headers that the mesh gives to the answer.
fn response(decision: &Decision, expect: &Value) -> Result<(), Outcome> {
    let changes = &decision.response_headers;
    let own = decision.direct_response.iter().flat_map(|answer| &answer.headers);
    let given: Vec<(String, String)> = own.chain(&changes.set).chain(&changes.add).cloned().collect();
    for (name, value) in expect["response_headers"].as_object().into_iter().flatten() {
        same(name, joined(&given, name).as_deref(), value.as_str())?;
    }
    for (name, values) in expect["response_header_any_of"].as_object().into_iter().flatten() {
        let bare = |text: &str| text.replace(' ', "");
        let found = joined(&given, name).map(|value| bare(&value));
        let any_of = values.as_array().into_iter().flatten().filter_map(Value::as_str).map(bare);
        let wanted = any_of.clone().find(|value| found.as_ref() == Some(value)).or(any_of.clone().next());
        same(name, found, wanted)?;
    }
    for name in items(expect, "response_headers_absent").iter().filter_map(Value::as_str) {
        same(name, joined(&given, name), None)?;
    }
    Ok(())
}
