//! Which mode a server's port has, and what becomes of each transport.

use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::{Explainer, TransportResult};
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

#[test]
fn servers_take_the_transports_that_istio_takes() {
    let Some(folder) = folder("istio-peer-authn") else { return };
    let corpus = cases(folder.join("cases.yaml"));
    let mut tally = Tally::new("istio-peer-authn");
    for case in items(&corpus, "compose") {
        tally.case(&format!("compose {}", text(case, "name")), outcome(compose(case)));
    }
    for (asked, expected) in transports(&corpus) {
        tally.case(&asked.name, outcome(transport(&asked, &expected)));
    }
    tally.finish(58);
}

/// The questions of the corpus.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    let corpus = cases(folder.join("cases.yaml"));
    let mut all = Vec::new();
    for case in items(&corpus, "compose") {
        let sources = vec![composed(case)];
        all.extend(modes(case).into_iter().map(|(port, _)| Asked {
            name: format!("compose {} {port}", text(case, "name")),
            sources: sources.clone(),
            question: at_port(port),
        }));
    }
    all.extend(transports(&corpus).into_iter().map(|(asked, _)| asked));
    all
}

/// Calls by some transport, each with what is expected of it.
fn transports(corpus: &Value) -> Vec<(Asked, String)> {
    let mut all = Vec::new();
    for row in items(&corpus["inbound_matrix"], "rows") {
        all.extend(["DISABLE", "PERMISSIVE", "STRICT"].map(|mode| {
            let name = format!("matrix {} {mode}", text(row, "name"));
            (Asked { name, sources: matrix(mode), question: call(row) }, text(row, mode).to_owned())
        }));
    }
    for case in items(corpus, "port_level") {
        all.extend(items(case, "calls").iter().map(|one| {
            let name = format!("{} {} {}", text(case, "name"), one["port"], text(one, "transport"));
            let asked = Asked { name, sources: port_level(case), question: call(one) };
            (asked, text(one, "expect").to_owned())
        }));
    }
    all
}

fn policy(namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "policy", "namespace": namespace}, "spec": spec,
    })
}

fn compose(case: &Value) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&[composed(case)])?);
    for (port, mode) in modes(case) {
        let inbound = ask(&mut explainer, at_port(port))?.inbound;
        same("the mode", inbound.map(|inbound| inbound.mtls_mode).as_deref(), mode.as_str())?;
    }
    Ok(())
}

fn composed(case: &Value) -> Source {
    source(&items(case, "policies").iter().map(document).collect::<Vec<_>>())
}

/// The mode of a port that no policy names, and of each that one names.
fn modes(case: &Value) -> Vec<(u64, Value)> {
    let ports = case["expected"]["perPort"].as_object().into_iter().flatten();
    let named = ports.map(|(port, mode)| (port.parse().unwrap_or_default(), mode.clone()));
    std::iter::once((7, case["expected"]["mode"].clone())).chain(named).collect()
}

fn at_port(port: u64) -> Value {
    let at = json!({"namespace": "my-ns", "labels": {"app": "foo", "stage": "prod"}, "workload_port": port});
    let mesh = json!({"root_namespace": "root-namespace"});
    json!({"url": "http://x/", "inbound_only": true, "at": at, "mesh": mesh})
}

/// The corpus's shorthand as a document: names with blanks, times in seconds.
fn document(policy: &Value) -> Value {
    let metadata = &policy["metadata"];
    let mut written = self::policy(text(metadata, "namespace"), policy["spec"].clone());
    written["metadata"]["name"] = json!(text(metadata, "name").replace(' ', "-"));
    if let Some(seconds) = metadata["creationTimestamp"].as_u64() {
        written["metadata"]["creationTimestamp"] = json!(format!("1970-01-01T00:00:{seconds:02}Z"));
    }
    written
}

fn matrix(mode: &str) -> Vec<Source> {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: app}, spec: {selector: {app: s}, ports: [
        {port: 70, name: tcp}, {port: 80, name: http}, {port: 81, name: auto}]}}";
    let policy = policy("istio-system", json!({"mtls": {"mode": mode}}));
    vec![Source::file("service.yaml", service), source([&policy])]
}

fn port_level(case: &Value) -> Vec<Source> {
    let declared = &case["policy"];
    let ports = declared["ports"].as_object().into_iter().flatten();
    let ports: serde_json::Map<String, Value> =
        ports.map(|(port, mode)| (port.clone(), json!({"mode": mode}))).collect();
    let labels = json!({"matchLabels": {"app": "s"}});
    let spec = json!({"selector": labels, "mtls": {"mode": declared["mode"]}, "portLevelMtls": ports});
    let service = match declared["known_http_port"].as_u64() {
        Some(port) => format!(
            "{{apiVersion: v1, kind: Service, metadata: {{name: s, namespace: app}}, spec: {{selector: {{app: s}}, ports: [{{port: {port}, name: http}}]}}}}"
        ),
        None => String::new(),
    };
    vec![Source::file("service.yaml", service), source([&policy("app", spec)])]
}

fn call(call: &Value) -> Value {
    let protocol = call["protocol"].as_str().unwrap_or("http");
    let scheme = if protocol == "tcp" { "tcp" } else { "http" };
    json!({
        "url": format!("{scheme}://s.app:{}", call["port"]), "protocol": protocol, "transport": call["transport"],
        "inbound_only": true, "at": {"namespace": "app", "labels": {"app": "s"}, "port": call["port"]},
    })
}

fn transport(asked: &Asked, expected: &str) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&asked.sources)?);
    let inbound = ask(&mut explainer, asked.question.clone())?.inbound;
    let result = inbound.map(|inbound| inbound.transport_result);
    // "ok" also says that bytes pass to the application unterminated.
    let wanted: &[TransportResult] = match expected {
        "ok" => &[TransportResult::Accepted, TransportResult::ForwardUntouched],
        "forward-untouched" => &[TransportResult::ForwardUntouched],
        "protocol-error" => &[TransportResult::ProtocolError],
        _ => &[TransportResult::Refused],
    };
    match result {
        Some(result) if wanted.contains(&result) => Ok(()),
        other => Err(Outcome::Wrong(format!("{other:?} instead of {expected}"))),
    }
}
