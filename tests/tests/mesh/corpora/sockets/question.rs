//! Which questions can be driven on real sockets, and as what.
//!
//! A caller on this machine has one address, an identity and no token of a foreign issuer: a question that supposes something
//! else is driven where `explain` itself says that it makes no difference.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use control_plane::explain::{Decision, Explainer, Outcome as Answer, Protocol, Question, Transport};
use serde_json::{Value, json};

use super::super::{Asked, Outcome, ask, read};
use super::agreement::{essence, essence_of_anybody};
use super::documents::{Documents, Workload, unprivileged};

/// The address of every caller here.
const CALLER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const ACCOUNT_OF_CALLERS: &str = "caller";

/// A question that can be driven.
#[derive(Debug)]
pub(super) struct Drivable {
    pub(super) documents: Documents,
    /// As a caller on this machine asks it.
    pub(super) question: Question,
    pub(super) from: Workload,
    pub(super) way: Way,
    /// What `explain` says to it of the documents alone.
    pub(super) decision: Decision,
}

/// How a question is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By the mesh's client, from the route to the answer.
    Whole,
    /// Only to where the mesh says that the host is none of its.
    Outside,
    /// By hand, at a server: the caller's side is skipped or has another transport than the mesh would choose.
    AtTheServer(Transport),
}

/// The question as it can be driven; more than one where it leaves the transport open at a server.
pub(super) fn drivable(asked: &Asked) -> Result<Vec<Drivable>, Outcome> {
    impossible(&asked.question)?;
    let mut question = asked.question.clone();
    let settings = question.as_object_mut().and_then(|question| question.remove("mesh"));
    let documents = Documents::new(&asked.sources, &settings.unwrap_or_default());
    let inbound_only = question["inbound_only"] == json!(true);
    if inbound_only {
        bindable(&mut question, &documents);
    }
    let mut explainer = Explainer::offline(read(&documents.sources())?);
    let as_asked = ask(&mut explainer, question.clone())?;
    let account = question["from"]["service_account"].as_str().unwrap_or(ACCOUNT_OF_CALLERS).to_owned();
    question["from"]["service_account"] = json!(account);
    question["from"]["ip"] = json!(CALLER);
    let decision = ask(&mut explainer, question.clone())?;
    if essence_of_anybody(&as_asked) != essence_of_anybody(&decision) {
        return Err(not_drivable(
            "the answer turns on an address or a lack of identity that no caller here has",
        ));
    }
    unanswered(&decision)?;
    let mut found = Vec::new();
    for (question, way, decision) in ways(&mut explainer, question, decision)? {
        let question: Question =
            serde_json::from_value(question).map_err(|error| Outcome::Wrong(error.to_string()))?;
        let by_hand = matches!(way, Way::AtTheServer(_));
        if by_hand && matches!(question.protocol(), Protocol::Http2 | Protocol::Grpc) {
            return Err(not_drivable("HTTP/2 past the mesh's client"));
        }
        let from = caller(&question, &account);
        found.push(Drivable { documents: documents.clone(), question, from, way, decision });
    }
    Ok(found)
}

fn not_drivable(reason: &str) -> Outcome {
    Outcome::OutOfScope(format!("not drivable: {reason}"))
}

/// What no caller here can be or say.
fn impossible(question: &Value) -> Result<(), Outcome> {
    let url = question["url"].as_str().unwrap_or_default();
    let reasons = [
        (question["gateway"].is_string(), "enters at a gateway"),
        (question["protocol"] == json!("ws"), "a WebSocket, for which explain's contract has no protocol"),
        (url.starts_with("https:"), "TLS of the caller's own"),
        (url.contains('<'), "dials an address that only a cluster knows"),
        (question["from"]["trust_domain"].is_string(), "a caller of another trust domain"),
        (question["mesh"]["trust_domain"].is_string(), "a mesh of another trust domain"),
        (question["jwks"].is_object(), "keys of a token's issuer"),
    ];
    match reasons.into_iter().find(|(is, _)| *is) {
        Some((_, reason)) => Err(not_drivable(reason)),
        None => Ok(()),
    }
}

fn unanswered(decision: &Decision) -> Result<(), Outcome> {
    match decision.outcome {
        Answer::Unsupported => Err(not_drivable("explain answers `unsupported`")),
        _ => Ok(()),
    }
}

/// The port of a server that no service declares, where nobody but root could bind it.
fn bindable(question: &mut Value, documents: &Documents) {
    let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    if let Some(port) = number(&question["at"]["workload_port"]) {
        question["at"]["workload_port"] = json!(unprivileged(port));
        return;
    }
    let dialled = || question["url"].as_str()?.parse::<http::Uri>().ok()?.port_u16();
    let port = number(&question["at"]["port"]).or_else(dialled).unwrap_or(80);
    let at = serving(&question["at"]);
    let declared =
        documents.services().iter().any(|service| service.selects(&at) && service.ports.contains_key(&port));
    if !declared {
        question["at"]["workload_port"] = json!(unprivileged(port));
    }
}

/// The server of an inbound question.
pub(super) fn serving(at: &Value) -> Workload {
    let labels = at["labels"].as_object().into_iter().flatten();
    let text = |value: &Value, otherwise: &str| value.as_str().unwrap_or(otherwise).to_owned();
    Workload {
        namespace: text(&at["namespace"], "default"),
        account: text(&at["service_account"], "default"),
        labels: labels.map(|(key, value)| (key.clone(), text(value, ""))).collect(),
    }
}

/// By which ways a question is driven: whole where the mesh itself would choose the transport that it names.
fn ways(
    explainer: &mut Explainer,
    question: Value,
    decision: Decision,
) -> Result<Vec<(Value, Way, Decision)>, Outcome> {
    let named = |question: &Value| serde_json::from_value::<Transport>(question["transport"].clone()).ok();
    let inbound_only = question["inbound_only"] == json!(true);
    match named(&question) {
        None if decision.outcome == Answer::Passthrough => Ok(vec![(question, Way::Outside, decision)]),
        None if !inbound_only => Ok(vec![(question, Way::Whole, decision)]),
        None => {
            let mut all = Vec::new();
            for transport in [Transport::Mtls, Transport::Plaintext, Transport::Tls] {
                let mut question = question.clone();
                question["transport"] = json!(transport);
                let decision = ask(explainer, question.clone())?;
                all.push((question, Way::AtTheServer(transport), decision));
            }
            Ok(all)
        }
        Some(transport) => {
            let mut natural = question.clone();
            natural.as_object_mut().and_then(|question| question.remove("transport"));
            let chosen = ask(explainer, natural.clone())?;
            if !inbound_only && essence(&chosen) == essence(&decision) {
                return Ok(vec![(natural, Way::Whole, decision)]);
            }
            Ok(vec![(question, Way::AtTheServer(transport), decision)])
        }
    }
}

fn caller(question: &Question, account: &str) -> Workload {
    Workload {
        namespace: question.from.namespace.clone(),
        account: account.to_owned(),
        labels: BTreeMap::clone(&question.from.labels),
    }
}
