//! Policies all the way round: document, RBAC bytes, the data path's own parser and engine.

use http::{HeaderMap, Method, Uri};
use mesh_core::authz::{InboundFacts, InboundHttp};
use mesh_core::canonical::{PathNormalization, canonicalize_uri};
use mesh_core::resource::{Resource, ResourceType, parse};
use mesh_core::trace::NoTrace;

use crate::document::{DocumentSet, Source, Verdict};
use crate::model::{Caller, Config, World};

/// What is asked, if nothing else is said: `GET /x` on port 80 by `default/web`.
#[derive(Clone, Copy)]
struct Asked {
    principal: Option<&'static str>,
    method: &'static str,
    path: &'static str,
    port: u16,
    http: bool,
}

const WEB: Asked = Asked {
    principal: Some("cluster.local/ns/default/sa/web"),
    method: "GET",
    path: "/x",
    port: 80,
    http: true,
};

fn by(principal: &'static str) -> Asked {
    Asked { principal: Some(principal), ..WEB }
}

/// Whether a server whose only policy has this spec lets the request in.
#[track_caller]
fn check(spec: &str, asked: Asked, allowed: bool) {
    let settings = "{apiVersion: proxyless.mesh/v1alpha1, kind: MeshSettings, metadata: {name: mesh}, \
                    spec: {trustDomainAliases: [old.domain]}}";
    let text = format!(
        "{settings}\n---\n{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: p}}, spec: {spec}}}"
    );
    let reading = DocumentSet::read(&[Source::file("policy.yaml", text)]);
    assert!(reading.verdict() <= Verdict::Warning, "{:?}", reading.reports);
    let world = World::offline(std::sync::Arc::new(Config::new(&reading.documents)));
    let caller = Caller { namespace: "default".into(), ..Caller::default() };
    let name = format!("inbound/0.0.0.0:{}", asked.port);
    let message =
        super::translate(&world, &caller, ResourceType::Listener, &name).message.expect("a listener");
    let Ok(Resource::Inbound(listener)) = parse(ResourceType::Listener, &message.value) else {
        panic!("clients refuse the listener of {spec}");
    };
    let mut uri: Uri = asked.path.parse().expect("a path");
    let method: Method = asked.method.parse().expect("a method");
    let path = canonicalize_uri(&mut uri, PathNormalization::Base).expect("a canonical path");
    let headers = HeaderMap::new();
    let http = InboundHttp { method: &method, authority: "a", path, headers: &headers };
    let facts = InboundFacts {
        principal: asked.principal,
        source_ip: None,
        destination_port: asked.port,
        http: asked.http.then_some(http),
    };
    assert_eq!(listener.policy.decide(&facts, &mut NoTrace).allowed, allowed, "{spec}");
}

fn from(source: &str) -> String {
    format!("{{rules: [{{from: [{{source: {source}}}]}}]}}")
}

fn to(operation: &str) -> String {
    format!("{{rules: [{{to: [{{operation: {operation}}}]}}]}}")
}

#[test]
fn principals_are_whole_or_one_wildcard() {
    let whole = from("{principals: [cluster.local/ns/default/sa/web]}");
    check(&whole, WEB, true);
    check(&whole, by("cluster.local/ns/default/sa/webs"), false);
    check(&whole, by("evil/cluster.local/ns/default/sa/web"), false);
    check(&whole, by("old.domain/ns/default/sa/web"), true);
    check(&whole, by("other.domain/ns/default/sa/web"), false);
    check(&whole, Asked { principal: None, ..WEB }, false);
    check(&from("{principals: ['cluster.local/ns/default/*']}"), WEB, true);
    check(
        &from("{principals: ['cluster.local/ns/default/*']}"),
        by("x/cluster.local/ns/default/sa/web"),
        false,
    );
    check(&from("{principals: ['*/sa/web']}"), WEB, true);
    check(&from("{principals: ['*/sa/we']}"), WEB, false);
    check(&from("{principals: ['*']}"), WEB, true);
    check(&from("{principals: ['*']}"), Asked { principal: None, ..WEB }, false);
}

#[test]
fn namespaces_are_quoted_and_anchored() {
    check(&from("{namespaces: [default]}"), WEB, true);
    check(&from("{namespaces: [default]}"), by("cluster.local/ns/default2/sa/web"), false);
    check(&from("{namespaces: [default]}"), by("cluster.local/ns/my-default/sa/web"), false);
    check(&from("{namespaces: ['def*']}"), WEB, true);
    check(&from("{namespaces: ['*ult']}"), WEB, true);
    // A dot is a dot.
    check(&from("{namespaces: ['d.fault']}"), WEB, false);
    check(&from("{namespaces: [default]}"), Asked { principal: None, ..WEB }, false);
    check(&from("{notNamespaces: [default]}"), WEB, false);
    check(&from("{notNamespaces: [default]}"), by("cluster.local/ns/other/sa/web"), true);
}

#[test]
fn operations_match_path_method_and_workload_port() {
    check(&to("{paths: [/x]}"), WEB, true);
    check(&to("{paths: [/x]}"), Asked { path: "/x?q=1", ..WEB }, true);
    check(&to("{paths: [/x]}"), Asked { path: "/x/", ..WEB }, false);
    check(&to("{paths: ['/x*']}"), Asked { path: "/xyz", ..WEB }, true);
    check(&to("{paths: ['*.js']}"), Asked { path: "/a.js", ..WEB }, true);
    check(&to("{paths: ['/a/{*}/c']}"), Asked { path: "/a/b/c", ..WEB }, true);
    check(&to("{paths: ['/a/{*}/c']}"), Asked { path: "/a/b/b/c", ..WEB }, false);
    check(&to("{paths: ['/a/{**}']}"), Asked { path: "/a/b/b/c", ..WEB }, true);
    check(&to("{methods: [GET]}"), WEB, true);
    check(&to("{methods: [POST]}"), WEB, false);
    check(&to("{notMethods: [GET]}"), WEB, false);
    check(&to("{ports: ['80']}"), WEB, true);
    check(&to("{ports: ['81']}"), WEB, false);
    check(&to("{notPorts: ['80']}"), WEB, false);
    check(&to("{paths: [/x], methods: [POST]}"), WEB, false);
}

#[test]
fn empty_policies_mean_what_istio_says() {
    check("{}", WEB, false);
    check("{rules: [{}]}", WEB, true);
    check("{action: DENY, rules: [{}]}", WEB, false);
}

#[test]
fn what_cannot_be_told_lets_nobody_in() {
    let bytes = Asked { http: false, ..WEB };
    check(&to("{paths: [/x]}"), bytes, false);
    check("{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}", bytes, false);
    check("{action: DENY, rules: [{to: [{operation: {paths: [/admin]}}]}]}", WEB, true);
    check("{action: DENY, rules: [{from: [{source: {notPrincipals: ['*']}}]}]}", WEB, true);
    check(
        "{action: DENY, rules: [{from: [{source: {notPrincipals: ['*']}}]}]}",
        Asked { principal: None, ..WEB },
        false,
    );
}
