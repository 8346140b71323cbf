//! VirtualServices: request in, answer out.

use control_plane::document::Source;
use control_plane::explain::{Decision, Explainer, UpstreamTls};
use serde_json::{Value, json};

use super::{Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

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
    for test in cases(folder.join("cases.yaml")).as_array().expect("a list of tests") {
        let sources = [Source::file("world.yaml", WORLD), source(items(test, "docs"))];
        for (index, case) in items(test, "cases").iter().enumerate() {
            let name =
                format!("{} [{}]", text(test, "name"), case["name"].as_str().unwrap_or(&index.to_string()));
            tally.case(&name, outcome(run(&sources, case)));
        }
    }
    tally.finish(17);
}

fn run(sources: &[Source], case: &Value) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(sources)?);
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
    let protocol = request["protocol"].as_str().unwrap_or("http");
    let question = |url: String| {
        json!({
            "method": request["method"].as_str().unwrap_or("GET"), "url": url, "headers": headers, "protocol": protocol,
            "from": {"namespace": "ns1", "service_account": "a"},
        })
    };
    let mut decision = ask(&mut explainer, question(format!("http://{dialled}{}", text(request, "path"))))?;
    if request["follow_redirects"] == json!(true)
        && let Some(redirect) = &decision.redirect
    {
        decision = ask(&mut explainer, question(redirect.location.clone()))?;
    }
    compare(&decision, &case["expect"])
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
