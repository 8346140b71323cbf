//! VirtualServices: request in, answer out.

use std::collections::BTreeSet;
use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::{Decision, Explainer, UpstreamTls};
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

/// The world that the head of the cases describes.
const WORLD: &str = "
{apiVersion: v1, kind: Service, metadata: {name: b, namespace: ns1}, spec: {selector: {app: b}, ports: [{port: 80, name: http}, {port: 85, name: http2}, {port: 7070, name: grpc}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: c, namespace: ns1}, spec: {selector: {app: c}, ports: [{port: 80, name: http}, {port: 85, name: http2}, {port: 7070, name: grpc}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: d, namespace: ns1}, spec: {selector: {app: d}, ports: [{port: 80, name: http}, {port: 85, name: http2}, {port: 7070, name: grpc}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: headless, namespace: ns1}, spec: {clusterIP: None, selector: {app: headless}, ports: [{port: 80, name: http}, {port: 85, name: http2}, {port: 7070, name: grpc}]}}
";

#[test]
fn virtual_services_route_as_istio_does() {
    let Some(folder) = folder("istio-vs-traffic") else { return };
    let mut tally = Tally::new("istio-vs-traffic");
    for (mut asked, case) in all(&folder) {
        if !case["expect"]["distinct_endpoints"].is_null() {
            asked.sources.push(Source::file("endpoints.yaml", endpoints()));
        }
        tally.case(&asked.name, outcome(run(&asked, &case)));
    }
    tally.finish(20);
}

/// Five endpoints of `b`, for cases that tell them apart.
fn endpoints() -> String {
    let entry = |last| {
        format!(
            "{{apiVersion: networking.istio.io/v1, kind: WorkloadEntry, metadata: {{name: b{last}, namespace: ns1}}, \
             spec: {{address: 10.0.0.{last}, labels: {{app: b, security.istio.io/tlsMode: istio}}}}}}\n---\n"
        )
    };
    (1..=5).map(entry).collect()
}

/// The questions of the corpus.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    all(folder).into_iter().map(|(asked, _)| asked).collect()
}

fn all(folder: &Path) -> Vec<(Asked, Value)> {
    let mut all = Vec::new();
    for test in cases(folder.join("cases.yaml")).as_array().expect("a list of tests") {
        let sources = vec![Source::file("world.yaml", WORLD), source(items(test, "docs"))];
        for (index, case) in items(test, "cases").iter().enumerate() {
            let name =
                format!("{} [{}]", text(test, "name"), case["name"].as_str().unwrap_or(&index.to_string()));
            all.push((Asked { name, sources: sources.clone(), question: question(case) }, case.clone()));
        }
    }
    all
}

fn question(case: &Value) -> Value {
    let request = &case["request"];
    let host = text(request, "host");
    let port = request["port"].as_u64().unwrap_or(80);
    let authority = |host: &str| {
        if port == 80 || host.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
    };
    let headers = request["headers"].as_object().into_iter().flatten();
    let mut headers: Vec<(String, Value)> =
        headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut dialled = authority(host);
    if let Some(other) = request["connect_to"].as_str() {
        headers.push(("host".to_owned(), json!(dialled)));
        dialled = authority(other);
    }
    json!({
        "method": request["method"].as_str().unwrap_or("GET"), "url": format!("http://{dialled}{}", text(request, "path")),
        "headers": headers, "protocol": request["protocol"].as_str().unwrap_or("http"),
        "from": {"namespace": "ns1", "service_account": "a", "ip": "127.0.0.1"},
    })
}

fn run(asked: &Asked, case: &Value) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&asked.sources)?);
    let mut decision = ask(&mut explainer, asked.question.clone())?;
    if case["request"]["follow_redirects"] == json!(true)
        && let Some(redirect) = &decision.redirect
    {
        let mut followed = asked.question.clone();
        followed["url"] = json!(redirect.location);
        decision = ask(&mut explainer, followed)?;
    }
    compare(&decision, &case["expect"])?;
    match &case["expect"]["distinct_endpoints"] {
        Value::Null => Ok(()),
        wanted => same("the one endpoint", one_endpoint(&mut explainer, asked, case)?, *wanted == json!(1)),
    }
}

/// Whether requests, one after the other, are sure to meet one endpoint; a client that keeps cookies brings them back.
fn one_endpoint(explainer: &mut Explainer, asked: &Asked, case: &Value) -> Result<bool, Outcome> {
    let mut question = asked.question.clone();
    let mut met = BTreeSet::new();
    for draw in [0.1, 0.3, 0.5, 0.7, 0.9] {
        question["draw"] = json!(draw);
        let decision = ask(explainer, question.clone())?;
        same("how many endpoints there are", decision.destinations[0].endpoints.len(), 5)?;
        met.insert(decision.endpoint);
        let told = decision.response_headers.add.iter().filter(|(name, _)| name == "set-cookie");
        let told = told.filter(|_| case["request"]["keep_cookies"] == json!(true));
        let cookies = told.filter_map(|(_, cookie)| cookie.split(';').next());
        let headers = question["headers"].as_array_mut().expect("a list");
        headers.extend(cookies.map(|cookie| json!(["cookie", cookie])));
    }
    Ok(met.len() == 1 && !met.contains(&None))
}

fn compare(decision: &Decision, expect: &Value) -> Result<(), Outcome> {
    if let Some(status) = expect["status"].as_u64() {
        let inbound = decision.inbound.as_ref().and_then(|inbound| inbound.status);
        same("the status", decision.status.or(inbound).map(u64::from), Some(status))?;
    }
    let location = decision.redirect.as_ref().map(|redirect| redirect.location.as_str());
    if let Some(expected) = expect["location"].as_str() {
        same("the location", location, Some(expected))?;
    }
    if let Some(expected) = expect["location_path"].as_str() {
        let path =
            location.and_then(|location| location.splitn(4, '/').nth(3)).map(|path| format!("/{path}"));
        same("the location's path", path.as_deref(), Some(expected))?;
    }
    let upstream = decision.upstream_request.as_ref();
    let fields = [
        ("backend_path", upstream.map(|request| request.path.as_str())),
        ("backend_host", upstream.map(|request| request.authority.as_str())),
        ("backend", decision.destinations.first().map(|one| one.host.split('.').next().unwrap_or_default())),
    ];
    for (field, actual) in fields {
        if let Some(expected) = expect[field].as_str() {
            same(field, actual, Some(expected))?;
        }
    }
    for (name, value) in expect["backend_request_headers"].as_object().into_iter().flatten() {
        let sent = upstream.map_or(&[][..], |request| &request.headers);
        let found =
            sent.iter().find(|(sent, _)| sent.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
        same(name, found, value.as_str())?;
    }
    for (backend, share) in expect["distribution"].as_object().into_iter().flatten() {
        let of = decision.destinations.iter().filter(|one| one.host.split('.').next() == Some(backend));
        same(backend, Some(of.map(|one| one.odds).sum::<f64>()), share.as_f64())?;
    }
    if let Some(mtls) = expect["mtls"].as_bool() {
        let found = decision.destinations.first().and_then(|one| one.upstream_tls);
        same("mtls", found == Some(UpstreamTls::MeshMtls), mtls)?;
    }
    if expect["reaches_backend"] == json!(false) {
        same("the backend reached", decision.inbound.is_some(), false)?;
    }
    Ok(())
}
