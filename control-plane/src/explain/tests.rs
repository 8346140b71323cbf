//! Explanations as a whole: documents and a question in, the contract's JSON out.

use serde_json::{Value, json};

use super::*;
use crate::document::{self, DocumentSet, Source};
use crate::translate::translate;

mod actions;
mod destinations;
mod gateway_routes;
mod hash;
mod locality;
mod opaque;
mod sticky;

const BOOKINFO: &str = "apiVersion: v1
kind: Service
metadata: {name: reviews}
spec:
  selector: {app: reviews}
  ports: [{port: 9080, name: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v1}
spec:
  template:
    metadata: {labels: {app: reviews, version: v1}}
    spec: {serviceAccountName: bookinfo-reviews, containers: [{name: reviews, ports: [{containerPort: 9080}]}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reviews-v2}
spec:
  template:
    metadata: {labels: {app: reviews, version: v2}}
    spec: {serviceAccountName: bookinfo-reviews, containers: [{name: reviews, ports: [{containerPort: 9080}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - match: [{uri: {prefix: /old}}]
    redirect: {uri: /new}
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
";

const POLICY: &str = "---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews}
spec:
  selector: {matchLabels: {app: reviews}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/bookinfo-productpage]}}]
    to: [{operation: {methods: [GET], paths: ['/reviews/*']}}]
";

fn asked(method: &str, url: &str) -> Question {
    Question { method: Some(method.to_owned()), url: url.to_owned(), ..Question::default() }
}

fn explainer(documents: &str) -> Explainer {
    let reading = DocumentSet::read(&[Source::file("bookinfo.yaml", documents)]);
    assert!(reading.verdict() <= document::Verdict::Warning, "{:?}", reading.reports);
    Explainer::offline(reading.documents)
}

fn answer(documents: &str, question: Value) -> Value {
    let line = explainer(documents).answer_line(&question.to_string());
    serde_json::from_str(&line).expect("an answer is JSON")
}

/// Every path in `expected` must be there with that value.
#[track_caller]
fn check(documents: &str, question: Value, expected: &[(&str, Value)]) {
    let answer = answer(documents, question);
    for (path, value) in expected {
        assert_eq!(answer.pointer(path), Some(value), "{path} of {answer:#}");
    }
}

#[test]
fn a_weighted_rule_lists_its_odds() {
    check(
        BOOKINFO,
        json!({"url": "http://reviews:9080/reviews/0"}),
        &[
            ("/outcome", json!("forward")),
            ("/host", json!("reviews.default.svc.cluster.local")),
            ("/route/document", json!("VirtualService/default/reviews")),
            ("/route/rule", json!("http[2]")),
            ("/route/at", json!("bookinfo.yaml:43")),
            ("/destinations/0/subset", json!("v1")),
            ("/destinations/0/odds", json!(0.9)),
            ("/destinations/0/endpoints/0/workload", json!("default/reviews-v1")),
            ("/destinations/0/upstream_tls", json!("mesh_mtls")),
            ("/destinations/0/server_identities", json!(["cluster.local/ns/default/sa/bookinfo-reviews"])),
            ("/destinations/0/destination_rule/0/document", json!("DestinationRule/default/reviews")),
            ("/chosen", json!(null)),
            ("/retries/attempts", json!(2)),
            ("/inbound/decision", json!("allow")),
            ("/inbound/transport", json!("mtls")),
        ],
    );
}

#[test]
fn a_draw_chooses_and_a_header_takes_another_rule() {
    let url = "http://reviews:9080/";
    check(BOOKINFO, json!({"url": url, "draw": 0.95}), &[("/chosen", json!(1))]);
    check(
        BOOKINFO,
        json!({"url": url, "headers": [["End-User", "jason"]]}),
        &[("/route/rule", json!("http[0]")), ("/destinations/0/subset", json!("v2")), ("/chosen", json!(0))],
    );
    check(
        BOOKINFO,
        json!({"url": "http://reviews:9080/old?q=1"}),
        &[("/outcome", json!("redirect")), ("/redirect/location", json!("http://reviews:9080/new?q=1"))],
    );
}

#[test]
fn hosts_outside_the_mesh_pass_or_are_refused() {
    let url = "https://example.com/x";
    check(BOOKINFO, json!({"url": url}), &[("/outcome", json!("passthrough")), ("/status", json!(null))]);
    check(
        BOOKINFO,
        json!({"url": url, "mesh": {"outbound_traffic_policy": "REGISTRY_ONLY"}}),
        &[("/outcome", json!("denied_outbound")), ("/status", json!(502))],
    );
    // What is dialled is outside; what the request says is not.
    check(
        BOOKINFO,
        json!({"url": "http://10.1.2.3:9080/", "headers": [["host", "reviews"]]}),
        &[("/outcome", json!("forward"))],
    );
}

#[test]
fn the_server_decides_by_identity_path_and_transport() {
    let documents = format!("{BOOKINFO}{POLICY}");
    let ask = |account: &str, path: &str, transport: Value| {
        json!({
            "url": format!("http://reviews:9080{path}"), "draw": 0.0, "transport": transport,
            "from": {"namespace": "default", "service_account": account},
        })
    };
    check(
        &documents,
        ask("bookinfo-productpage", "/reviews/0", json!(null)),
        &[
            ("/inbound/decision", json!("allow")),
            ("/inbound/policy", json!("AuthorizationPolicy/default/reviews")),
            ("/inbound/rule", json!("rules[0]")),
            ("/inbound/workload", json!("default/reviews-v1")),
            ("/inbound/mtls_mode", json!("STRICT")),
            ("/inbound/status", json!(200)),
        ],
    );
    check(
        &documents,
        ask("bookinfo-ratings", "/reviews/0", json!(null)),
        &[
            ("/outcome", json!("forward")),
            ("/inbound/decision", json!("deny")),
            ("/inbound/status", json!(403)),
        ],
    );
    check(&documents, ask("bookinfo-productpage", "/admin", json!(null)), &[("/inbound/status", json!(403))]);
    check(
        &documents,
        ask("bookinfo-productpage", "/reviews/0", json!("plaintext")),
        &[
            ("/inbound/transport_result", json!("refused")),
            ("/inbound/decision", json!("deny")),
            ("/inbound/status", json!(null)),
            ("/inbound/policy", json!("PeerAuthentication/default/default")),
        ],
    );
}

#[test]
fn a_workload_can_be_asked_without_routing() {
    let at = json!({"namespace": "default", "labels": {"app": "reviews"}, "workload_port": 9080});
    check(
        &format!("{BOOKINFO}{POLICY}"),
        json!({"url": "http://reviews:9080/reviews/%2E%2E/secret", "inbound_only": true, "at": at,
            "from": {"service_account": "bookinfo-productpage"}}),
        &[
            ("/outcome", json!("inbound")),
            ("/inbound/decision", json!("deny")),
            ("/inbound/status", json!(403)),
        ],
    );
    check(
        BOOKINFO,
        json!({"url": "http://reviews:9080/a/%00", "inbound_only": true, "at": at}),
        &[
            ("/outcome", json!("inbound")),
            ("/inbound/status", json!(400)),
            ("/inbound/decision", json!("deny")),
        ],
    );
}

#[test]
fn a_bad_line_is_an_error_in_its_place() {
    let check = |line: &str, part: &str| {
        let answer = explainer(BOOKINFO).answer_line(line);
        assert!(answer.starts_with("{\"error\":\"") && answer.contains(part), "{answer}");
    };
    check("{", "not understood");
    check("{}", "url");
    check(" ", "empty");
    check(r#"["GET", "http://reviews:9080/"]"#, "an object");
    check(r#"{"url": "http://reviews:9080/", "from": ["default", "a"]}"#, "an object");
    check(r#"{"url": "http://reviews:9080/", "mesh": {"default_export_to": [["*"]]}}"#, "an object");
    check(r#"{"url": "tcp://reviews:9080", "protocol": "http"}"#, "tcp");
    check(r#"{"url": "reviews:9080"}"#, "scheme");
    check(r#"{"url": "tcp://reviews", "protocol": "tcp"}"#, "port");
    check(r#"{"url": "http://reviews:9080/", "color": "red"}"#, "color");
    check(r#"{"url": "http://reviews:9080/", "draw": 1.0}"#, "draw");
    check(r#"{"url": "http://reviews:9080/", "inbound_only": true}"#, "at");
    check(r#"{"url": "http://reviews:9080/", "method": "GE T"}"#, "method");
}

#[test]
fn a_url_for_bytes_says_what_is_spoken() {
    let (short, long) = (json!({"url": "tcp://b:80"}), json!({"url": "tcp://b:80", "protocol": "tcp"}));
    assert_eq!(answer(BOOKINFO, short), answer(BOOKINFO, long));
}

#[test]
fn headers_go_up_in_the_order_of_the_question() {
    let documents = format!(
        "{BOOKINFO}---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: ordered}}
spec:
  hosts: [ordered]
  http:
  - route: [{{destination: {{host: reviews}}}}]
    headers: {{request: {{remove: [x-r], add: {{x-b: '1'}}, set: {{x-s: new}}}}}}
"
    );
    let asked = json!([["X-R", "1"], ["h", "1"], ["x-s", "old"], ["x-a", "1"], ["h", "2"]]);
    let sent = json!([["h", "1"], ["x-s", "new"], ["x-a", "1"], ["h", "2"], ["x-b", "1"]]);
    let answer = answer(&documents, json!({"url": "http://ordered:9080/", "headers": asked}));
    assert_eq!(answer["upstream_request"]["headers"], sent);
    assert_eq!(answer["inbound"]["request"]["headers"], sent);
}

#[test]
fn a_workload_is_two_names() {
    for bad in ["a/b/c", "a", "/a", "a/", "a/ b", ""] {
        let mut question = asked("GET", "http://reviews:9080/");
        assert!(question.from(bad).is_err() && question.at(bad).is_err(), "{bad}");
    }
}

#[test]
fn every_field_of_the_contract_is_there() {
    let answer = answer(BOOKINFO, json!({"url": "http://reviews:9080/"}));
    let keys: Vec<&str> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
    let wanted = [
        "outcome",
        "status",
        "grpc_status",
        "reason",
        "response_flags",
        "host",
        "route",
        "destinations",
        "chosen",
        "endpoint",
        "sticky",
        "upstream_request",
        "response_headers",
        "redirect",
        "direct_response",
        "timeout",
        "retries",
        "fault",
        "external_auth",
        "mirrors",
        "inbound",
        "warnings",
        "trace",
    ];
    assert_eq!(keys, wanted);
}

/// A translator that leaves out the last route: the answer must change with it, because it comes through encoded xDS.
#[test]
fn a_broken_translator_changes_the_answer() {
    use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
    use mesh_core::resource::ResourceType;
    use prost::Message;

    let question: Question =
        serde_json::from_value(json!({"url": "http://reviews:9080/"})).expect("a question");
    assert_eq!(explainer(BOOKINFO).answer(&question).expect("an answer").outcome, Outcome::Forward);
    let mut broken = explainer(BOOKINFO).with_translate(|world, caller, resource_type, name| {
        let mut translated = translate(world, caller, resource_type, name);
        if let (ResourceType::RouteConfiguration, Some(message)) = (resource_type, &mut translated.message) {
            let mut routes = RouteConfiguration::decode(&*message.value).expect("a route configuration");
            routes.virtual_hosts[0].routes.pop();
            message.value = routes.encode_to_vec();
        }
        translated
    });
    assert_eq!(broken.answer(&question).expect("an answer").outcome, Outcome::NoRoute);
}
