//! Connections of bytes, as answers show them.

use super::*;

const DATABASE: &str = "apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  selector: {app: db}
  ports: [{port: 5432, name: tcp-sql}, {port: 443, name: tls-admin}, {port: 80, name: http-web}, {port: 9, name: ''}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db-v1}
spec: {template: {metadata: {labels: {app: db, version: v1}}, spec: {serviceAccountName: db}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db-v2}
spec: {template: {metadata: {labels: {app: db, version: v2}}, spec: {serviceAccountName: db}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db}
spec: {host: db, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
";

/// The database with a VirtualService of this spec.
fn with(spec: &str) -> String {
    format!(
        "{DATABASE}apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: db}}\nspec:\n  hosts: [db, \
         db.example.com, '*.db.example.com']\n{spec}"
    )
}

const RULES: &str = "  http:
  - route: [{destination: {host: db, subset: v2, port: {number: 80}}}]
  tcp:
  - match: [{port: 5432, sourceLabels: {app: batch}}]
    route: [{destination: {host: db, subset: v2}}]
  - match: [{port: 5432}]
    route:
    - {destination: {host: db, subset: v1}, weight: 3}
    - {destination: {host: db, subset: v2}, weight: 1}
  tls:
  - match: [{sniHosts: ['*.db.example.com']}]
    route: [{destination: {host: db, subset: v1}}]
  - match: [{sniHosts: [new.db.example.com], port: 443}]
    route: [{destination: {host: db, subset: v2}}]
";

fn ask(documents: &str, question: Value) -> Value {
    answer(documents, question)
}

fn subsets(answer: &Value) -> Vec<&str> {
    let destinations = answer["destinations"].as_array().expect("a list");
    destinations.iter().map(|one| one["subset"].as_str().unwrap_or("")).collect()
}

#[test]
fn a_tcp_rule_divides_connections_by_weight() {
    let answer = ask(&with(RULES), json!({"url": "tcp://db:5432", "draw": 0.8}));
    assert_eq!(answer["outcome"], json!("forward"));
    assert_eq!(answer["host"], json!("db.default.svc.cluster.local"));
    assert_eq!(answer["route"]["document"], json!("VirtualService/default/db"));
    assert_eq!(answer["route"]["rule"], json!("tcp[1]"));
    assert_eq!(answer["route"]["at"], json!("bookinfo.yaml:33"));
    assert_eq!(subsets(&answer), ["v1", "v2"]);
    assert_eq!(answer["destinations"][0]["odds"], json!(0.75));
    assert_eq!(answer["chosen"], json!(1));
    assert_eq!(answer["retries"]["attempts"], json!(2));
    assert_eq!(answer["upstream_request"], Value::Null);
    assert_eq!(answer["inbound"]["decision"], json!("allow"));
    assert_eq!(answer["inbound"]["status"], Value::Null);
    assert_eq!(answer["inbound"]["workload"], json!("default/db-v2"));
}

#[test]
fn rules_are_chosen_by_port_and_caller() {
    let batch = json!({"namespace": "default", "labels": {"app": "batch"}});
    let answer = ask(&with(RULES), json!({"url": "tcp://db:5432", "from": batch}));
    assert_eq!((&answer["route"]["rule"], subsets(&answer)), (&json!("tcp[0]"), vec!["v2"]));
    let untouched = ask(
        &with("  tcp:\n  - match: [{port: 1}]\n    route: [{destination: {host: db, subset: v2}}]\n"),
        json!({"url": "tcp://db:5432"}),
    );
    assert_eq!(untouched["route"]["document"], Value::Null, "no rule applies: the whole service");
    assert_eq!(subsets(&untouched), [""]);
}

#[test]
fn the_most_specific_server_name_chooses_a_tls_rule() {
    let check = |sni: Value, expected: Option<&str>| {
        let answer = ask(&with(RULES), json!({"url": "tcp://db:443", "sni": sni}));
        assert_eq!(answer["route"]["rule"].as_str(), expected, "{sni}");
        let outcome = if expected.is_some() { "forward" } else { "no_route" };
        assert_eq!((&answer["outcome"], &answer["status"]), (&json!(outcome), &Value::Null), "{sni}");
    };
    check(json!("old.DB.example.com"), Some("tls[0]"));
    check(json!("new.db.example.com"), Some("tls[1]"));
    check(json!("elsewhere.com"), None);
    check(Value::Null, None);
}

#[test]
fn https_to_a_tls_port_is_a_connection_that_sends_the_hosts_name() {
    let entry = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec: {hosts: [api.example.com], ports: [{number: 443, name: tls, protocol: TLS}], resolution: STATIC, endpoints: [{address: 10.0.0.9}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec: {hosts: [api.example.com], tls: [{match: [{sniHosts: [api.example.com], port: 443}], route: [{destination: {host: api.example.com}}]}]}
";
    let answer = ask(entry, json!({"url": "https://api.example.com/path"}));
    assert_eq!((&answer["outcome"], &answer["route"]["rule"]), (&json!("forward"), &json!("tls[0]")));
    assert_eq!(answer["upstream_request"], Value::Null);
}

#[test]
fn a_port_is_used_as_it_is_declared_or_refused_by_name() {
    let check = |spec: &str, url: &str, refusal: Option<&str>| {
        let answer = ask(&with(spec), json!({"url": url}));
        let outcome = if refusal.is_some() { "bad_request" } else { "forward" };
        assert_eq!(answer["outcome"], json!(outcome), "{url} {answer:#}");
        let reason = answer["reason"].as_str().unwrap_or_default();
        assert!(reason.contains(refusal.unwrap_or_default()), "{url}: {reason}");
    };
    check(RULES, "http://db:5432/", Some("MeshConnector"));
    check(RULES, "http://db:443/", Some("MeshConnector"));
    check(RULES, "tcp://db:80", Some("MeshClient"));
    check(RULES, "http://db:80/", None);
    // Nobody has declared what is spoken on port 9: rules do, else either is taken.
    let tcp = "  tcp: [{route: [{destination: {host: db, subset: v1}}]}]\n";
    let http = "  http: [{route: [{destination: {host: db, subset: v1}}]}]\n";
    check(tcp, "tcp://db:9", None);
    check(tcp, "http://db:9/", Some("MeshConnector"));
    check(http, "http://db:9/", None);
    check(http, "tcp://db:9", Some("MeshClient"));
    for either in [&[tcp, http].concat(), "  http: [{match: [{port: 1}], directResponse: {status: 200}}]\n"] {
        check(either, "tcp://db:9", None);
        check(either, "http://db:9/", None);
    }
}

#[test]
fn foreign_tls_passes_to_whoever_listens_for_bytes() {
    let at = json!({"labels": {"app": "db"}});
    let result = |url: &str| {
        let question = json!({"url": url, "transport": "tls", "inbound_only": true, "at": at});
        ask(&with(RULES), question)["inbound"]["transport_result"].clone()
    };
    // Of port 9 nobody has declared what is spoken there: who listens for bytes takes them, who serves requests ends TLS itself.
    for (url, expected) in [
        ("tcp://db:5432", "forward_untouched"),
        ("tcp://db:9", "forward_untouched"),
        ("http://db:9/", "refused"),
        ("tcp://db:80", "refused"),
    ] {
        assert_eq!(result(url), json!(expected), "{url}");
    }
}

#[test]
fn a_connection_sticks_to_its_callers_identity() {
    let sticky = with(RULES).replace(
        "kind: VirtualService\nmetadata: {name: db}",
        "kind: VirtualService\nmetadata: {name: db, annotations: {proxyless.mesh/sticky: identity}}",
    );
    let ask =
        |account: &str| ask(&sticky, json!({"url": "tcp://db:5432", "from": {"service_account": account}}));
    let chosen: Vec<Value> = (0..40).map(|at| ask(&format!("caller-{at}"))["chosen"].clone()).collect();
    assert!(chosen.contains(&json!(0)) && chosen.contains(&json!(1)), "{chosen:?}");
    assert_eq!(ask("a")["sticky"]["key"], json!("cluster.local/ns/default/sa/a"));
}

#[test]
fn a_host_without_a_service_is_routed_by_its_rules_for_connections() {
    let documents =
        with("  tcp: [{match: [{port: 7}], route: [{destination: {host: db, port: {number: 5432}}}]}]\n");
    let answer = ask(&documents, json!({"url": "tcp://db.example.com:7"}));
    assert_eq!((&answer["outcome"], &answer["host"]), (&json!("forward"), &json!("db.example.com")));
    assert_eq!(answer["destinations"][0]["port"], json!(5432));
    let other = ask(&documents, json!({"url": "tcp://db.example.com:8"}));
    assert_eq!((&other["outcome"], &other["upstream_request"]), (&json!("passthrough"), &Value::Null));
}

#[test]
fn whom_policy_refuses_by_identity_is_refused_before_a_byte() {
    let denied = format!(
        "{}---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: db}}\nspec:\n  \
         selector: {{matchLabels: {{app: db}}}}\n  action: DENY\n  rules: [{{from: [{{source: {{principals: [cluster.local/ns/default/sa/mallory]}}}}]}}]\n",
        with(RULES)
    );
    let ask =
        |account: &str| ask(&denied, json!({"url": "tcp://db:5432", "from": {"service_account": account}}));
    assert_eq!(ask("alice")["inbound"]["decision"], json!("allow"));
    let refused = ask("mallory");
    assert_eq!(refused["inbound"]["decision"], json!("deny"));
    assert_eq!(refused["inbound"]["policy"], json!("AuthorizationPolicy/default/db"));
    assert_eq!((&refused["outcome"], &refused["inbound"]["status"]), (&json!("forward"), &Value::Null));
}

#[test]
fn the_answer_for_people_names_rule_and_destinations() {
    let reading = DocumentSet::read(&[Source::file("documents.yaml", &*with(RULES))]);
    let mut explainer = Explainer::offline(reading.documents);
    let text = render(&explainer.answer(&asked("GET", "tcp://db:5432")).expect("an answer"));
    for part in ["VirtualService/default/db  tcp[1]", "subset v1  75 %", "takes this connection"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(!text.contains("sent "), "{text}");
}
