//! Policies: a bad one is refused, and nothing in one is ever dropped.

use super::*;

#[track_caller]
fn policy(spec: &str, wanted: &[(Code, &str)]) {
    check(&document("security.istio.io/v1", "AuthorizationPolicy", spec), wanted);
}

#[test]
fn authorization_policies() {
    policy("{}", &[]);
    policy("{rules: [{}]}", &[]);
    policy("{action: DENY, rules: [{from: [{source: {notPrincipals: ['*'], namespaces: [a]}}]}]}", &[]);
    policy(
        "{rules: [{to: [{operation: {methods: [GET], paths: ['/a/{*}/b/{**}', '/x*'], ports: ['80']}}]}]}",
        &[],
    );
    policy("{action: DENY}", &[(Code::MissingField, "rules")]);
    policy("{action: REFUSE}", &[(Code::InvalidValue, "action")]);
    policy("{action: AUDIT, rules: [{}]}", &[(Code::UnsupportedField, "action")]);
    policy(
        "{action: CUSTOM, provider: {name: x}, rules: [{}]}",
        &[(Code::UnsupportedField, "action"), (Code::UnsupportedField, "provider")],
    );
    policy("{rules: [{from: []}]}", &[(Code::InvalidValue, "rules[0].from")]);
    policy("{rules: [{from: [{}]}]}", &[(Code::MissingField, "rules[0].from[0].source")]);
    policy("{rules: [{from: [{source: {}}]}]}", &[(Code::MissingField, "rules[0].from[0].source")]);
    policy(
        "{rules: [{from: [{source: {principals: ['']}}]}]}",
        &[(Code::InvalidValue, "rules[0].from[0].source.principals[0]")],
    );
    policy(
        "{rules: [{to: [{operation: {ports: ['x']}}]}]}",
        &[(Code::InvalidValue, "rules[0].to[0].operation.ports[0]")],
    );
    policy(
        "{rules: [{to: [{operation: {hosts: [a]}}]}]}",
        &[(Code::UnsupportedField, "rules[0].to[0].operation.hosts")],
    );
    policy(
        "{rules: [{when: [{key: source.ip, values: [10.0.0.0/8]}]}]}",
        &[(Code::UnsupportedField, "rules[0].when")],
    );
    policy(
        "{targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: g}]}",
        &[(Code::UnsupportedField, "targetRefs")],
    );
}

#[test]
fn path_templates() {
    for good in ["/a", "/a/{*}", "/{**}", "/{*}/a/{**}", "/a/{**}/b", "*", "/a*", "*/a"] {
        policy(&format!("{{rules: [{{to: [{{operation: {{paths: ['{good}']}}}}]}}]}}"), &[]);
    }
    for bad in ["/{a}", "/a{*}", "/{**}/{*}", "/{**}/{**}", "/{*}//a", "/a}", "/{*}/*"] {
        policy(
            &format!("{{rules: [{{to: [{{operation: {{paths: ['{bad}']}}}}]}}]}}"),
            &[(Code::InvalidValue, "rules[0].to[0].operation.paths[0]")],
        );
    }
}

#[test]
fn dry_runs_are_refused_and_not_enforced() {
    for (value, code) in
        [("'true'", Some(Code::UnsupportedField)), ("'false'", None), ("maybe", Some(Code::InvalidValue))]
    {
        let text = document("security.istio.io/v1", "AuthorizationPolicy", "{}")
            .replace("{name: a}", &format!("{{name: a, annotations: {{istio.io/dry-run: {value}}}}}"));
        assert_eq!(found(&text).first().map(|(code, _)| *code), code, "{value}");
    }
}

#[test]
fn peer_authentications() {
    let row = |spec: &str, wanted: &[(Code, &str)]| {
        check(&document("security.istio.io/v1beta1", "PeerAuthentication", spec), wanted);
    };
    row("{}", &[]);
    row("{mtls: {mode: STRICT}}", &[]);
    row("{selector: {matchLabels: {app: a}}, portLevelMtls: {'8080': {mode: DISABLE}}}", &[]);
    row("{selector: {matchLabels: {app: a}}, portLevelMtls: {8080: {mode: DISABLE}}}", &[]);
    row("{selector: {}}", &[(Code::Suspicious, "selector")]);
    row("{mtls: {mode: LOOSE}}", &[(Code::InvalidValue, "mtls.mode")]);
    row("{portLevelMtls: {'80': {}}}", &[(Code::Conflict, "portLevelMtls")]);
    row(
        "{selector: {matchLabels: {app: a}}, portLevelMtls: {x: {}}}",
        &[(Code::InvalidValue, "portLevelMtls[x]")],
    );
    row("{selector: {matchLabels: {app: '*'}}}", &[(Code::InvalidValue, "selector.matchLabels[app]")]);
}
