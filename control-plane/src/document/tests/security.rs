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
    policy("{rules: [{to: [{operation: {hosts: ['a*'], notHosts: [ab]}}]}]}", &[]);
    policy("{rules: [{from: [{source: {ipBlocks: [10.0.0.0/8], trustDomains: [a]}}]}]}", &[]);
    policy(
        "{rules: [{from: [{source: {ipBlocks: [10.0.0.0/33], serviceAccounts: ['a*'], remoteIpBlocks: [10.0.0.1]}}]}]}",
        &[
            (Code::InvalidValue, "rules[0].from[0].source.ipBlocks[0]"),
            (Code::InvalidValue, "rules[0].from[0].source.serviceAccounts[0]"),
            (Code::UnsupportedField, "rules[0].from[0].source.remoteIpBlocks"),
        ],
    );
    let when = |condition: &str, wanted: &[(Code, &str)]| {
        policy(&format!("{{rules: [{{when: [{condition}]}}]}}"), wanted);
    };
    when("{key: source.ip, values: [10.0.0.0/8]}", &[]);
    when("{key: 'request.headers[x-role]', values: [a], notValues: ['b*']}", &[]);
    when("{key: source.ip, values: [a]}", &[(Code::InvalidValue, "rules[0].when[0].values[0]")]);
    when("{key: destination.port, values: ['0']}", &[(Code::InvalidValue, "rules[0].when[0].values[0]")]);
    when("{key: 'request.headers[:path]', values: [a]}", &[(Code::InvalidValue, "rules[0].when[0].key")]);
    when("{key: 'request.headers[]', values: [a]}", &[(Code::InvalidValue, "rules[0].when[0].key")]);
    when("{key: source.colour, values: [a]}", &[(Code::InvalidValue, "rules[0].when[0].key")]);
    when("{key: source.principal}", &[(Code::MissingField, "rules[0].when[0]")]);
    for later in ["remote.ip, values: [10.0.0.1]", "request.auth.principal, values: [a]"] {
        when(&format!("{{key: {later}}}"), &[(Code::UnsupportedField, "rules[0].when[0].key")]);
    }
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
