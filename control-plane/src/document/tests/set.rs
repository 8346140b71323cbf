//! Sets: replacement, duplicates, age.

use super::*;

fn service(name: &str, hosts: &str, created: Option<&str>) -> String {
    let created = created.map_or(String::new(), |time| format!(", creationTimestamp: '{time}'"));
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}{created}}}\nspec: {{hosts: [{hosts}], http: [{{route: [{{destination: {{host: b}}}}]}}]}}\n"
    )
}

fn names(documents: &DocumentSet) -> Vec<&str> {
    documents.all::<VirtualService>().iter().map(|(document, _)| document.key.name.as_str()).collect()
}

#[test]
fn a_later_file_replaces_and_keeps_the_age() {
    let sources = [
        Source::file("a.yaml", format!("{}---\n{}", service("a", "x", None), service("b", "x", None))),
        Source::file("b.yaml", service("a", "y", None)),
    ];
    let reading = DocumentSet::read(&sources);
    assert_eq!(names(&reading.documents), ["a", "b"]);
    let (document, content) = reading.documents.all::<VirtualService>()[0];
    assert_eq!((&*document.file, content.hosts[0].value.as_str()), ("b.yaml", "y"));
}

#[test]
fn a_duplicate_in_one_file_is_an_error() {
    let reading = read(&format!("{}---\n{}", service("a", "x", None), service("a", "y", None)));
    assert_eq!(reading.reports[0].verdict(), Verdict::Valid);
    assert_eq!(reading.reports[1].findings[0].code, Code::Duplicate);
    assert_eq!(reading.verdict(), Verdict::Invalid);
}

#[test]
fn age_is_by_revision_then_creation_then_order() {
    let text = [
        service("no-time", "x", None),
        service("young", "x", Some("2026-01-02T00:00:00Z")),
        service("old-b", "x", Some("2026-01-01T00:00:00Z")),
        service("old-a", "x", Some("2026-01-01T00:00:00Z")),
    ];
    let reading = read(&text.join("---\n"));
    assert_eq!(names(&reading.documents), ["old-a", "old-b", "young", "no-time"]);
    let stored = DocumentSet::default().overlay(&read(&text[0]).documents, 1);
    let whole = stored.overlay(&reading.documents, 2);
    assert_eq!(names(&whole), ["no-time", "old-a", "old-b", "young"]);
    assert_eq!(whole.all::<VirtualService>()[0].0.age.revision, 1);
}

#[test]
fn a_document_with_an_error_is_in_no_set() {
    let reading = read(&service("a", "'*'", None));
    assert!(reading.documents.is_empty());
    assert_eq!(reading.reports[0].document.as_deref(), Some("VirtualService/default/a"));
}
