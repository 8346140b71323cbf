use super::{NotATest, TestFile};
use crate::document::{DocumentSet, Source};
use crate::explain::Explainer;

const DOCUMENTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {ports: [{name: http, port: 9080}], selector: {app: reviews}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 90}
    - {destination: {host: reviews, subset: v2}, weight: 10}
";

/// One test of these documents: the differences that it finds.
fn differences(request: &str, expect: &str) -> Vec<String> {
    let text = format!("documents: []\ntests:\n- name: one\n  request: {request}\n  expect: {expect}\n");
    let file = TestFile::parse("one.test.yaml", &text).expect("a file of expectations");
    let documents = DocumentSet::read(&[Source::file("reviews.yaml", DOCUMENTS)]).documents;
    let report = file.run(&mut Explainer::offline(documents));
    assert_eq!(report.passed(), report.outcomes[0].differences.is_empty());
    report.outcomes[0].differences.iter().map(ToString::to_string).collect()
}

const JASON: &str =
    "{url: 'http://reviews:9080/reviews/0', headers: {end-user: jason}, from: default/productpage}";
const ANYBODY: &str = "GET http://reviews:9080/reviews/0";

#[test]
fn what_is_written_has_to_be_so_and_the_rest_may_be_anything() {
    let passes = |request, expect| assert_eq!(differences(request, expect), Vec::<String>::new());
    passes(JASON, "{outcome: forward, destinations: [{subset: v2, odds: 1}], route: {rule: 'http[0]'}}");
    passes(
        ANYBODY,
        "{destinations: [{subset: v1, odds: 0.9}, {subset: v2, odds: 0.1}], inbound: {decision: allow}}",
    );
    passes(ANYBODY, "{status: null, mirrors: []}");
    passes("GET http://example.org/", "{outcome: passthrough}");
}

#[test]
fn what_differs_is_named_with_its_field() {
    let check = |expect, expected: &[&str]| assert_eq!(differences(ANYBODY, expect), expected);
    check("{outcome: no_route}", &[r#"outcome: is "forward", expected "no_route""#]);
    check("{destinations: [{subset: v2}]}", &["destinations: 2 of them, expected 1"]);
    check(
        "{destinations: [{subset: v1, odds: 0.8}, {subset: v3}]}",
        &["destinations[0].odds: is 0.9, expected 0.8", r#"destinations[1].subset: is "v2", expected "v3""#],
    );
    check("{timeout: 5s}", &[r#"timeout: is null, expected "5s""#]);
}

#[test]
fn a_misspelt_expectation_is_not_met() {
    let said = differences(ANYBODY, "{route: {documnet: VirtualService/default/reviews}}");
    assert_eq!(said, ["route.documnet: a decision has no such field here; it has document, rule, name, at"]);
}

#[test]
fn a_failure_says_which_rule_decided_instead() {
    let text = format!(
        "documents: []\ntests:\n- name: jason\n  request: {JASON}\n  expect: {{destinations: [{{subset: v1}}]}}\n"
    );
    let file = TestFile::parse("t.yaml", &text).expect("a file of expectations");
    let documents = DocumentSet::read(&[Source::file("reviews.yaml", DOCUMENTS)]).documents;
    let text = file.run(&mut Explainer::offline(documents)).to_text();
    for words in [
        "FAIL  t.yaml:3: jason",
        r#"destinations[0].subset: is "v2", expected "v1""#,
        "routed by VirtualService/default/reviews http[0] reviews.yaml:",
        "0 passed, 1 failed",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
}

#[test]
fn what_cannot_be_asked_is_refused_with_its_line() {
    let check = |text: &str, expected: &str| {
        let problem = TestFile::parse("t.yaml", text).expect_err("no file of expectations").to_string();
        assert!(problem.starts_with("t.yaml:") && problem.contains(expected), "{problem}");
    };
    check("documents: []\ntests: []\n", "no test in it");
    check("documents: []\ntest: []\n", "test");
    check(
        "documents: []\ntests:\n- {name: n, request: GET, expect: {status: 200}}\n",
        "t.yaml:3: `n`: `request` is not",
    );
    check(
        "documents: []\ntests:\n- {name: n, request: {url: 'http://a', form: b}, expect: {status: 200}}\n",
        "form",
    );
    check("documents: []\ntests:\n- {name: n, request: 'GET http://a', expect: {}}\n", "`expect` is empty");
    check(
        "documents: []\ntests:\n- {name: n, request: {url: 'http://a', from: b}, expect: {status: 1}}\n",
        "NAMESPACE/",
    );
    check("documents: [\n", "next: write it as");
    check(&"#".repeat(5 << 20), "more than");
    assert!(matches!(TestFile::parse("t.yaml", "[]"), Err(NotATest::Malformed { .. })));
}
