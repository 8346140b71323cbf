//! How a destination is spoken to, as DestinationRules and ServiceEntries say it.

use super::*;

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{port: 9080, name: http}, {port: 9081, name: http-more}]}
";

/// The service with DestinationRules of its host, each said by its name and the rest of its spec.
fn ruled(rules: &[(&str, &str)]) -> String {
    let rules = rules.iter().map(|(name, spec)| {
        format!("---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec: {{host: reviews, {spec}}}\n")
    });
    rules.fold(SERVICE.to_owned(), |documents, rule| documents + &rule)
}

#[test]
fn a_rule_for_certain_clients_goes_before_the_one_for_all() {
    let documents = ruled(&[
        ("all", "trafficPolicy: {loadBalancer: {simple: RANDOM}, tls: {mode: DISABLE}}"),
        (
            "web",
            "workloadSelector: {matchLabels: {app: web}}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}",
        ),
        ("admin", "workloadSelector: {matchLabels: {app: admin}}, subsets: [{name: v1}]"),
    ]);
    let row = |from: Value, balancer: &str, tls: &str, rules: &[&str]| {
        let answer = answer(&documents, json!({"url": "http://reviews.default:9080/", "from": from}));
        let destination = &answer["destinations"][0];
        assert_eq!(
            (&destination["load_balancer"], &destination["upstream_tls"]),
            (&json!(balancer), &json!(tls)),
            "{from}"
        );
        let named = destination["destination_rule"].as_array().expect("a list").iter();
        let named: Vec<_> = named.map(|rule| rule["document"].as_str().expect("a name")).collect();
        let rules: Vec<_> = rules.iter().map(|name| format!("DestinationRule/default/{name}")).collect();
        assert_eq!(named, rules, "{from}");
    };
    row(json!({"namespace": "default"}), "random", "plaintext", &["all"]);
    // Its policy replaces the other's as a whole, so that nothing is said of TLS.
    let web = json!({"namespace": "default", "labels": {"app": "web", "version": "v1"}});
    row(web, "round_robin", "mesh_mtls", &["web", "all"]);
    let admin = json!({"namespace": "default", "labels": {"app": "admin"}});
    row(admin, "random", "plaintext", &["admin", "all"]);
    // Other namespaces never see it.
    row(json!({"namespace": "other", "labels": {"app": "web"}}), "random", "plaintext", &["all"]);
}

#[test]
fn a_rule_for_certain_clients_hides_nothing_from_the_others() {
    let rule = |namespace: &str, more: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r, namespace: {namespace}}}\nspec: {{host: reviews.default.svc.cluster.local, {more}}}\n"
        )
    };
    let documents = SERVICE.to_owned()
        + &rule("default", "trafficPolicy: {loadBalancer: {simple: RANDOM}}")
        + &rule(
            "web",
            "workloadSelector: {matchLabels: {app: a}}, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}",
        );
    let row = |app: &str, balancer: &str| {
        let from = json!({"namespace": "web", "labels": {"app": app}});
        let question = json!({"url": "http://reviews.default:9080/", "from": from});
        check(&documents, question, &[("/destinations/0/load_balancer", json!(balancer))]);
    };
    row("a", "round_robin");
    row("b", "random");
}

#[test]
fn a_ports_own_settings_replace_what_is_said_for_the_others() {
    const PORT: &str = "portLevelSettings: [{port: {number: 9081}, loadBalancer: {simple: ROUND_ROBIN}}]";
    let row = |rule: &str, subset: &str, port: u16, balancer: &str, tls: &str| {
        let documents = ruled(&[(
            "r",
            &format!("trafficPolicy: {{{rule}}}, subsets: [{{name: v1, trafficPolicy: {{{subset}}}}}]"),
        )]) + "---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec: {hosts: [reviews], http: [{route: [{destination: {host: reviews, subset: v1}}]}]}
";
        let question = json!({"url": format!("http://reviews:{port}/")});
        let wanted = [
            ("/destinations/0/load_balancer", json!(balancer)),
            ("/destinations/0/upstream_tls", json!(tls)),
        ];
        check(&documents, question, &wanted);
    };
    let all = "loadBalancer: {simple: RANDOM}, tls: {mode: DISABLE}";
    let both = format!("{all}, {PORT}");
    let tls = "tls: {mode: ISTIO_MUTUAL}";
    row(&both, tls, 9080, "random", "mesh_mtls");
    // The port's settings leave TLS out, which is its default there and not the rule's.
    row(&both, "loadBalancer: {simple: LEAST_REQUEST}", 9081, "least_request", "mesh_mtls");
    row(&both, tls, 9081, "round_robin", "mesh_mtls");
    // The subset's own settings of the port end the search.
    row(all, PORT, 9081, "round_robin", "mesh_mtls");
    row(all, PORT, 9080, "random", "plaintext");
}

#[test]
fn tls_names_the_server_as_documents_do() {
    let row = |tls: &str, kind: &str, names: &[&str]| {
        let documents = ruled(&[("r", &format!("trafficPolicy: {{tls: {{{tls}}}}}"))]);
        let wanted = [
            ("/destinations/0/upstream_tls", json!(kind)),
            ("/destinations/0/server_identities", json!(names)),
        ];
        check(&documents, json!({"url": "http://reviews:9080/"}), &wanted);
    };
    row("mode: SIMPLE", "tls", &["reviews.default.svc.cluster.local"]);
    row("mode: SIMPLE, sni: a.com", "tls", &["a.com"]);
    row("mode: SIMPLE, sni: a.com, subjectAltNames: [b.com, 10.0.0.1]", "tls", &["b.com", "10.0.0.1"]);
    row("mode: SIMPLE, insecureSkipVerify: true", "tls", &[]);
    row(
        "mode: MUTUAL, clientCertificate: /c, privateKey: /k, caCertificates: /ca",
        "mutual_tls",
        &["reviews.default.svc.cluster.local"],
    );
    let named = "subjectAltNames: ['spiffe://cluster.local/ns/a/sa/b']";
    row(&format!("mode: ISTIO_MUTUAL, {named}"), "mesh_mtls", &["cluster.local/ns/a/sa/b"]);
    // A server of the mesh takes a certificate of the mesh or none.
    let documents = ruled(&[("r", "trafficPolicy: {tls: {mode: SIMPLE}}")]);
    let at = json!({"namespace": "default", "workload_port": 9080});
    check(
        &documents,
        json!({"url": "http://reviews:9080/", "at": at}),
        &[("/inbound/transport", json!("tls")), ("/inbound/transport_result", json!("refused"))],
    );
}

/// A ServiceEntry of `api.example.com:80` and, where it may be one, a wildcard; and whatever else.
fn entry(spec: &str, more: &str) -> String {
    let wildcard = if spec.contains("DNS_ROUND_ROBIN") { "" } else { ", '*.wild.example.com'" };
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: api}}\nspec: {{hosts: [api.example.com{wildcard}], ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}], {spec}}}\n{more}"
    )
}

#[track_caller]
fn check_endpoints(documents: &str, url: &str, endpoints: &[&str], tls: &str) {
    let answer = answer(documents, json!({"url": url}));
    let destination = &answer["destinations"][0];
    let found = destination["endpoints"].as_array().unwrap_or_else(|| panic!("{answer:#}")).iter();
    let found: Vec<_> = found.map(|endpoint| endpoint["address"].as_str().unwrap_or("untold")).collect();
    assert_eq!((found, &destination["upstream_tls"]), (endpoints.to_vec(), &json!(tls)), "{answer:#}");
}

#[test]
fn endpoints_that_are_names_are_told_by_name() {
    let url = "http://api.example.com/";
    check_endpoints(&entry("resolution: DNS_ROUND_ROBIN", ""), url, &["api.example.com:8080"], "plaintext");
    for resolution in ["DYNAMIC_DNS", "NONE"] {
        let documents = entry(&format!("resolution: {resolution}"), "");
        check_endpoints(&documents, url, &["api.example.com:8080"], "plaintext");
        let called = "http://a.wild.example.com/";
        check_endpoints(&documents, called, &["a.wild.example.com:8080"], "plaintext");
    }
    let given = "resolution: DNS, endpoints: [{address: a.com}, {address: 10.0.0.1}, {address: b.com, ports: {http: 81}}]";
    check_endpoints(&entry(given, ""), url, &["a.com:8080", "10.0.0.1:8080", "b.com:81"], "plaintext");
    // A workload is found by the labels of its document, too.
    let selected =
        "location: MESH_INTERNAL, resolution: STATIC, workloadSelector: {labels: {app: api, tier: front}}";
    let workload = "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: w, labels: {app: api}}\nspec: {address: W.example.com, labels: {app: other, tier: front}, serviceAccount: api}\n";
    check_endpoints(&entry(selected, workload), url, &["w.example.com:8080"], "mesh_mtls");
}

#[test]
fn who_may_answer_is_said_by_rule_entry_and_accounts() {
    let row = |entry_says: &str, rule: &str, kind: &str, names: &[&str]| {
        let rule = format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec: {{host: api.example.com, trafficPolicy: {{tls: {{{rule}}}}}}}\n"
        );
        let documents = entry(
            &format!(
                "{entry_says}, resolution: STATIC, endpoints: [{{address: 10.0.0.1, serviceAccount: a}}]"
            ),
            &rule,
        );
        let wanted = [
            ("/destinations/0/upstream_tls", json!(kind)),
            ("/destinations/0/server_identities", json!(names)),
        ];
        check(&documents, json!({"url": "http://api.example.com/"}), &wanted);
    };
    let spiffe = "subjectAltNames: ['spiffe://other/ns/a/sa/b', dns.example.com]";
    let own = "cluster.local/ns/default/sa/a";
    row(spiffe, "mode: ISTIO_MUTUAL", "mesh_mtls", &[own, "other/ns/a/sa/b"]);
    row(
        spiffe,
        "mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://c/ns/c/sa/c']",
        "mesh_mtls",
        &["c/ns/c/sa/c"],
    );
    row(spiffe, "mode: SIMPLE", "tls", &["other/ns/a/sa/b", "dns.example.com"]);
    row(spiffe, "mode: SIMPLE, subjectAltNames: [c.com]", "tls", &["c.com"]);
    row("location: MESH_INTERNAL", "mode: SIMPLE", "tls", &["api.example.com"]);
}
