use http::Uri;

use super::*;
use crate::canonical::{PathNormalization, canonicalize_uri};
use crate::matcher::{FullMatch, HeaderMatcher, HeaderSource, Pattern, Text};
use crate::trace::{NoTrace, Steps};

const PRODUCTPAGE: Option<&str> = Some("cluster.local/ns/default/sa/productpage");

fn exact(text: &str) -> Pattern {
    Pattern::Exact(Text { text: text.into(), ignore_case: false })
}

fn principal(name: &str) -> Condition {
    Condition::Principal(Some(exact(&format!("spiffe://cluster.local/ns/default/sa/{name}"))))
}

fn namespace(name: &str) -> Condition {
    Condition::Principal(Some(Pattern::Regex(FullMatch::new(&format!(".*/ns/{name}/.*")).expect("regex"))))
}

fn path(path: &str) -> Condition {
    Condition::Path(exact(path))
}

fn method(method: &str) -> Condition {
    Condition::Header(HeaderMatcher {
        source: HeaderSource::Method,
        value: Some(exact(method)),
        invert: false,
        missing_is_empty: false,
    })
}

fn stage(action: Action, rules: Vec<(Condition, Condition)>) -> Stage {
    let rule = |(at, (principal, permission)): (usize, (Condition, Condition))| Rule {
        name: format!("p rules[{at}]").into(),
        at: Some("policy.yaml:7".into()),
        permission,
        principal,
    };
    Stage { action, rules: rules.into_iter().enumerate().map(rule).collect() }
}

fn with_facts<T>(
    principal: Option<&str>,
    path: Option<&str>,
    decide: impl FnOnce(&InboundFacts<'_>) -> T,
) -> T {
    let headers = HeaderMap::new();
    let mut uri: Uri = path.unwrap_or("/").parse().expect("uri");
    let path_facts = canonicalize_uri(&mut uri, PathNormalization::Base).expect("path");
    let http = path.map(|_| InboundHttp {
        method: &Method::GET,
        authority: "reviews:9080",
        path: path_facts,
        headers: &headers,
    });
    let source_ip = Some(IpAddr::from([10, 0, 0, 7]));
    let destination_ip = Some(IpAddr::from([10, 0, 1, 9]));
    let server_name = "outbound_.9080_._.reviews";
    decide(&InboundFacts { principal, source_ip, destination_ip, destination_port: 9080, server_name, http })
}

/// `path` is `None` for plain TCP.
#[track_caller]
fn check(policy: &Policy, principal: Option<&str>, path: Option<&str>, allowed: bool, rule: Option<&str>) {
    with_facts(principal, path, |facts| {
        let verdict = policy.decide(facts, &mut NoTrace);
        assert_eq!((verdict.allowed, verdict.rule), (allowed, rule));
        assert_eq!(verdict.at.is_some(), rule.is_some());
    });
}

#[test]
fn without_policy_everybody_is_let_in() {
    check(&Policy::default(), None, Some("/"), true, None);
}

#[test]
fn an_allow_stage_refuses_what_no_rule_matches() {
    let policy = Policy::new(vec![stage(Action::Allow, vec![(principal("productpage"), Condition::Any)])]);
    check(&policy, PRODUCTPAGE, Some("/"), true, Some("p rules[0]"));
    check(&policy, Some("cluster.local/ns/default/sa/other"), Some("/"), false, None);
    check(&policy, None, Some("/"), false, None);
    check(&Policy::new(vec![stage(Action::Allow, vec![])]), PRODUCTPAGE, Some("/"), false, None);
}

#[test]
fn deny_comes_before_allow() {
    let deny = stage(Action::Deny, vec![(Condition::Any, path("/admin"))]);
    let allow = stage(Action::Allow, vec![(namespace("default"), method("GET"))]);
    let policy = Policy::new(vec![deny, allow]);
    check(&policy, PRODUCTPAGE, Some("/admin"), false, Some("p rules[0]"));
    check(&policy, PRODUCTPAGE, Some("/public/../admin"), false, Some("p rules[0]"));
    check(&policy, PRODUCTPAGE, Some("/"), true, Some("p rules[0]"));
    check(&policy, Some("cluster.local/ns/default2/sa/productpage"), Some("/"), false, None);
}

#[test]
fn what_tcp_cannot_tell_never_lets_anybody_in() {
    let not_admin = Condition::Not(Box::new(path("/admin")));
    for condition in [path("/admin"), not_admin, method("GET")] {
        let allow = Policy::new(vec![stage(Action::Allow, vec![(Condition::Any, condition.clone())])]);
        check(&allow, PRODUCTPAGE, None, false, None);
        let deny = Policy::new(vec![stage(Action::Deny, vec![(Condition::Any, condition)])]);
        check(&deny, PRODUCTPAGE, None, false, Some("p rules[0]"));
    }
}

#[test]
fn a_caller_without_identity_meets_every_exclusion_of_identities() {
    let anybody = Condition::Not(Box::new(Condition::Principal(None)));
    let policy = Policy::new(vec![stage(Action::Deny, vec![(anybody, Condition::Any)])]);
    check(&policy, None, Some("/"), false, Some("p rules[0]"));
    check(&policy, PRODUCTPAGE, Some("/"), true, None);
}

#[test]
fn an_identity_too_long_for_spiffe_is_not_believed() {
    let long = "a".repeat(3000);
    let deny = Policy::new(vec![stage(Action::Deny, vec![(principal("x"), Condition::Any)])]);
    check(&deny, Some(&long), Some("/"), false, Some("p rules[0]"));
    let allow = Policy::new(vec![stage(Action::Allow, vec![(namespace("x"), Condition::Any)])]);
    check(&allow, Some(&long), Some("/"), false, None);
}

#[test]
fn ports_and_addresses_are_compared_by_range() {
    let range = |text: &str, bits| IpRange::new(text.parse().expect("ip"), bits).expect("range");
    let port =
        |ports| Policy::new(vec![stage(Action::Allow, vec![(Condition::Any, Condition::Port(ports))])]);
    check(&port(9080..=9080), None, None, true, Some("p rules[0]"));
    check(&port(80..=9079), None, None, false, None);
    let source =
        |range| Policy::new(vec![stage(Action::Allow, vec![(Condition::SourceIp(range), Condition::Any)])]);
    check(&source(range("10.0.0.0", 8)), None, None, true, Some("p rules[0]"));
    check(&source(range("10.0.0.6", 31)), None, None, true, Some("p rules[0]"));
    check(&source(range("10.0.0.6", 32)), None, None, false, None);
    check(&source(range("0.0.0.0", 0)), None, None, true, Some("p rules[0]"));
    check(&source(range("::", 0)), None, None, false, None);
    assert!(IpRange::new(IpAddr::from([1, 2, 3, 4]), 33).is_none());
    assert!(range("10.0.0.0", 8).contains("::ffff:10.1.1.1".parse().expect("ip")));
}

#[test]
fn and_or_and_not_combine() {
    let either = Condition::Or(vec![path("/a"), path("/b")]);
    let both = Condition::And(vec![either, Condition::Not(Box::new(method("POST")))]);
    let policy = Policy::new(vec![stage(Action::Allow, vec![(Condition::Any, both)])]);
    check(&policy, None, Some("/b"), true, Some("p rules[0]"));
    check(&policy, None, Some("/c"), false, None);
    let never = Policy::new(vec![stage(Action::Allow, vec![(Condition::Any, Condition::Or(vec![]))])]);
    check(&never, None, Some("/b"), false, None);
}

#[test]
fn the_trace_says_what_each_rule_missed() {
    let rules = vec![
        (principal("a"), Condition::Any),
        (Condition::Any, path("/b")),
        (Condition::Any, Condition::Any),
    ];
    let policy = Policy::new(vec![stage(Action::Allow, rules)]);
    let mut steps = Steps::default();
    with_facts(PRODUCTPAGE, Some("/x"), |facts| {
        policy.decide(facts, &mut steps);
    });
    assert_eq!(
        steps.0,
        [
            "p rules[0] (ALLOW): principal `cluster.local/ns/default/sa/productpage` is not \
             `spiffe://cluster.local/ns/default/sa/a`",
            "p rules[1] (ALLOW): path `/x` is not `/b`",
            "p rules[2] (ALLOW): matches",
        ]
    );
}

#[test]
fn deciding_allocates_nothing() {
    let rules = vec![(namespace("other"), Condition::Any), (principal("productpage"), path("/x"))];
    let policy = Policy::new(vec![stage(Action::Allow, rules)]);
    with_facts(PRODUCTPAGE, Some("/x"), |facts| {
        // The first search of an expression makes its cache.
        policy.decide(facts, &mut NoTrace);
        let measured = allocation_counter::measure(|| {
            assert!(policy.decide(facts, &mut NoTrace).allowed);
        });
        assert_eq!(measured.count_total, 0);
    });
}
