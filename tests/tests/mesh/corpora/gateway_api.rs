//! The Gateway API's conformance tests, as far as they are about a Service parent or hold for one as well.

use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::{Decision, Explainer};
use serde_json::{Value, json};

use super::{Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

const MESH: &str = "gateway-conformance-mesh";
const INFRA: &str = "gateway-conformance-infra";

#[test]
fn routes_of_a_service_behave_as_the_conformance_tests_demand() {
    let Some(folder) = folder("gateway-api-conformance") else { return };
    let manifests = folder.join("manifests");
    let mut tally = Tally::new("gateway-api-conformance");
    for test in cases(folder.join("cases.yaml")).as_array().expect("a list of tests") {
        let mesh = text(test, "suite") == "mesh";
        if !mesh && test["transposable_to_mesh"] != json!(true) {
            continue;
        }
        let sources = sources(&manifests, test, mesh);
        for (index, case) in items(test, "cases").iter().enumerate() {
            let name = format!("{} [{index}]", text(test, "test"));
            tally.case(&name, outcome(run(&sources, case, mesh)));
        }
    }
    tally.finish(80);
}

fn sources(manifests: &Path, test: &Value, mesh: bool) -> Vec<Source> {
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
        let transposed: Vec<Value> =
            documents.into_iter().filter(|document| !document.is_null()).map(transposed).collect();
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

fn run(sources: &[Source], case: &Value, mesh: bool) -> Result<(), Outcome> {
    let request = &case["request"];
    let host = request["host"].as_str().unwrap_or("echo");
    if host.contains('<') {
        return Err(Outcome::OutOfScope("the case dials an address that only a cluster knows".to_owned()));
    }
    let mut explainer = Explainer::offline(read(sources)?);
    let dialled = if mesh { host.to_owned() } else { format!("front.{INFRA}") };
    let headers = request["headers"].as_object().into_iter().flatten();
    let mut headers: Vec<(String, Value)> =
        headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !mesh && let Some(host) = request["host"].as_str() {
        headers.push(("host".to_owned(), json!(host)));
    }
    let protocol = match request["protocol"].as_str() {
        Some("H2C_PRIOR_KNOWLEDGE") => "http2",
        other => other.unwrap_or("http"),
    };
    let namespace = case["client_namespace"].as_str().unwrap_or(if mesh { MESH } else { INFRA });
    let decision = ask(
        &mut explainer,
        json!({
            "method": request["method"].as_str().unwrap_or("GET"),
            "url": format!("http://{dialled}{}", request["path"].as_str().unwrap_or("/")),
            "headers": headers, "protocol": protocol,
            "from": {"namespace": namespace},
        }),
    )?;
    compare(&decision, case)
}

fn compare(decision: &Decision, case: &Value) -> Result<(), Outcome> {
    let expect = &case["expect"];
    if let Some(status) = expect["status"].as_u64() {
        let inbound = decision.inbound.as_ref().and_then(|inbound| inbound.status);
        // A backend whose answers the case does not restrict, or that is outside the mesh, answers 200.
        let forwarded = (decision.status.is_none() && inbound.is_none()).then_some(200);
        same("the status", decision.status.or(inbound).or(forwarded).map(u64::from), Some(status))?;
    }
    let drawn: Vec<_> = decision.destinations.iter().filter(|one| one.odds > 0.0).collect();
    if let Some(backend) = expect["backend"].as_str() {
        let workloads = drawn.iter().flat_map(|one| &one.endpoints).filter_map(|one| one.workload.as_deref());
        let names: Vec<&str> =
            workloads.map(|workload| workload.rsplit('/').next().unwrap_or_default()).collect();
        let presumed = drawn.iter().all(|one| one.host.starts_with(&format!("{backend}.")));
        let wrong = names.iter().any(|name| !name.starts_with(backend)) || (names.is_empty() && !presumed);
        same("another backend", wrong.then_some(names), None)?;
    }
    for (name, share) in expect["distribution"].as_object().into_iter().flatten() {
        let of = decision.destinations.iter().filter(|one| one.host.starts_with(&format!("{name}.")));
        let odds = of.map(|one| one.odds).sum::<f64>();
        same(name, Some((odds * 100.0).round()), share.as_f64().map(|share| (share * 100.0).round()))?;
    }
    let sent = decision.upstream_request.as_ref();
    if let Some(path) = expect["backend_request"]["path"].as_str() {
        same("the path", sent.map(|sent| sent.path.as_str()), Some(path))?;
    }
    Ok(())
}
