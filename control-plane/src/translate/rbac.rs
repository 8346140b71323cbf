//! AuthorizationPolicies as RBAC: the one place where a policy becomes matchers.
//!
//! Every matcher is anchored, and every text from a document that goes into an expression is quoted, because one that is
//! not lets in whoever guesses the hole. Empty lists ask for nothing, as in the documents.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
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
use envoy_types::pb::google::protobuf::UInt32Value;

use super::encode::{self, PLAIN, RBAC};
use super::{listener, matcher};
use crate::document::{Action, Asked, AuthorizationPolicy, Rule, What, Who};
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
    let scope = Scope { trust_domains, namespace: &policy.namespace };
    let rules = policy.spec.rules.iter().enumerate();
    let mut keyed: HashMap<String, Policy> =
        rules.map(|(index, rule)| (key(policy, index), scope.rule(rule))).collect();
    if keyed.is_empty() && policy.spec.action == Action::Allow {
        // `{}` lets nobody in: a rule that never matches, so that the filter is there.
        let never = Policy {
            permissions: vec![Tree::not(Tree::any())],
            principals: vec![Tree::not(Tree::any())],
            ..Policy::default()
        };
        keyed.insert(policy.id.to_string(), never);
    }
    keyed
}

/// What names in a policy's rules are relative to.
#[derive(Clone, Copy)]
struct Scope<'a> {
    /// Ours, and what counts as ours.
    trust_domains: &'a [&'a str],
    /// The policy's.
    namespace: &'a str,
}

impl Scope<'_> {
    fn rule(self, rule: &Rule) -> Policy {
        let who = |asked: &Asked<Who>| held(asked, |fact, text| self.caller(fact, text));
        let what = |asked: &Asked<What>| held(asked, |fact, text| vec![call(*fact, text)]);
        Policy {
            permissions: vec![rule_of(&rule.to, &rule.when_what, what)],
            principals: vec![rule_of(&rule.from, &rule.when_who, who)],
            ..Policy::default()
        }
    }

    /// Whether a fact about the caller is `text`; several where the text means several.
    fn caller(self, fact: &Who, text: &str) -> Vec<Principal> {
        let identifier = match fact {
            Who::Principal => {
                let names = aliases(text, self.trust_domains).into_iter();
                return names.map(|name| principal(authenticated(identity(&name)))).collect();
            }
            Who::Namespace => authenticated(Some(expression(&format!(".*/ns/{}/.*", segment(text))))),
            Who::ServiceAccount => {
                let (namespace, account) = text.split_once('/').unwrap_or((self.namespace, text));
                let path = format!("/ns/{}/sa/{}", quoted(namespace), quoted(account));
                authenticated(Some(expression(&format!("spiffe://[^/]+{path}"))))
            }
            Who::TrustDomain => authenticated(Some(expression(&format!("spiffe://{}/.*", segment(text))))),
            Who::Address => principal::Identifier::DirectRemoteIp(range(text)),
            Who::Header(name) => principal::Identifier::Header(header(name, matcher::wildcard(text, ""))),
        };
        vec![principal(identifier)]
    }
}

/// Whether a fact about the call is `text`.
fn call(fact: What, text: &str) -> Permission {
    permission(match fact {
        What::Host => {
            let host = StringMatcher { ignore_case: true, ..matcher::wildcard(text, "") };
            permission::Rule::Header(header(":authority", host))
        }
        // Decoding has seen to it that it is a number.
        What::Port => permission::Rule::DestinationPort(text.parse().unwrap_or_default()),
        What::Method => permission::Rule::Header(header(":method", matcher::wildcard(text, ""))),
        What::Path => path(text),
        What::Address => permission::Rule::DestinationIp(range(text)),
        What::ServerName => permission::Rule::RequestedServerName(matcher::wildcard(text, "")),
    })
}

fn header(name: &str, value: StringMatcher) -> HeaderMatcher {
    HeaderMatcher {
        name: name.to_ascii_lowercase(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(value)),
        ..HeaderMatcher::default()
    }
}

/// An address, or `address/bits`, as decoding has checked.
fn range(text: &str) -> CidrRange {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let whole = if address.contains(':') { 128 } else { 32 };
    let value = bits.and_then(|bits| bits.parse().ok()).unwrap_or(whole);
    CidrRange { address_prefix: address.to_owned(), prefix_len: Some(UInt32Value { value }) }
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

/// A namespace or a trust domain, which ends at the next slash.
fn segment(text: &str) -> String {
    match (text.strip_prefix('*'), text.strip_suffix('*')) {
        _ if text == "*" => "[^/]+".to_owned(),
        (Some(suffix), _) => format!("[^/]*{}", quoted(suffix)),
        (_, Some(prefix)) => format!("{}[^/]*", quoted(prefix)),
        _ => quoted(text),
    }
}

fn expression(regex: &str) -> StringMatcher {
    let pattern = MatchPattern::SafeRegex(matcher::expression(regex));
    StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() }
}

/// Text that an expression takes literally.
fn quoted(text: &str) -> String {
    regex_syntax::escape(text)
}

fn authenticated(name: Option<StringMatcher>) -> principal::Identifier {
    principal::Identifier::Authenticated(Authenticated { principal_name: name })
}

fn permission(rule: permission::Rule) -> Permission {
    Permission { rule: Some(rule) }
}

fn principal(identifier: principal::Identifier) -> Principal {
    Principal { identifier: Some(identifier) }
}

/// One of `entries`, if there are any, and all conditions.
fn rule_of<F, T: Tree>(
    entries: &[Vec<Asked<F>>],
    when: &[Asked<F>],
    held: impl Fn(&Asked<F>) -> Vec<T>,
) -> T {
    let entries = entries.iter().map(|entry| all(entry.iter().flat_map(&held).collect())).collect();
    all(one(entries).into_iter().chain(when.iter().flat_map(&held)).collect())
}

/// What is asked of one fact: one of the values, none of those excluded.
fn held<F, T: Tree>(asked: &Asked<F>, is: impl Fn(&F, &str) -> Vec<T>) -> Vec<T> {
    let one_of = |texts: &[String]| one(texts.iter().flat_map(|text| is(&asked.fact, text)).collect());
    one_of(&asked.values).into_iter().chain(one_of(&asked.not_values).map(T::not)).collect()
}

/// All of them; of nothing, everything.
fn all<T: Tree>(parts: Vec<T>) -> T {
    if parts.is_empty() { T::any() } else { T::and(parts) }
}

/// One of them, if anything is asked for at all.
fn one<T: Tree>(parts: Vec<T>) -> Option<T> {
    (!parts.is_empty()).then(|| T::or(parts))
}

/// RBAC has its logic twice, for what is called and for who calls.
trait Tree: Sized {
    fn any() -> Self;
    fn and(parts: Vec<Self>) -> Self;
    fn or(parts: Vec<Self>) -> Self;
    fn not(part: Self) -> Self;
}

impl Tree for Permission {
    fn any() -> Self {
        permission(permission::Rule::Any(true))
    }

    fn and(rules: Vec<Self>) -> Self {
        permission(permission::Rule::AndRules(permission::Set { rules }))
    }

    fn or(rules: Vec<Self>) -> Self {
        permission(permission::Rule::OrRules(permission::Set { rules }))
    }

    fn not(rule: Self) -> Self {
        permission(permission::Rule::NotRule(Box::new(rule)))
    }
}

impl Tree for Principal {
    fn any() -> Self {
        principal(principal::Identifier::Any(true))
    }

    fn and(ids: Vec<Self>) -> Self {
        principal(principal::Identifier::AndIds(principal::Set { ids }))
    }

    fn or(ids: Vec<Self>) -> Self {
        principal(principal::Identifier::OrIds(principal::Set { ids }))
    }

    fn not(id: Self) -> Self {
        principal(principal::Identifier::NotId(Box::new(id)))
    }
}
