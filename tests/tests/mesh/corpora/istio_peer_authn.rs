//! Which mode a server's port has, and what becomes of each transport.

use control_plane::document::Source;
use control_plane::explain::{Explainer, TransportResult};
use serde_json::{Value, json};

use super::{Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

#[test]
fn servers_take_the_transports_that_istio_takes() {
    let Some(folder) = folder("istio-peer-authn") else { return };
    let corpus = cases(folder.join("cases.yaml"));
    let mut tally = Tally::new("istio-peer-authn");
    for case in items(&corpus, "compose") {
        tally.case(&format!("compose {}", text(case, "name")), outcome(compose(case)));
    }
    for row in items(&corpus["inbound_matrix"], "rows") {
        for mode in ["DISABLE", "PERMISSIVE", "STRICT"] {
            let name = format!("matrix {} {mode}", text(row, "name"));
            tally.case(&name, outcome(matrix(row, mode)));
        }
    }
    for case in items(&corpus, "port_level") {
        for call in items(case, "calls") {
            let name = format!("{} {} {}", text(case, "name"), call["port"], text(call, "transport"));
            tally.case(&name, outcome(port_level(case, call)));
        }
    }
    tally.finish(55);
}

fn policy(namespace: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
        "metadata": {"name": "policy", "namespace": namespace}, "spec": spec,
    })
}

fn compose(case: &Value) -> Result<(), Outcome> {
    let documents: Vec<Value> = items(case, "policies").iter().map(document).collect();
    let mut explainer = Explainer::offline(read(&[source(&documents)])?);
    let mut check = |port: u64, mode: &Value| {
        let at =
            json!({"namespace": "my-ns", "labels": {"app": "foo", "stage": "prod"}, "workload_port": port});
        let mesh = json!({"root_namespace": "root-namespace"});
        let question = json!({"url": "http://x/", "inbound_only": true, "at": at, "mesh": mesh});
        let inbound = ask(&mut explainer, question)?.inbound;
        same("the mode", inbound.map(|inbound| inbound.mtls_mode).as_deref(), mode.as_str())
    };
    check(7, &case["expected"]["mode"])?;
    for (port, mode) in case["expected"]["perPort"].as_object().into_iter().flatten() {
        check(port.parse().unwrap_or_default(), mode)?;
    }
    Ok(())
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

fn matrix(row: &Value, mode: &str) -> Result<(), Outcome> {
    let service = "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: app}, spec: {selector: {app: s}, ports: [
        {port: 70, name: tcp}, {port: 80, name: http}, {port: 81, name: auto}]}}";
    let policy = policy("istio-system", json!({"mtls": {"mode": mode}}));
    let sources = [Source::file("service.yaml", service), source([&policy])];
    transport(&sources, row, text(row, mode))
}

fn port_level(case: &Value, call: &Value) -> Result<(), Outcome> {
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
    let sources = [Source::file("service.yaml", service), source([&policy("app", spec)])];
    transport(&sources, call, text(call, "expect"))
}

fn transport(sources: &[Source], call: &Value, expected: &str) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(sources)?);
    let protocol = call["protocol"].as_str().unwrap_or("http");
    let scheme = if protocol == "tcp" { "tcp" } else { "http" };
    let question = json!({
        "url": format!("{scheme}://s.app:{}", call["port"]), "protocol": protocol, "transport": call["transport"],
        "inbound_only": true, "at": {"namespace": "app", "labels": {"app": "s"}, "port": call["port"]},
    });
    let inbound = ask(&mut explainer, question)?.inbound;
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
