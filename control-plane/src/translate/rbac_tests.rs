//! Policies all the way round: document, RBAC bytes, the data path's own parser and engine.

use std::net::IpAddr;

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
    /// By which host it calls.
    host: &'static str,
    /// Its headers.
    headers: &'static [(&'static str, &'static str)],
    ip: Option<[u8; 4]>,
    server_name: &'static str,
}

const WEB: Asked = Asked {
    principal: Some("cluster.local/ns/default/sa/web"),
    method: "GET",
    path: "/x",
    port: 80,
    http: true,
    host: "a",
    headers: &[],
    ip: Some([10, 0, 0, 7]),
    server_name: "outbound_.80_._.a",
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
    let mut headers = HeaderMap::new();
    for (name, value) in asked.headers {
        headers.append(*name, value.parse().expect("a value"));
    }
    let http = InboundHttp { method: &method, authority: asked.host, path, headers: &headers };
    let facts = InboundFacts {
        principal: asked.principal,
        source_ip: asked.ip.map(IpAddr::from),
        destination_ip: Some(IpAddr::from([10, 0, 1, 9])),
        destination_port: asked.port,
        server_name: asked.server_name,
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
fn hosts_are_compared_whole_and_in_any_case() {
    let host = |host| Asked { host, ..WEB };
    check(&to("{hosts: [Shop.example]}"), host("shop.EXAMPLE"), true);
    check(&to("{hosts: [shop.example]}"), host("shop.example:80"), false);
    check(&to("{hosts: ['shop.example:*']}"), host("shop.example:80"), true);
    check(&to("{hosts: ['*.example']}"), host("a.Example"), true);
    check(&to("{notHosts: [shop.example]}"), host("SHOP.example"), false);
}

#[test]
fn accounts_and_trust_domains_are_parts_of_an_identity() {
    check(&from("{serviceAccounts: [web]}"), WEB, true);
    check(&from("{serviceAccounts: [web]}"), by("cluster.local/ns/other/sa/web"), false);
    check(&from("{serviceAccounts: [other/web]}"), by("any.domain/ns/other/sa/web"), true);
    check(&from("{serviceAccounts: [web]}"), by("cluster.local/ns/default/sa/webs"), false);
    check(&from("{serviceAccounts: [web]}"), by("cluster.local/x/ns/default/sa/web"), false);
    check(&from("{notServiceAccounts: [web]}"), WEB, false);
    check(&from("{notServiceAccounts: [web]}"), Asked { principal: None, ..WEB }, true);
    check(&from("{trustDomains: [cluster.local]}"), WEB, true);
    check(&from("{trustDomains: ['cluster.*']}"), WEB, true);
    check(&from("{trustDomains: ['*.local']}"), WEB, true);
    check(&from("{trustDomains: [local]}"), WEB, false);
    check(&from("{trustDomains: [cluster]}"), WEB, false);
    check(&from("{notTrustDomains: [other]}"), WEB, true);
}

#[test]
fn addresses_are_ranges() {
    check(&from("{ipBlocks: [10.0.0.7]}"), WEB, true);
    check(&from("{ipBlocks: [10.0.0.0/24, 11.0.0.0/8]}"), WEB, true);
    check(&from("{ipBlocks: [10.0.1.0/24]}"), WEB, false);
    check(&from("{notIpBlocks: [10.0.0.0/8]}"), WEB, false);
    // Whose address is not known is let in by nobody, and refused by who excludes some.
    check(&from("{notIpBlocks: [10.0.0.0/8]}"), Asked { ip: None, ..WEB }, false);
}

fn when(key: &str, values: &str) -> String {
    format!("{{rules: [{{when: [{{key: '{key}', {values}}}]}}]}}")
}

#[test]
fn conditions_hold_beside_sources_and_operations() {
    check(&when("source.principal", "values: ['*/sa/web']"), WEB, true);
    check(&when("source.namespace", "notValues: [default]"), WEB, false);
    check(&when("source.serviceAccount", "values: [default/web]"), WEB, true);
    check(&when("source.trustDomain", "values: [cluster.local]"), WEB, true);
    check(&when("source.ip", "values: [10.0.0.0/8], notValues: [10.0.0.7]"), WEB, false);
    check(&when("destination.ip", "values: [10.0.1.9]"), WEB, true);
    check(&when("destination.port", "values: ['81']"), WEB, false);
    check(&when("connection.sni", "values: ['outbound_.80_*']"), WEB, true);
    check(&when("connection.sni", "values: ['*']"), Asked { server_name: "", ..WEB }, false);
    let both = "{rules: [{to: [{operation: {methods: [GET]}}, {operation: {methods: [PUT]}}], \
                when: [{key: destination.port, values: ['80']}]}]}";
    check(both, WEB, true);
    check(both, Asked { port: 81, ..WEB }, false);
    check(both, Asked { method: "POST", ..WEB }, false);
}

#[test]
fn a_repeated_header_talks_nobody_round() {
    let headers = |headers| Asked { headers, ..WEB };
    let role = when("request.headers[X-Role]", "values: [admin, 'op*']");
    check(&role, headers(&[("x-role", "admin")]), true);
    check(&role, headers(&[("x-role", "operator")]), true);
    check(&role, headers(&[("x-role", "guest")]), false);
    check(&role, WEB, false);
    check(&role, headers(&[("x-role", "admin"), ("x-role", "guest")]), false);
    check(&role, headers(&[("x-role", "guest"), ("x-role", "admin")]), false);
    let deny = "{action: DENY, rules: [{when: [{key: 'request.headers[x-role]', values: [guest]}]}]}";
    check(deny, headers(&[("x-role", "admin")]), true);
    check(deny, headers(&[("x-role", "admin"), ("x-role", "guest")]), false);
    check(deny, headers(&[("x-role", "guest"), ("x-role", "admin")]), false);
    let unless = "{action: DENY, rules: [{when: [{key: 'request.headers[x-role]', notValues: [admin]}]}]}";
    check(unless, WEB, false);
    check(unless, headers(&[("x-role", "admin")]), true);
    check(unless, headers(&[("x-role", "admin"), ("x-role", "guest")]), false);
    check(&when("request.headers[x-role]", "values: ['*']"), headers(&[("x-role", "")]), false);
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
