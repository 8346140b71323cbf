//! What sockets did, held against what `explain` said of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use control_plane::explain::{Decision, Outcome as Answer, TransportResult, Verdict};
use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_tests::Received;
use serde_json::{Value, json};

use super::super::{Outcome, same};
use super::call::Called;

/// With what the application answers each header that the mesh is said to change, so that the change is seen.
const OF_THE_APPLICATION: &str = "of-the-application";

/// What is said of a request, but for places in files, the endpoints and the steps to it.
pub(super) fn essence(decision: &Decision) -> Value {
    let mut said = json!(decision);
    for field in ["warnings", "trace", "endpoint", "reason"] {
        said[field].take();
    }
    said["route"]["at"].take();
    for destination in said["destinations"].as_array_mut().into_iter().flatten() {
        // Who serves and by which name, only sockets need.
        for field in ["endpoints", "server_identities", "destination_rule"] {
            destination[field].take();
        }
    }
    if said["inbound"].is_object() {
        for field in ["workload", "at"] {
            said["inbound"][field].take();
        }
    }
    said
}

/// The same without the caller's name.
pub(super) fn essence_of_anybody(decision: &Decision) -> Value {
    let mut said = essence(decision);
    if said["inbound"].is_object() {
        said["inbound"]["principal"].take();
    }
    said
}

/// The headers that an application sends so that whatever the mesh does to them shows.
pub(super) fn application_headers(decision: &Decision) -> HeaderMap {
    let changes = &decision.response_headers;
    let names = changes.set.iter().chain(&changes.add).map(|(name, _)| name).chain(&changes.remove);
    let sent = names.filter(|name| !name.starts_with("access-control-") && *name != "set-cookie");
    let header = |name: &String| Some((HeaderName::try_from(name).ok()?, OF_THE_APPLICATION));
    sent.filter_map(header).map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// Where the chosen destination of a decision is served.
pub(super) fn endpoints(decision: &Decision) -> BTreeSet<SocketAddr> {
    let place = decision.chosen.unwrap_or_default();
    let endpoints = decision.destinations.get(place).map_or(&[][..], |one| &one.endpoints);
    endpoints.iter().filter_map(|one| one.address.as_ref()?.parse().ok()).collect()
}

/// Whether a call came to what the decision says; `served` is where it may have been received.
pub(super) fn holds(
    decision: &Decision,
    called: &Called,
    served: &BTreeSet<SocketAddr>,
) -> Result<(), Outcome> {
    let status = called.status.map(|status| status.as_u16());
    match decision.outcome {
        Answer::Forward | Answer::Inbound => return received(decision, called, served),
        Answer::Redirect => {
            let location = decision.redirect.as_ref().map(|redirect| redirect.location.as_str());
            same("the location", text(called, "location"), location)?;
            response_headers(decision, called, false)?;
        }
        Answer::DirectResponse => {
            let answer = decision.direct_response.as_ref();
            same("the body", called.body.as_str(), answer.map_or("", |answer| &answer.body))?;
            for (name, value) in answer.iter().flat_map(|answer| &answer.headers) {
                same(name, text(called, name), Some(value.as_str()))?;
            }
        }
        _ => {}
    }
    same("the status", status, decision.status)?;
    grpc_status(called, decision.grpc_status)?;
    same("those who were asked", addresses(&called.received), BTreeSet::new())
}

/// A request that leaves the caller: what becomes of it is its server's to say.
fn received(decision: &Decision, called: &Called, served: &BTreeSet<SocketAddr>) -> Result<(), Outcome> {
    let inbound = decision.inbound.as_ref();
    let inbound = inbound.ok_or_else(|| Outcome::Wrong("explain says nothing of the server".to_owned()))?;
    let status = called.status.map(|status| status.as_u16());
    if matches!(inbound.transport_result, TransportResult::Refused | TransportResult::ProtocolError) {
        same("whether there is a good answer", status == Some(200), false)?;
        return same("those who let it in", addresses(&called.received), BTreeSet::new());
    }
    same("the status", status, inbound.status)?;
    if inbound.decision == Verdict::Deny {
        grpc_status(called, inbound.grpc_status)?;
        return same("those who let it in", addresses(&called.received), BTreeSet::new());
    }
    let [received] = &called.received[..] else {
        return Err(Outcome::Wrong(format!("it was received {} times", called.received.len())));
    };
    if !served.contains(&received.address) {
        return Err(Outcome::Wrong(format!("{} has received it, not one of {served:?}", received.address)));
    }
    same("the caller", received.principal.as_deref(), inbound.principal.as_deref())?;
    let Some(expected) = &inbound.request else {
        same("what the application read of the connection", &received.call, &called.id)?;
        return same("what came back", &called.body, &called.id);
    };
    same("the authority", &received.authority, &expected.authority)?;
    same("the path", &received.path, &expected.path)?;
    let method = decision.upstream_request.as_ref().map(|request| request.method.as_str());
    same("the method", received.method.as_str(), method.unwrap_or(received.method.as_str()))?;
    let expected = &expected.headers[..];
    let (told, others): (Vec<_>, Vec<_>) =
        received.headers.iter().cloned().partition(|(name, _)| name == EXPECTED_TIMEOUT);
    same("the headers received", headers(&others, expected), headers(expected, &[]))?;
    time_left(&told, decision)?;
    response_headers(decision, called, true)
}

/// A server is told how long its caller waits yet: no longer than the rule's timeout, and nothing where there is none.
fn time_left(told: &[(String, String)], decision: &Decision) -> Result<(), Outcome> {
    let milliseconds = |duration: &String| match duration.strip_suffix("ms") {
        Some(number) => number.parse::<f64>().ok(),
        None => duration.strip_suffix('s')?.parse::<f64>().ok().map(|seconds| seconds * 1000.0),
    };
    let limit = decision.timeout.as_ref().and_then(milliseconds);
    let told: Vec<f64> = told.iter().filter_map(|(_, value)| value.parse().ok()).collect();
    let fits = match (&told[..], limit) {
        ([], None) => true,
        ([left], Some(limit)) => *left > 0.0 && *left <= limit,
        _ => false,
    };
    same(&format!("whether {told:?} of {limit:?} ms is what the server is told"), fits, true)
}

/// Headers by name, each with its values in order. What the transport adds to say how a body is framed and read counts only
/// where it is `expected`.
fn headers(headers: &[(String, String)], expected: &[(String, String)]) -> Vec<(String, String)> {
    let of_transport = |name: &str| {
        OF_THE_TRANSPORT.contains(&name)
            && !expected.iter().any(|(other, _)| other.eq_ignore_ascii_case(name))
    };
    let lower = headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut kept: Vec<_> = lower.filter(|(name, _)| !of_transport(name)).collect();
    // Stable: the values of one name stay in their order.
    kept.sort_by(|(left, _), (right, _)| left.cmp(right));
    kept
}

/// What is done to the headers of an answer, of an application or (`forwarded` is false) of the mesh itself.
fn response_headers(decision: &Decision, called: &Called, forwarded: bool) -> Result<(), Outcome> {
    let changes = &decision.response_headers;
    let sent = if forwarded { application_headers(decision) } else { HeaderMap::new() };
    let names = changes.set.iter().chain(&changes.add).map(|(name, _)| name).chain(&changes.remove);
    for name in names.collect::<BTreeSet<_>>() {
        let of = |pairs: &[(String, String)]| -> Vec<String> {
            pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.clone()).collect()
        };
        let kept = sent.contains_key(name) && !changes.remove.contains(name);
        let mut expected = of(&changes.set);
        if let Some(last) = expected.pop() {
            expected = vec![last];
        } else if kept {
            expected.push(OF_THE_APPLICATION.to_owned());
        }
        expected.extend(of(&changes.add));
        let values = called.headers.get_all(name).iter();
        let found: Vec<String> = values
            .map(|value| meant(String::from_utf8_lossy(value.as_bytes()).into_owned(), &expected))
            .collect();
        same(&format!("the answer's {name}"), found, expected)?;
    }
    Ok(())
}

/// A cookie whose value is drawn is any that begins and ends as is said.
fn meant(found: String, said: &[String]) -> String {
    let mut open = said.iter().filter_map(|said| said.split_once('…').map(|ends| (said, ends)));
    let met = open.find(|(_, (head, tail))| found.starts_with(head) && found.ends_with(tail));
    met.map_or(found.clone(), |(said, _)| said.clone())
}

fn grpc_status(called: &Called, expected: Option<u8>) -> Result<(), Outcome> {
    let found = text(called, "grpc-status");
    same("the gRPC status", found, expected.map(|status| status.to_string()).as_deref())
}

fn text<'c>(called: &'c Called, name: &str) -> Option<&'c str> {
    called.headers.get(name)?.to_str().ok()
}

pub(super) fn addresses(received: &[Received]) -> BTreeSet<SocketAddr> {
    received.iter().map(|received| received.address).collect()
}

/// Envoy's name for the time that is left of a request's timeout.
const EXPECTED_TIMEOUT: &str = "x-envoy-expected-rq-timeout-ms";
/// What a question need not say and a connection does.
const OF_THE_TRANSPORT: &[&str] =
    &["connection", "content-length", "content-type", "te", "transfer-encoding"];
