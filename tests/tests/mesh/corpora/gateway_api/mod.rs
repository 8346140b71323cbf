//! The Gateway API's conformance tests, as far as they are about a Service parent or hold for one as well.

mod expectation;

use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::Explainer;
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, cases, folder, items, outcome, read, source, text};

const MESH: &str = "gateway-conformance-mesh";
const INFRA: &str = "gateway-conformance-infra";

#[test]
fn routes_of_a_service_behave_as_the_conformance_tests_demand() {
    let Some(folder) = folder("gateway-api-conformance") else { return };
    let mut tally = Tally::new("gateway-api-conformance");
    for (asked, case) in all(&folder) {
        tally.case(&asked.name, outcome(run(&asked, &case)));
    }
    tally.finish(189);
}

/// The questions of the corpus.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    all(folder).into_iter().map(|(asked, _)| asked).collect()
}

fn all(folder: &Path) -> Vec<(Asked, Value)> {
    let manifests = folder.join("manifests");
    let mut all = Vec::new();
    for test in cases(folder.join("cases.yaml")).as_array().expect("a list of tests") {
        let mesh = text(test, "suite") == "mesh";
        if !mesh && test["transposable_to_mesh"] != json!(true) {
            continue;
        }
        for (index, case) in items(test, "cases").iter().enumerate() {
            let name = format!("{} [{index}]", text(test, "test"));
            let sources = sources(&manifests, test, mesh, !WITHOUT_GRANTS.contains(&name.as_str()));
            all.push((Asked { name, sources, question: question(case, mesh) }, case.clone()));
        }
    }
    all
}

fn sources(manifests: &Path, test: &Value, mesh: bool, grants: bool) -> Vec<Source> {
    let base = if mesh { "mesh-manifests.yaml" } else { "base-manifests.yaml" };
    let files = items(test, "manifests").iter().filter_map(Value::as_str);
    let mut sources = Vec::new();
    for file in [base].into_iter().chain(files) {
        let text = std::fs::read_to_string(manifests.join(file)).expect("a manifest of the corpus");
        let text = text.replace("{GATEWAY_CLASS_NAME}", "mesh");
        if mesh {
            sources.push(Source::file(file, text));
            continue;
        }
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("a manifest is YAML");
        let kept = documents
            .into_iter()
            .filter(|document| !document.is_null() && (grants || document["kind"] != "ReferenceGrant"));
        let transposed: Vec<Value> = kept.map(transposed).collect();
        sources.push(source(&transposed));
    }
    if !mesh {
        let front = json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "front", "namespace": INFRA},
            "spec": {"ports": [{"port": 80, "name": "http"}]},
        });
        sources.push(source([&front]));
    }
    sources
}

/// A route of a gateway as one of a Service.
fn transposed(mut document: Value) -> Value {
    if text(&document, "kind").ends_with("Route") {
        document["spec"]["parentRefs"] =
            json!([{"group": "", "kind": "Service", "name": "front", "namespace": INFRA}]);
    }
    document
}

fn run(asked: &Asked, case: &Value) -> Result<(), Outcome> {
    let url = text(&asked.question, "url");
    if url.contains('<') {
        return Err(Outcome::OutOfScope("the case dials an address that only a cluster knows".to_owned()));
    }
    let mut explainer = Explainer::offline(read(&asked.sources)?);
    let decision = ask(&mut explainer, asked.question.clone())?;
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let method = text(&asked.question, "method");
    expectation::compare(&decision, case, &expectation::Sent { method, path, host })
}

fn question(case: &Value, mesh: bool) -> Value {
    let request = &case["request"];
    let host = request["host"].as_str().unwrap_or("echo");
    let dialled = if mesh { host.to_owned() } else { format!("front.{INFRA}") };
    let said = ["headers", "metadata"].into_iter().filter_map(|key| request[key].as_object()).flatten();
    let mut headers: Vec<(String, Value)> = said.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !mesh && let Some(host) = request["host"].as_str() {
        headers.push(("host".to_owned(), json!(host)));
    }
    let protocol = match request["protocol"].as_str() {
        Some("H2C_PRIOR_KNOWLEDGE") => "http2",
        other => other.unwrap_or("http"),
    };
    let (method, path) = match protocol {
        "grpc" => ("POST", grpc_path(request)),
        _ => {
            let method = request["method"].as_str().unwrap_or("GET");
            (method, request["path"].as_str().unwrap_or("/").to_owned())
        }
    };
    let namespace = case["client_namespace"].as_str().unwrap_or(if mesh { MESH } else { INFRA });
    json!({
        "method": method, "url": format!("http://{dialled}{path}"), "headers": headers,
        "protocol": protocol, "from": {"namespace": namespace},
    })
}

/// The conformance tests' own echo service where a case names no other.
fn grpc_path(request: &Value) -> String {
    let service =
        request["service"].as_str().unwrap_or("gateway_api_conformance.echo_basic.grpcecho.GrpcEcho");
    format!("/{service}/{}", request["method"].as_str().unwrap_or("Echo"))
}

/// Cases that upstream asks after it has deleted the grant of the manifests.
const WITHOUT_GRANTS: [&str; 1] = ["HTTPRouteReferenceGrant [1]"];
