use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatcher;
use mesh_core::resource::ResourceType;
use prost::Message;

use super::*;
use crate::document::{Code, DocumentSet, Source};
use crate::model::{Caller, ClientKind, Config, World};
use crate::translate::translate;

const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{port: 9080, name: http}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
";

fn documents(rules: &str) -> DocumentSet {
    let text = format!("{SERVICE}---\n{rules}");
    let reading = DocumentSet::read(&[Source::file("rules.yaml", text)]);
    let findings: Vec<_> = reading.reports.iter().flat_map(|report| &report.findings).collect();
    assert!(findings.is_empty(), "{findings:?}");
    reading.documents
}

fn world(documents: &DocumentSet) -> World {
    World::offline(Arc::new(Config::new(documents)))
}

fn client(kind: ClientKind, name: &str) -> ForeignClient {
    ForeignClient {
        identity: name.into(),
        caller: Caller { namespace: "default".into(), client: kind, ..Caller::default() },
        routes: vec!["reviews.default.svc.cluster.local:9080".into()],
    }
}

/// What gRPC and Envoy leave out of a VirtualService with these rules and annotations.
fn check(http: &str, annotations: &str, grpc: &[(&str, Effect)], envoy: &[(&str, Effect)]) {
    let documents = documents(&format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: reviews, annotations: {annotations}}}\n\
         spec: {{hosts: [reviews], http: {http}}}\n"
    ));
    let world = world(&documents);
    for (kind, expected) in
        [(ClientKind::Grpc, grpc), (ClientKind::Envoy { directory: None }, envoy), (ClientKind::Mesh, &[])]
    {
        let losses = client(kind.clone(), "a").losses(&world);
        let found: BTreeSet<_> = losses.iter().map(|loss| (loss.feature, loss.effect)).collect();
        assert_eq!(found, expected.iter().copied().collect(), "{kind:?}: {http}");
    }
}

#[test]
fn what_a_kind_does_not_know_is_found_in_what_it_is_sent() {
    let to = "route: [{destination: {host: reviews, subset: v1}, weight: 1}, {destination: {host: reviews, subset: v2}, weight: 1}]";
    let rule = |more: &str| format!("[{{{more}, {to}}}]");
    let ignored = |feature| [(feature, Effect::Ignored)];
    let sticky = ignored("the sticky choice (each request is drawn anew)");
    check(&rule("name: a"), "{proxyless.mesh/sticky: 'header:x-user'}", &sticky, &sticky);
    check(&rule("name: a"), "{}", &[], &[]);
    check(&rule("timeout: 1s, fault: {abort: {httpStatus: 503, percentage: {value: 1}}}"), "{}", &[], &[]);
    check(&rule("match: [{headers: {x: {prefix: a}}, uri: {exact: /a}}]"), "{}", &[], &[]);
    let query = [("matching by query parameters", Effect::RuleSkipped)];
    check(&rule("match: [{queryParams: {a: {exact: b}}}]"), "{}", &query, &[]);
    let absent = [("`withoutHeaders` where the header is absent", Effect::RuleSkipped)];
    check(&rule("match: [{withoutHeaders: {x: {exact: a}}}]"), "{}", &absent, &[]);
    check(&rule("match: [{withoutHeaders: {x: {}}}]"), "{}", &[], &[]);
    check(&rule("match: [{headers: {x: {}}, withoutHeaders: {x: {exact: a}}}]"), "{}", &[], &[]);
    check(&rule("headers: {request: {set: {x: y}}}"), "{}", &ignored("changes of headers"), &[]);
    check(&rule("rewrite: {uri: /b}"), "{}", &ignored("rewriting the path"), &[]);
    check(&rule("rewrite: {authority: b}"), "{}", &ignored("rewriting the authority"), &[]);
    let mirror =
        "[{route: [{destination: {host: reviews, subset: v1}}], mirror: {host: reviews, subset: v2}}]";
    check(mirror, "{}", &ignored("mirrors"), &[]);
    let retries = ignored("retries on other conditions than gRPC statuses");
    check(&rule("retries: {attempts: 2, retryOn: '5xx,unavailable'}"), "{}", &retries, &[]);
    check(&rule("retries: {attempts: 2, retryOn: unavailable}"), "{}", &[], &[]);
    let per_try = ignored("the timeout of each attempt");
    check(&rule("retries: {attempts: 2, retryOn: unavailable, perTryTimeout: 1s}"), "{}", &per_try, &[]);
    check("[{redirect: {uri: /b, authority: b}}]", "{}", &[("the redirect", Effect::CallsFail)], &[]);
    let direct = [("the direct response", Effect::CallsFail)];
    check("[{directResponse: {status: 200}}]", "{}", &direct, &[]);
    let by_destination =
        "[{route: [{destination: {host: reviews, subset: v1}, headers: {response: {remove: [x]}}}]}]";
    check(by_destination, "{}", &ignored("changes of headers by destination"), &[]);
}

#[test]
fn routes_say_to_others_what_their_destinations_are_hashed_by_and_grpc_knows_headers() {
    let check = |hash: &str, told: usize, lost: bool| {
        let rule = |name: &str, more: &str| {
            format!(
                "---\napiVersion: networking.istio.io/v1\nkind: {name}\nmetadata: {{name: hashed}}\nspec: {{{more}}}\n"
            )
        };
        let hashed = format!("trafficPolicy: {{loadBalancer: {{consistentHash: {{{hash}}}}}}}");
        let documents = documents(
            &(rule("DestinationRule", &format!("host: ratings, {hashed}, subsets: [{{name: v1}}]"))
                + &rule(
                    "VirtualService",
                    "hosts: [reviews], http: [{route: [{destination: {host: ratings}, weight: 1}, \
                     {destination: {host: ratings, subset: v1}, weight: 1}]}]",
                )
                + "---\napiVersion: v1\nkind: Service\nmetadata: {name: ratings}\nspec: {ports: [{port: 9080, name: http}]}\n"),
        );
        let world = world(&documents);
        for (kind, told) in [(ClientKind::Grpc, told), (ClientKind::Mesh, 0)] {
            let ForeignClient { caller, routes, .. } = client(kind, "a");
            let message = translate(&world, &caller, ResourceType::RouteConfiguration, &routes[0]).message;
            let routes = RouteConfiguration::decode(&*message.unwrap().value).unwrap();
            let Some(Action::Route(action)) = &routes.virtual_hosts[0].routes[0].action else {
                panic!("it routes")
            };
            assert_eq!(action.hash_policy.len(), told, "{hash}");
        }
        let losses = client(ClientKind::Grpc, "a").losses(&world);
        assert_eq!(losses.iter().any(|loss| loss.feature.contains("hashing")), lost, "{hash}");
        assert!(client(ClientKind::Envoy { directory: None }, "a").losses(&world).is_empty());
    };
    check("httpHeaderName: x-user", 1, false);
    check("httpCookie: {name: uid, ttl: 0s}", 1, true);
    check("httpQueryParameterName: user", 1, true);
    check("useSourceIp: true", 1, true);
    check("useSourceIp: true, maglev: {}", 1, true);
}

#[test]
fn grpc_gets_a_prefix_by_segments_as_an_expression_that_it_knows() {
    let documents = documents(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n\
         spec: {parentRefs: [{group: '', kind: Service, name: reviews}], rules: [{matches: [{path: {type: PathPrefix, value: /a.b}}], \
         backendRefs: [{name: reviews, port: 9080}]}]}\n",
    );
    let world = world(&documents);
    let path = |kind| {
        let ForeignClient { caller, routes, .. } = client(kind, "a");
        let message =
            translate(&world, &caller, ResourceType::RouteConfiguration, &routes[0]).message.unwrap();
        let routes = RouteConfiguration::decode(&*message.value).unwrap();
        routes.virtual_hosts[0].routes[0].r#match.clone().unwrap().path_specifier.unwrap()
    };
    assert!(client(ClientKind::Grpc, "a").losses(&world).is_empty());
    let regex = RegexMatcher { regex: "/a\\.b(?:/.*)?".to_owned(), ..RegexMatcher::default() };
    assert_eq!(path(ClientKind::Grpc), PathSpecifier::SafeRegex(regex));
    assert_eq!(path(ClientKind::Mesh), PathSpecifier::PathSeparatedPrefix("/a.b".to_owned()));
}

#[test]
fn who_cannot_have_a_service_asked_lets_nothing_pass() {
    let documents = documents(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: a}\n\
         spec: {parentRefs: [{group: '', kind: Service, name: reviews}], rules: [{backendRefs: [{name: reviews, port: 9080}], \
         filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: reviews, port: 9080}}}]}]}\n",
    );
    let world = world(&documents);
    let lost = |kind| {
        let losses = client(kind, "a").losses(&world).into_iter();
        losses.map(|loss| (loss.feature, loss.effect)).collect::<Vec<_>>()
    };
    assert_eq!(lost(ClientKind::Grpc), [("external authorization", Effect::RulesRefused)]);
    let envoy = ClientKind::Envoy { directory: None };
    assert_eq!(lost(envoy), [("external authorization", Effect::CallsFail)]);
    assert!(lost(ClientKind::Mesh).is_empty());
}

#[test]
fn a_change_names_each_client_once_at_the_rule_and_says_nothing_of_other_documents() {
    let documents = documents(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: reviews}\nspec:\n  hosts: [reviews]\n  http:\n\
         \x20 - match: [{uri: {exact: /a}}, {uri: {exact: /b}}]\n    rewrite: {uri: /c}\n    route: [{destination: {host: reviews}}]\n",
    );
    let world = world(&documents);
    let clients = ["b", "a"].map(|name| client(ClientKind::Grpc, name));
    let touched: BTreeSet<_> = documents.iter().map(|document| &document.key).collect();
    let found = findings(&world, &documents, &touched, &clients);
    let [found] = &found[..] else { panic!("{found:?}") };
    assert_eq!((found.finding.code, &*found.finding.field), (Code::ForeignClient, "spec.http[0]"));
    assert_eq!(found.finding.span.line, 17);
    let said = "gRPC does not know rewriting the path: it goes on as if it were not there (a, b)";
    assert_eq!(found.finding.message, said);
    assert!(findings(&world, &documents, &BTreeSet::new(), &clients).is_empty());
}
