//! AuthorizationPolicy verdicts on one server, by port, path and identity.

use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::{Explainer, Verdict};
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

/// The server that the head of the cases describes.
const WORLD: &str = "
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: ns1}, spec: {selector: {app: b}, ports: [
  {port: 80, name: http, targetPort: 18080}, {port: 85, name: http2, targetPort: 18085},
  {port: 7070, name: grpc, targetPort: 17070}, {port: 9090, name: tcp, targetPort: 19090}]}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: b, namespace: ns1}, spec: {template: {
  metadata: {labels: {app: b}}, spec: {serviceAccountName: b, containers: []}}}}
";

#[test]
fn policies_let_in_whom_istio_lets_in() {
    let Some(folder) = folder("istio-authz") else { return };
    let mut tally = Tally::new("istio-authz");
    for (asked, allowed) in all(&folder) {
        tally.case(&asked.name, outcome(run(&asked, allowed)));
    }
    tally.finish(137);
}

/// The questions of the corpus.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    all(folder).into_iter().map(|(asked, _)| asked).collect()
}

/// Each with whether it is let in.
fn all(folder: &Path) -> Vec<(Asked, bool)> {
    let tokens = cases(folder.join("tokens.yaml"));
    let mut all = Vec::new();
    for test in cases(folder.join("cases.yaml")).as_array().expect("a list of tests") {
        let sources = vec![Source::file("world.yaml", WORLD), source(items(test, "docs"))];
        for (index, case) in items(test, "cases").iter().enumerate() {
            for port in items(case, "ports").iter().filter_map(Value::as_str) {
                let name = format!("{} [{index}] {port}", text(test, "test"));
                let question = question(test, case, port, &tokens);
                let asked = Asked { name, sources: sources.clone(), question };
                all.push((asked, case["allow"] == json!(true)));
            }
        }
    }
    all
}

fn run(asked: &Asked, allowed: bool) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&asked.sources)?);
    let mut question = asked.question.clone();
    question["at"] = json!({
        "namespace": "ns1", "service_account": "b", "labels": {"app": "b"}, "ip": "10.0.0.12",
    });
    let decision = ask(&mut explainer, question)?;
    let inbound = decision.inbound.ok_or_else(|| Outcome::Wrong(format!("{:?}", decision.outcome)))?;
    same("the verdict", inbound.decision, if allowed { Verdict::Allow } else { Verdict::Deny })
}

fn question(test: &Value, case: &Value, port: &str, tokens: &Value) -> Value {
    let (number, protocol) = match port {
        "http" => (80, "http"),
        "http2" => (85, "http2"),
        "grpc" => (7070, "grpc"),
        _ => (9090, "tcp"),
    };
    let grpc = protocol == "grpc";
    let path = if grpc { "/proto.EchoTestService/Echo" } else { case["path"].as_str().unwrap_or("/") };
    let scheme = if protocol == "tcp" { "tcp" } else { "http" };
    let url = format!("{scheme}://b.ns1:{number}{}", if protocol == "tcp" { "" } else { path });
    let method = if grpc { "POST" } else { case["method"].as_str().unwrap_or("GET") };
    let (namespace, account) = text(case, "from").split_once('/').unwrap_or_default();
    let ip = if namespace == "ns1" { "10.0.0.11" } else { "10.0.1.11" };
    let mut headers: Vec<(String, Value)> = Vec::new();
    headers.extend(
        case["headers"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())),
    );
    headers.extend(case["host"].as_str().map(|host| ("host".to_owned(), json!(host))));
    if let Some(token) = case["jwt"].as_str() {
        headers.push(("authorization".to_owned(), json!(format!("Bearer {}", text(tokens, token)))));
    }
    let level = test["mesh_config"]["pathNormalization"]["normalization"].as_str().unwrap_or("BASE");
    json!({
        "url": url, "method": method, "protocol": protocol, "headers": headers,
        "transport": case["transport"].as_str().unwrap_or("mtls"),
        "from": {"namespace": namespace, "service_account": account, "ip": ip},
        "mesh": {"path_normalization": level},
    })
}
