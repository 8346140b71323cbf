//! `tcp` and `tls` rules of VirtualServices: what each field takes.

use std::collections::BTreeSet;

use super::*;

#[track_caller]
fn spec(spec: &str, wanted: &[(Code, &str)]) {
    check(&document("networking.istio.io/v1", "VirtualService", spec), wanted);
}

/// Checks a document whose one `tcp` rule is this, with a route to `b` unless it has one.
#[track_caller]
fn tcp(rule: &str, wanted: &[(Code, &str)]) {
    let route = if rule.contains("route:") { "" } else { ", route: [{destination: {host: b}}]" };
    spec(&format!("{{hosts: [a], tcp: [{{{rule}{route}}}]}}"), wanted);
}

/// The same of a `tls` rule.
#[track_caller]
fn tls(matching: &str, wanted: &[(Code, &str)]) {
    spec(
        &format!(
            "{{hosts: [a.com, '*.b.com'], tls: [{{match: [{{{matching}}}], route: [{{destination: {{host: b}}}}]}}]}}"
        ),
        wanted,
    );
}

#[test]
fn tcp_rules() {
    tcp("match: [{port: 80, sourceLabels: {app: x}, sourceNamespace: n, gateways: [mesh]}, {port: 81}]", &[]);
    tcp(
        "route: [{destination: {host: b, subset: v1, port: {number: 7}}, weight: 9}, {destination: {host: c}, weight: 1}]",
        &[],
    );
    tcp("match: [{port: 0}]", &[(Code::InvalidValue, "tcp[0].match[0].port")]);
    tcp("match: [{sniHosts: [a]}]", &[(Code::UnknownField, "tcp[0].match[0].sniHosts")]);
    tcp("match: [{uri: {exact: /}}]", &[(Code::UnknownField, "tcp[0].match[0].uri")]);
    tcp("route: []", &[(Code::InvalidValue, "tcp[0].route")]);
    tcp(
        "route: [{destination: {host: b}}, {destination: {host: c}}]",
        &[(Code::InvalidValue, "tcp[0].route")],
    );
    tcp("route: [{destination: {host: b}, headers: {}}]", &[(Code::UnknownField, "tcp[0].route[0].headers")]);
    spec("{hosts: [a], tcp: [{}]}", &[(Code::MissingField, "tcp[0].route")]);
}

#[test]
fn subnets_are_refused_by_name() {
    let subnets = |field: &str| format!("match: [{{{field}: 10.0.0.0/8}}]");
    tcp(&subnets("sourceSubnet"), &[(Code::UnsupportedField, "tcp[0].match[0].sourceSubnet")]);
    tcp(
        "match: [{destinationSubnets: [10.0.0.0/8]}]",
        &[(Code::UnsupportedField, "tcp[0].match[0].destinationSubnets")],
    );
    tls(
        "sniHosts: [a.com], destinationSubnets: [10.0.0.0/8]",
        &[(Code::UnsupportedField, "tls[0].match[0].destinationSubnets")],
    );
    tcp("match: [{sourceSubnet: everywhere}]", &[(Code::InvalidValue, "tcp[0].match[0].sourceSubnet")]);
}

#[test]
fn tls_rules() {
    tls("sniHosts: [a.com, x.b.com, '*.b.com'], port: 443, sourceLabels: {app: x}", &[]);
    tls("port: 443", &[(Code::MissingField, "tls[0].match[0].sniHosts")]);
    tls("sniHosts: [c.com]", &[(Code::InvalidValue, "tls[0].match[0].sniHosts[0]")]);
    let route = "route: [{destination: {host: b}}]";
    spec(&format!("{{hosts: [a.com], tls: [{{{route}}}]}}"), &[(Code::MissingField, "tls[0].match")]);
    spec(
        &format!("{{hosts: [a.com], tls: [{{match: [], {route}}}]}}"),
        &[(Code::MissingField, "tls[0].match")],
    );
}

#[test]
fn one_document_routes_three_protocols() {
    let route = "route: [{destination: {host: b}}]";
    spec(
        &format!(
            "{{hosts: [a.com], http: [{{{route}}}], tcp: [{{{route}}}], tls: [{{match: [{{sniHosts: [a.com]}}], {route}}}]}}"
        ),
        &[],
    );
    spec(&format!("{{tcp: [{{{route}}}]}}"), &[(Code::Conflict, "tcp")]);
}

#[test]
fn rules_that_never_act_are_found() {
    let route = "route: [{destination: {host: b}}]";
    let rules = |protocol: &str, matches: &[&str]| {
        let rules: Vec<_> = matches.iter().map(|one| format!("{{{one}{route}}}")).collect();
        format!("{{hosts: [a.com, '*.b.com'], {protocol}: [{}]}}", rules.join(", "))
    };
    let never = |field| (Code::Suspicious, field);
    spec(&rules("tcp", &["", "match: [{port: 80}], ", ""]), &[never("tcp[1]"), never("tcp[2]")]);
    spec(&rules("tcp", &["match: [{port: 80}, {}], ", ""]), &[never("tcp[1]")]);
    spec(&rules("tcp", &["match: [{port: 80}], ", "match: [{gateways: [mesh]}], ", ""]), &[]);
    let by_name = "match: [{sniHosts: [a.com, x.b.com]}], ";
    spec(&rules("tls", &[by_name, "match: [{sniHosts: [a.com]}], "]), &[never("tls[1]")]);
    spec(&rules("tls", &[by_name, "match: [{sniHosts: [a.com, y.b.com]}], "]), &[]);
    // Which of two names decides is not for their order to say.
    spec(&rules("tls", &["match: [{sniHosts: ['*.b.com']}], ", by_name]), &[]);
    spec(&rules("tls", &["match: [{sniHosts: [a.com], port: 443}], ", by_name]), &[]);
}

#[test]
fn the_whole_set_shows_dangling_subsets_unknown_hosts_and_unseen_keys() {
    let find = |protocol: &str, known: &str| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {known}}}\nspec: {{ports: [{{port: 80}}]}}\n---\n\
             apiVersion: networking.istio.io/v1\nkind: VirtualService\n\
             metadata: {{name: a, annotations: {{proxyless.mesh/sticky: 'header:x'}}}}\nspec: {{hosts: [a.com], {protocol}}}\n"
        );
        let reading = read(&text);
        assert!(reading.verdict().accepts(), "{:?}", reading.reports);
        let found = check_whole(&reading.documents, &BTreeSet::new());
        found.into_iter().map(|whole| (whole.finding.code, whole.finding.field)).collect::<Vec<_>>()
    };
    let found = |code, field: &str| (code, field.to_owned());
    let dangling = "tcp: [{route: [{destination: {host: b, subset: v1}}]}]";
    assert_eq!(find(dangling, "b"), [found(Code::DanglingSubset, "spec.tcp[0].route[0].destination.subset")]);
    let unknown = "tls: [{match: [{sniHosts: [a.com]}], route: [{destination: {host: b}}]}]";
    assert_eq!(find(unknown, "c"), [found(Code::UnknownHost, "spec.tls[0].route[0].destination.host")]);
    let drawn = "tcp: [{route: [{destination: {host: b}, weight: 1}, {destination: {host: b}, weight: 1}]}]";
    assert_eq!(find(drawn, "b"), [found(Code::Suspicious, "spec.tcp[0]")]);
}
