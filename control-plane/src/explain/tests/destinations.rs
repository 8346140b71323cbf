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
