//! PeerAuthentication and AuthorizationPolicy: who is let in.

use super::ask::{Ask, get};
use super::case::{Case, case, document};
use super::fleet::Caller;

pub(super) fn peer_authentications() -> Vec<Case> {
    let row = |field: &str, spec: &str| {
        case(field, document("PeerAuthentication", spec), get("/").by(Caller::Stranger), "502", "one")
    };
    vec![
        row("selector.matchLabels", "selector: {matchLabels: {app: <<one -> two>>}}, mtls: {mode: STRICT}"),
        row("mtls.mode", "mtls: {mode: <<STRICT -> PERMISSIVE>>}"),
        row(
            "portLevelMtls{}.mode",
            "selector: {matchLabels: {app: one}}, portLevelMtls: {9080: {mode: <<STRICT -> PERMISSIVE>>}}",
        ),
    ]
}

pub(super) fn authorization_policies() -> Vec<Case> {
    let row = |field: &str, spec: &str, ask: Ask, base: &str, flipped: &str| {
        case(field, document("AuthorizationPolicy", spec), ask, base, flipped)
    };
    let source = |field: &str, part: &str, base: &str, flipped: &str| {
        let spec = format!("rules: [{{from: [{{source: {{{part}}}}}]}}]");
        row(&format!("rules[].from[].source.{field}"), &spec, get("/"), base, flipped)
    };
    let operation = |field: &str, part: &str, base: &str, flipped: &str| {
        let spec = format!("rules: [{{to: [{{operation: {{{part}}}}}]}}]");
        row(&format!("rules[].to[].operation.{field}"), &spec, get("/a"), base, flipped)
    };
    let when = |field: &str, condition: &str| {
        let spec = format!("rules: [{{when: [{{{condition}}}]}}]");
        row(&format!("rules[].when[].{field}"), &spec, get("/").header("role", "a"), "one", "403")
    };
    let selector = "selector: {matchLabels: {app: <<one -> two>>}}, action: DENY, rules: [{}]";
    let home = "cluster.local/ns/default/sa/<<home -> away>>";
    let away = "cluster.local/ns/default/sa/<<away -> home>>";
    vec![
        row("selector.matchLabels", selector, get("/"), "403", "one"),
        row("action", "action: <<DENY -> ALLOW>>, rules: [{}]", get("/"), "403", "one"),
        source("principals", &format!("principals: [{home}]"), "one", "403"),
        source("notPrincipals", &format!("notPrincipals: [{away}]"), "one", "403"),
        source("namespaces", "namespaces: [<<default -> far>>]", "one", "403"),
        source("notNamespaces", "notNamespaces: [<<far -> default>>]", "one", "403"),
        source("serviceAccounts", "serviceAccounts: [<<home -> away>>]", "one", "403"),
        source("notServiceAccounts", "notServiceAccounts: [<<away -> home>>]", "one", "403"),
        source("trustDomains", "trustDomains: [<<cluster.local -> other>>]", "one", "403"),
        source("notTrustDomains", "notTrustDomains: [<<other -> cluster.local>>]", "one", "403"),
        source("ipBlocks", "ipBlocks: [<<127.0.0.0/8 -> 10.0.0.0/8>>]", "one", "403"),
        source("notIpBlocks", "notIpBlocks: [<<10.0.0.0/8 -> 127.0.0.0/8>>]", "one", "403"),
        operation("hosts", "hosts: ['<<one* -> two*>>']", "one", "403"),
        operation("notHosts", "notHosts: ['<<two* -> one*>>']", "one", "403"),
        when("key", "key: 'request.headers[<<role -> rank>>]', values: [a]"),
        when("values", "key: 'request.headers[role]', values: [<<a -> b>>]"),
        when("notValues", "key: 'request.headers[role]', notValues: [<<b -> a>>]"),
        operation("ports", "ports: ['<<9080 -> 9090>>']", "one", "403"),
        operation("notPorts", "notPorts: ['<<9090 -> 9080>>']", "one", "403"),
        operation("methods", "methods: [<<GET -> POST>>]", "one", "403"),
        operation("notMethods", "notMethods: [<<POST -> GET>>]", "one", "403"),
        operation("paths", "paths: [<</a -> /b>>]", "one", "403"),
        operation("notPaths", "notPaths: [<</b -> /a>>]", "one", "403"),
    ]
}
