//! AuthorizationPolicies as RBAC: the one place where a policy becomes matchers.
//!
//! Every matcher is anchored, and every text from a document that goes into an expression is quoted, because one that is
//! not lets in whoever guesses the hole. Empty lists ask for nothing, as in the documents.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::config::rbac::v3::principal::Authenticated;
use envoy_types::pb::envoy::config::rbac::v3::rbac::Action as WireAction;
use envoy_types::pb::envoy::config::rbac::v3::{Permission, Policy, Principal, Rbac, permission, principal};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac as Filter;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, StringMatcher, path_matcher};

use super::encode::{self, PLAIN, RBAC};
use super::{listener, matcher};
use crate::document::{Action, AuthorizationPolicy, Operation, PolicySource, Rule};
use crate::model::Declared;

/// The filters for these policies: DENY before ALLOW, either only where there is a policy of it.
pub(super) fn filters(
    policies: &[&Declared<AuthorizationPolicy>],
    trust_domains: &[&str],
) -> Vec<HttpFilter> {
    let of = |action: Action| -> Vec<_> {
        policies.iter().filter(|policy| policy.spec.action == action).collect()
    };
    let deny = of(Action::Deny);
    let allow = of(Action::Allow);
    let rules = |policies: &[&&Declared<AuthorizationPolicy>], action: WireAction| {
        let rules = policies.iter().flat_map(|policy| keyed(policy, trust_domains)).collect();
        let config = Filter {
            rules: Some(Rbac { action: action.into(), policies: rules, ..Rbac::default() }),
            ..Filter::default()
        };
        listener::filter("envoy.filters.http.rbac", encode::pack(&config, &RBAC))
    };
    let mut filters = Vec::new();
    if !deny.is_empty() {
        filters.push(rules(&deny, WireAction::Deny));
    }
    if !allow.is_empty() {
        filters.push(rules(&allow, WireAction::Allow));
    }
    filters
}

/// The key of a rule, which names document and rule.
pub(super) fn key(policy: &Declared<AuthorizationPolicy>, index: usize) -> String {
    format!("{} rules[{index}]", policy.id)
}

fn keyed(policy: &Declared<AuthorizationPolicy>, trust_domains: &[&str]) -> HashMap<String, Policy> {
    let rules = policy.spec.rules.iter().enumerate();
    let mut keyed: HashMap<String, Policy> =
        rules.map(|(index, rule)| (key(policy, index), rule_policy(rule, trust_domains))).collect();
    if keyed.is_empty() && policy.spec.action == Action::Allow {
        // `{}` lets nobody in: a rule that never matches, so that the filter is there.
        let never = Policy {
            permissions: vec![not_permission(any_permission())],
            principals: vec![not_principal(any_principal())],
            ..Policy::default()
        };
        keyed.insert(policy.id.to_string(), never);
    }
    keyed
}

fn rule_policy(rule: &Rule, trust_domains: &[&str]) -> Policy {
    let permissions: Vec<Permission> = rule.to.iter().map(operation).collect();
    let principals: Vec<Principal> = rule.from.iter().map(|from| source(from, trust_domains)).collect();
    // An empty `to` or `from` asks for nothing.
    Policy {
        permissions: if permissions.is_empty() { vec![any_permission()] } else { permissions },
        principals: if principals.is_empty() { vec![any_principal()] } else { principals },
        ..Policy::default()
    }
}

fn operation(operation: &Operation) -> Permission {
    let Operation { ports, not_ports, methods, not_methods, paths, not_paths, .. } = operation;
    let lists = [
        one_of(ports.iter().map(|port| permission::Rule::DestinationPort((*port).into()))),
        none_of(not_ports.iter().map(|port| permission::Rule::DestinationPort((*port).into()))),
        one_of(methods.iter().map(|text| method(text))),
        none_of(not_methods.iter().map(|text| method(text))),
        one_of(paths.iter().map(|text| path(text))),
        none_of(not_paths.iter().map(|text| path(text))),
    ];
    let rules: Vec<Permission> = lists.into_iter().flatten().collect();
    match rules.is_empty() {
        true => any_permission(),
        false => permission(permission::Rule::AndRules(permission::Set { rules })),
    }
}

fn method(text: &str) -> permission::Rule {
    permission::Rule::Header(HeaderMatcher {
        name: ":method".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(matcher::wildcard(text, ""))),
        ..HeaderMatcher::default()
    })
}

fn path(text: &str) -> permission::Rule {
    if text.contains("{*}") || text.contains("{**}") {
        // Envoy writes the operators without braces.
        let path_template = text.replace("{*}", "*").replace("{**}", "**");
        let config = UriTemplateMatchConfig { path_template };
        return permission::Rule::UriTemplate(TypedExtensionConfig {
            name: "envoy.path.match.uri_template.uri_template_matcher".to_owned(),
            typed_config: Some(encode::pack(&config, &PLAIN)),
        });
    }
    let matcher = matcher::wildcard(text, "");
    permission::Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(matcher)) })
}

fn source(source: &PolicySource, trust_domains: &[&str]) -> Principal {
    let PolicySource { principals, not_principals, namespaces, not_namespaces, .. } = source;
    let identities = |texts: &[String]| -> Vec<principal::Identifier> {
        texts
            .iter()
            .flat_map(|text| aliases(text, trust_domains))
            .map(|text| authenticated(identity(&text)))
            .collect()
    };
    let spaces = |texts: &[String]| -> Vec<principal::Identifier> {
        texts.iter().map(|text| authenticated(namespace(text))).collect()
    };
    let lists = [
        one_id_of(identities(principals)),
        no_id_of(identities(not_principals)),
        one_id_of(spaces(namespaces)),
        no_id_of(spaces(not_namespaces)),
    ];
    let ids: Vec<Principal> = lists.into_iter().flatten().collect();
    match ids.is_empty() {
        true => any_principal(),
        false => principal(principal::Identifier::AndIds(principal::Set { ids })),
    }
}

/// A principal in every trust domain that counts as ours, if it is of one of them.
fn aliases(text: &str, trust_domains: &[&str]) -> Vec<String> {
    let of_ours = text.split_once('/').filter(|(domain, _)| trust_domains.contains(domain));
    match of_ours {
        Some((_, rest)) => trust_domains.iter().map(|domain| format!("{domain}/{rest}")).collect(),
        None => vec![text.to_owned()],
    }
}

/// Principals are written without the scheme that SPIFFE IDs have.
fn identity(text: &str) -> Option<StringMatcher> {
    // `*`: any identity, as long as there is one.
    (text != "*").then(|| matcher::wildcard(text, "spiffe://"))
}

fn namespace(text: &str) -> Option<StringMatcher> {
    let inner = match (text.strip_prefix('*'), text.strip_suffix('*')) {
        _ if text == "*" => "[^/]+".to_owned(),
        (Some(suffix), _) => format!("[^/]*{}", quoted(suffix)),
        (_, Some(prefix)) => format!("{}[^/]*", quoted(prefix)),
        _ => quoted(text),
    };
    let regex = matcher::expression(&format!(".*/ns/{inner}/.*"));
    Some(StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex)), ..StringMatcher::default() })
}

/// Text that an expression takes literally.
fn quoted(text: &str) -> String {
    regex_syntax::escape(text)
}

fn authenticated(name: Option<StringMatcher>) -> principal::Identifier {
    principal::Identifier::Authenticated(Authenticated { principal_name: name })
}

fn one_of(rules: impl Iterator<Item = permission::Rule>) -> Option<Permission> {
    let rules: Vec<Permission> = rules.map(permission).collect();
    (!rules.is_empty()).then(|| permission(permission::Rule::OrRules(permission::Set { rules })))
}

fn none_of(rules: impl Iterator<Item = permission::Rule>) -> Option<Permission> {
    one_of(rules).map(not_permission)
}

fn one_id_of(ids: Vec<principal::Identifier>) -> Option<Principal> {
    let ids: Vec<Principal> = ids.into_iter().map(principal).collect();
    (!ids.is_empty()).then(|| principal(principal::Identifier::OrIds(principal::Set { ids })))
}

fn no_id_of(ids: Vec<principal::Identifier>) -> Option<Principal> {
    one_id_of(ids).map(not_principal)
}

fn permission(rule: permission::Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn principal(identifier: principal::Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

fn any_permission() -> Permission {
    permission(permission::Rule::Any(true))
}

fn any_principal() -> Principal {
    principal(principal::Identifier::Any(true))
}

fn not_permission(inner: Permission) -> Permission {
    permission(permission::Rule::NotRule(Box::new(inner)))
}

fn not_principal(inner: Principal) -> Principal {
    principal(principal::Identifier::NotId(Box::new(inner)))
}
