//! Documents into the store and out again, as whole sets.

use std::collections::BTreeSet;

use super::*;
use crate::document::Kind;
use crate::store::{EmbeddedStore, Outcome, Retention};

struct Fixture {
    store: EmbeddedStore,
    _folder: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&folder.path().join("store.redb"), Retention::default()).unwrap();
    Fixture { store, _folder: folder }
}

impl Fixture {
    async fn catalog(&self) -> Arc<Catalog> {
        Catalog::load(&self.store, Arc::default()).await.unwrap()
    }

    async fn apply(&self, file: &str, text: &str) -> (Plan, Option<Outcome>) {
        let catalog = self.catalog().await;
        let plan = plan_apply(&catalog, &[Source::file(file, text)], &BTreeSet::new());
        let outcome = match plan.accepted() {
            true => Some(self.store.commit(plan.transaction(&catalog)).await.unwrap()),
            false => None,
        };
        (plan, outcome)
    }
}

const RULE: &str = "\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: reviews
spec:
  host: reviews
  subsets:
  - name: v1
    labels: {version: v1}
";

const ROUTE: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews, subset: v1}
";

fn key(kind: Kind) -> DocumentKey {
    DocumentKey { kind, namespace: "default".into(), name: "reviews".into() }
}

#[tokio::test]
async fn a_set_is_stored_with_text_file_and_lines() {
    let fixture = fixture();
    let (plan, outcome) = fixture.apply("all.yaml", &format!("{RULE}---\n{ROUTE}")).await;
    assert_eq!(plan.changes.iter().map(|change| change.action).collect::<Vec<_>>(), [Action::Created; 2]);
    assert_eq!(outcome, Some(Outcome::Committed { revision: 1 }));
    let catalog = fixture.catalog().await;
    let document = catalog.documents().get(&key(Kind::VirtualService)).unwrap();
    assert_eq!(document.at(document.span_of("spec.hosts").unwrap()), "all.yaml:16");
    assert_eq!(catalog.revisions(&document.key), Some(Revisions { created: 1, changed: 1 }));
    assert_eq!(document.age.revision, 1);
    // What has not changed is not read again.
    let again = Catalog::load(&fixture.store, catalog.clone()).await.unwrap();
    assert_eq!(again.stored, catalog.stored);
    assert_eq!(again.documents().get(&key(Kind::VirtualService)).unwrap().at(document.span), "all.yaml:11");
}

#[tokio::test]
async fn one_bad_document_keeps_all_out() {
    let fixture = fixture();
    let (plan, outcome) =
        fixture.apply("all.yaml", &format!("{RULE}---\n{}", ROUTE.replace("v1}", "v9}"))).await;
    assert_eq!(outcome, None);
    let findings: Vec<_> = plan.reports.iter().map(|report| report.findings.len()).collect();
    assert!(!plan.accepted() && findings == [0, 1], "{:?}", plan.reports);
    assert!(fixture.catalog().await.documents().is_empty());
    let (plan, outcome) =
        fixture.apply("all.yaml", &format!("{RULE}---\n{}", ROUTE.replace("hosts", "host"))).await;
    assert!(!plan.reports[1].findings.is_empty());
    assert_eq!(outcome, None);
}

#[tokio::test]
async fn a_replacement_keeps_its_age_and_the_same_again_is_no_change() {
    let fixture = fixture();
    fixture.apply("a.yaml", RULE).await;
    fixture.apply("b.yaml", ROUTE).await;
    let (plan, _) = fixture.apply("b.yaml", ROUTE).await;
    assert_eq!(plan.changes[0].action, Action::Unchanged);
    assert!(!plan.changes_anything());
    let (plan, _) = fixture.apply("c.yaml", ROUTE).await;
    assert_eq!(plan.changes[0].action, Action::Replaced);
    let revisions = fixture.catalog().await.revisions(&key(Kind::VirtualService)).unwrap();
    assert_eq!(revisions.created, 2);
    assert!(revisions.changed > 2);
}

#[tokio::test]
async fn a_deletion_is_judged_by_what_it_leaves() {
    let fixture = fixture();
    fixture.apply("all.yaml", &format!("{RULE}---\n{ROUTE}")).await;
    let catalog = fixture.catalog().await;
    let delete = |keys: &[DocumentKey]| plan_delete(&catalog, keys, &[], &BTreeSet::new());
    let dangling = delete(&[key(Kind::DestinationRule)]).unwrap();
    assert!(!dangling.accepted());
    assert_eq!(dangling.reports[0].document.as_deref(), Some("VirtualService/default/reviews"));
    assert_eq!(delete(&[key(Kind::Service)]).unwrap_err(), key(Kind::Service));
    let both = delete(&[key(Kind::DestinationRule), key(Kind::VirtualService)]).unwrap();
    assert!(both.accepted());
    fixture.store.commit(both.transaction(&catalog)).await.unwrap();
    assert!(fixture.catalog().await.documents().is_empty());
}

#[tokio::test]
async fn either_kind_of_gateway_is_deleted_by_the_name_that_they_share() {
    const ISTIOS: &str = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: edge}\n";
    const KUBERNETES: &str =
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge}\n";
    let named = DocumentKey { name: "edge".to_owned(), ..key(Kind::Gateway) };
    let check = async |text: &str, expected: &[Kind]| {
        let fixture = fixture();
        fixture.apply("edge.yaml", text).await;
        let catalog = fixture.catalog().await;
        let plan = plan_delete(&catalog, std::slice::from_ref(&named), &[], &BTreeSet::new()).unwrap();
        let gone: Vec<Kind> = plan.changes.iter().map(|change| change.key.kind).collect();
        assert_eq!(gone, expected);
    };
    check(ISTIOS, &[Kind::Gateway]).await;
    check(KUBERNETES, &[Kind::KubernetesGateway]).await;
    check(&format!("{ISTIOS}---\n{KUBERNETES}"), &[Kind::Gateway]).await;
}

#[tokio::test]
async fn files_name_what_is_deleted() {
    const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: reviews}\n";
    let fixture = fixture();
    fixture.apply("all.yaml", &format!("{RULE}---\n{ROUTE}")).await;
    let catalog = fixture.catalog().await;
    let delete =
        |text: &str| plan_delete(&catalog, &[], &[Source::file("gone.yaml", text)], &BTreeSet::new());
    let all = delete(&format!("{RULE}---\n{DEPLOYMENT}---\n{ROUTE}")).unwrap();
    assert!(all.accepted(), "{:?}", all.reports);
    let gone: Vec<&DocumentKey> = all.changes.iter().map(|change| &change.key).collect();
    assert_eq!(gone, [&key(Kind::VirtualService), &key(Kind::DestinationRule)]);
    // A word that was changed since does not keep a document; a source that cannot be read keeps them all.
    assert!(delete(&format!("{RULE}---\n{}", ROUTE.replace("subset: v1", "subset: v9"))).unwrap().accepted());
    let unreadable = delete(&format!("{RULE}---\n{ROUTE}---\nkind: [")).unwrap();
    assert!(!unreadable.accepted());
    let absent = RULE.replace("name: reviews", "name: absent");
    assert_eq!(delete(&absent).unwrap_err().name, "absent");
}

#[tokio::test]
async fn what_was_judged_against_an_older_set_is_not_stored() {
    let fixture = fixture();
    let catalog = fixture.catalog().await;
    let plan = plan_apply(&catalog, &[Source::file("a.yaml", RULE)], &BTreeSet::new());
    fixture.apply("b.yaml", RULE).await;
    let outcome = fixture.store.commit(plan.transaction(&catalog)).await.unwrap();
    assert_eq!(outcome, Outcome::Conflict { key: "meta/documents".into() });
}

#[tokio::test]
async fn a_stored_document_that_cannot_be_read_stops_everything() {
    let fixture = fixture();
    let check = async |value: &str, expected: &str| {
        let path = "documents/VirtualService/default/reviews";
        let transaction = crate::store::Transaction::new().put(path, value.to_owned());
        fixture.store.commit(transaction).await.unwrap();
        let error = Catalog::load(&fixture.store, Arc::default()).await.unwrap_err().to_string();
        assert!(error.contains(path) && error.contains(expected), "{error}");
    };
    check("text", "expected ident").await;
    check(r#"{"version": 2}"#, "it has version 2, this program reads 1").await;
    let text = serde_json::to_string(RULE).unwrap();
    let other = format!(r#"{{"version": 1, "file": "a", "first_line": 1, "order": 0, "text": {text}}}"#);
    check(&other, "it is not one document of that name").await;
    check(&other.replace("hosts", "host").replace("subsets", "sets"), "a:7").await;
}

#[tokio::test]
async fn the_largest_document_that_is_judged_good_can_be_kept() {
    let fixture = fixture();
    let large = |letters: usize| format!("{RULE}    # \"{}\n", "a".repeat(letters));
    let refused = |plan: &Plan| plan.reports.iter().any(|report| !report.findings.is_empty());
    let (mut good, mut bad) = (0, 2 * crate::document::DOCUMENT_BYTES_MAX);
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        let text = large(middle);
        let plan = plan_apply(&Catalog::default(), &[Source::file("a\"b.yaml", text)], &BTreeSet::new());
        *if refused(&plan) { &mut bad } else { &mut good } = middle;
    }
    let (_, outcome) = fixture.apply("a\"b.yaml", &large(good)).await;
    assert!(matches!(outcome, Some(Outcome::Committed { .. })), "{outcome:?}");
}

#[test]
fn what_is_found_of_many_documents_is_told_of_each() {
    // Quadratic work here would take minutes, not a moment.
    let route = |number: usize| ROUTE.replace("name: reviews", &format!("name: r{number}"));
    let text: Vec<String> = (0..2_000).map(route).collect();
    let plan =
        plan_apply(&Catalog::default(), &[Source::file("a.yaml", text.join("---\n"))], &BTreeSet::new());
    let found: Vec<usize> = plan.reports.iter().map(|report| report.findings.len()).collect();
    // Each has a subset that nothing defines, and all but the first are shadowed by it.
    assert_eq!((found.len(), found[0], found[1..].iter().all(|count| *count == 2)), (2_000, 1, true));
}
