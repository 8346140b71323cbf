//! HTTPRoutes and GRPCRoutes of a Service: which rule, where to, and what is changed on the way.

use super::*;

const SERVICES: &str = "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80, name: web}, {port: 81, name: other}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: b}, spec: {ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: c}, spec: {ports: [{port: 80}]}}
";

/// A route of `a` in a namespace, with rules in flow style.
fn route(kind: &str, namespace: &str, name: &str, parent: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: a, namespace: default{parent}}}], rules: [{rules}]}}\n"
    )
}

fn documents(routes: &[String]) -> String {
    format!("{SERVICES}{}", routes.concat())
}

/// Which rule takes a request, as `document rule`.
fn taken(documents: &str, question: Value) -> String {
    let answer = answer(documents, question);
    let route = &answer["route"];
    match route["document"].as_str() {
        Some(document) => format!("{document} {}", route["rule"].as_str().unwrap_or_default()),
        None => answer["outcome"].as_str().unwrap_or_default().to_owned(),
    }
}

#[test]
fn prefixes_are_replaced_by_segments() {
    let check = |prefix: &str, replacement: &str, path: &str, expected: &str| {
        let modifier = format!("path: {{type: ReplacePrefixMatch, replacePrefixMatch: '{replacement}'}}");
        let matches = format!("matches: [{{path: {{value: {prefix}}}}}]");
        let rewrite = format!(
            "{{{matches}, filters: [{{type: URLRewrite, urlRewrite: {{{modifier}}}}}], backendRefs: [{{name: b, port: 80}}]}}"
        );
        let question = json!({"url": format!("http://a{path}")});
        let rewritten =
            answer(&documents(&[route("HTTPRoute", "default", "r", "", &rewrite)]), question.clone());
        assert_eq!(rewritten["upstream_request"]["path"], expected, "{prefix} {replacement} {path}");
        let redirect =
            format!("{{{matches}, filters: [{{type: RequestRedirect, requestRedirect: {{{modifier}}}}}]}}");
        let redirected = answer(&documents(&[route("HTTPRoute", "default", "r", "", &redirect)]), question);
        assert_eq!(
            redirected["redirect"]["location"],
            format!("http://a{expected}"),
            "{prefix} {replacement} {path}"
        );
    };
    // The specification's own table.
    check("/foo", "/xyz", "/foo/bar", "/xyz/bar");
    check("/foo", "/xyz/", "/foo/bar", "/xyz/bar");
    check("/foo/", "/xyz", "/foo/bar", "/xyz/bar");
    check("/foo/", "/xyz/", "/foo/bar", "/xyz/bar");
    check("/foo", "/xyz", "/foo", "/xyz");
    check("/foo", "/xyz", "/foo/", "/xyz/");
    check("/foo", "", "/foo/bar", "/bar");
    check("/foo", "", "/foo/", "/");
    check("/foo", "", "/foo", "/");
    check("/foo", "/", "/foo/", "/");
    check("/foo", "/", "/foo", "/");
    check("/", "/xyz", "/bar?q=1", "/xyz/bar?q=1");
    check("/", "/", "/bar", "/bar");
    check("/a.b", "/", "/a.b/c", "/c");
}

#[test]
fn rules_of_several_routes_are_tried_the_most_specific_first() {
    let to_b = "backendRefs: [{name: b, port: 80}]";
    let rule = |matching: &str| format!("{{matches: [{{{matching}}}], {to_b}}}");
    let first = [
        rule("path: {value: /}"),
        rule("path: {value: /a}, headers: [{name: x, value: y}]"),
        rule("path: {value: /a}, method: GET"),
    ];
    let second = [rule("path: {type: Exact, value: /a}, method: PUT"), rule("path: {value: /a/b}")];
    let documents = documents(&[
        route("HTTPRoute", "default", "first", "", &first.join(", ")),
        route("HTTPRoute", "default", "second", "", &second.join(", ")),
    ]);
    let check = |method: &str, path: &str, headers: Value, expected: &str| {
        let url = format!("http://a{path}");
        let question = json!({"method": method, "url": url, "headers": headers});
        assert_eq!(taken(&documents, question), format!("HTTPRoute/default/{expected}"), "{method} {path}");
    };
    check("GET", "/x", json!([]), "first rules[0]");
    check("GET", "/a", json!([["x", "y"]]), "first rules[2]");
    check("POST", "/a", json!([["x", "y"]]), "first rules[1]");
    check("PUT", "/a", json!([["x", "y"]]), "second rules[0]");
    check("GET", "/a/b/c", json!([["x", "y"]]), "second rules[1]");
    check("GET", "/ab", json!([]), "first rules[0]");
}

#[test]
fn grpc_rules_are_tried_by_service_then_method_then_headers() {
    let to_b = "backendRefs: [{name: b, port: 80}]";
    let rule = |matching: &str| format!("{{matches: [{{{matching}}}], {to_b}}}");
    let rules = [
        rule("headers: [{name: x, value: y}, {name: z, value: y}]"),
        rule("method: {method: Get}"),
        rule("method: {service: shop.Cart}"),
        rule("method: {service: shop.Cart, method: Get}"),
        rule("method: {service: shop.Cart, method: Get}, headers: [{name: x, value: y}]"),
        rule("method: {type: RegularExpression, service: 'shop\\..+', method: 'P.t'}"),
    ];
    let documents = documents(&[
        route("GRPCRoute", "default", "calls", "", &rules.join(", ")),
        route("HTTPRoute", "default", "pages", "", &rule("path: {value: /pages}")),
    ]);
    let check = |path: &str, headers: Value, expected: &str| {
        let url = format!("http://a{path}");
        let question = json!({"method": "POST", "url": url, "headers": headers, "protocol": "grpc"});
        assert_eq!(taken(&documents, question), expected, "{path}");
    };
    check("/shop.Cart/Get", json!([]), "GRPCRoute/default/calls rules[3]");
    check("/shop.Cart/Get", json!([["x", "y"], ["z", "y"]]), "GRPCRoute/default/calls rules[4]");
    check("/shop.Cart/Put", json!([["x", "y"], ["z", "y"]]), "GRPCRoute/default/calls rules[2]");
    check("/shop.Stock/Put", json!([]), "GRPCRoute/default/calls rules[5]");
    check("/other.Cart/Get", json!([["x", "y"], ["z", "y"]]), "GRPCRoute/default/calls rules[1]");
    check("/other.Cart/Put", json!([["x", "y"], ["z", "y"]]), "GRPCRoute/default/calls rules[0]");
    check("/shopXCart/Other", json!([]), "no_route");
    check("/pages/1", json!([]), "HTTPRoute/default/pages rules[0]");
}

#[test]
fn a_share_that_has_nowhere_to_go_is_500_and_grpcs_unavailable() {
    let lost = "{backendRefs: [{name: lost, port: 80}]}";
    for rule in [lost, "{backendRefs: [{name: b, port: 80, weight: 0}]}", "{matches: [{}]}"] {
        let http = documents(&[route("HTTPRoute", "default", "r", "", rule)]);
        check(&http, json!({"url": "http://a/"}), &[("/status", json!(500))]);
        let grpc = documents(&[route("GRPCRoute", "default", "r", "", rule)]);
        let question = json!({"method": "POST", "url": "http://a/s/M", "protocol": "grpc"});
        check(&grpc, question, &[("/status", json!(200)), ("/grpc_status", json!(14))]);
    }
    let none = documents(&[route("HTTPRoute", "default", "r", "", "")]);
    check(&none.replace(", rules: []", ""), json!({"url": "http://a/"}), &[("/status", json!(500))]);
}

#[test]
fn the_callers_own_route_replaces_the_owners() {
    let to = |name: &str| format!("{{backendRefs: [{{name: {name}, namespace: default, port: 80}}]}}");
    let documents = documents(&[
        route("HTTPRoute", "default", "producer", "", &to("b")),
        route("HTTPRoute", "web", "consumer", "", &to("a")),
    ]);
    let check = |namespace: &str, expected: &str| {
        let question = json!({"url": "http://a.default/", "from": {"namespace": namespace}});
        assert_eq!(taken(&documents, question), format!("HTTPRoute/{expected} rules[0]"), "{namespace}");
    };
    check("default", "default/producer");
    check("other", "default/producer");
    check("web", "web/consumer");
}

#[test]
fn a_parents_port_is_meant_by_number_or_by_name() {
    let to_b = "{backendRefs: [{name: b, port: 80}]}";
    let check = |parent: &str, port: u16, expected: &str| {
        let documents = documents(&[route("HTTPRoute", "default", "r", parent, to_b)]);
        let question = json!({"url": format!("http://a:{port}/")});
        assert_eq!(answer(&documents, question)["destinations"][0]["host"], expected, "{parent} {port}");
    };
    let [a, b] = ["a", "b"].map(|name| format!("{name}.default.svc.cluster.local"));
    check("", 81, &b);
    check(", port: 80", 80, &b);
    check(", port: 80", 81, &a);
    check(", sectionName: other", 81, &b);
    check(", sectionName: other", 80, &a);
    check(", sectionName: other, port: 80", 80, &a);
}

#[test]
fn timeouts_and_filters_are_told() {
    let rule = "{timeouts: {request: 2s, backendRequest: 500ms}, \
                filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-a, value: 50%}]}}], \
                backendRefs: [{name: b, port: 80, filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-b, value: c}]}}]}]}";
    check(
        &documents(&[route("HTTPRoute", "default", "r", "", rule)]),
        json!({"url": "http://a/"}),
        &[
            ("/timeout", json!("2s")),
            ("/retries/per_try_timeout", json!("500ms")),
            ("/response_headers/set", json!([["x-a", "50%"]])),
            ("/response_headers/add", json!([["x-b", "c"]])),
        ],
    );
}

/// A rule for which `c` is asked.
fn asking(auth: &str, backend: &str) -> String {
    let filter = format!("{{type: ExternalAuth, externalAuth: {{{auth}, backendRef: {{{backend}}}}}}}");
    let rule = format!("{{filters: [{filter}], backendRefs: [{{name: b, port: 80}}]}}");
    documents(&[route("HTTPRoute", "default", "r", "", &rule)])
}

#[test]
fn who_authorizes_is_said_and_what_it_answers_is_not_known() {
    let url = json!({"url": "http://a/x"});
    let asked = answer(&asking("protocol: HTTP, http: {path: check}", "name: c, port: 80"), url.clone());
    let service = json!({"host": "c.default.svc.cluster.local", "port": 80, "protocol": "http"});
    assert_eq!((&asked["outcome"], &asked["external_auth"]), (&json!("forward"), &service));
    assert_eq!(asked["upstream_request"]["path"], "/x", "the path that is asked is not the one that is sent");
    let warning = asked["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("what c.default.svc.cluster.local:80 answers is not known"), "{warning}");
    let text = render(&serde_json::from_value(asked).expect("a decision"));
    assert!(text.contains("c.default.svc.cluster.local:80  http"), "{text}");
    assert!(text.contains("c.default.svc.cluster.local:80 is asked (http)"), "{text}");

    let unasked = answer(&documents(&[]), url.clone());
    assert_eq!(unasked["external_auth"], Value::Null);
    let nobody = answer(&asking("protocol: GRPC", "name: nobody, port: 80"), url.clone());
    let seen = ["outcome", "status", "response_flags"].map(|key| nobody[key].clone());
    assert_eq!(seen, [json!("no_cluster"), json!(403), json!("UAEX")]);
    assert_eq!(nobody["external_auth"]["protocol"], "grpc");
    let foreign = answer(&asking("protocol: GRPC", "name: c, port: 80, namespace: other"), url);
    assert_eq!(foreign["status"], 403, "what no grant gives is nobody");
}
