//! The contract of `mesh validate`: JSON, text, exit status, and what `-f` reads.

use super::*;
use crate::document::Verdict;

const GOOD: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n";
const INERT: &str = "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {name: g}\n";
const UNSUPPORTED: &str = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: s}\n";
const SKIPPED: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: s, namespace: n}\n";
const DANGLING: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v}\nspec:\n  hosts: [b]\n  http:\n  - route:\n    - destination: {host: b, subset: v9}\n";

#[track_caller]
fn check(text: &str, verdict: &str, gravest: Verdict) {
    let reading = judge(&[Source::file("a.yaml", text)]);
    let output = json(&reading.reports);
    let json: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((json[0]["verdict"].as_str(), reading.verdict()), (Some(verdict), gravest), "{output}");
}

#[test]
fn verdicts() {
    check(GOOD, "valid", Verdict::Valid);
    check(SKIPPED, "valid", Verdict::Valid);
    check(INERT, "warning", Verdict::Warning);
    check(UNSUPPORTED, "unsupported", Verdict::Unsupported);
    check(DANGLING, "invalid", Verdict::Invalid);
    check("a: [", "invalid", Verdict::Invalid);
}

#[test]
fn json_is_the_contract() {
    let output = json(&judge(&[Source::file("a.yaml", DANGLING)]).reports);
    let read: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    let wanted = serde_json::json!([{
        "document": "VirtualService/default/v",
        "at": "a.yaml:1",
        "verdict": "invalid",
        "findings": [{
            "code": "dangling-subset",
            "severity": "error",
            "field": "spec.http[0].route[0].destination.subset",
            "at": "a.yaml:8",
            "message": "no DestinationRule of b.default.svc.cluster.local defines the subset `v9`",
            "next": "define it in a DestinationRule, applied before or together with this document",
        }],
    }]);
    assert_eq!(read, wanted);
    let output = json(&judge(&[Source::file("a.yaml", "a: [")]).reports);
    assert!(output.contains("\"document\": null"), "{output}");
}

#[test]
fn text_has_line_field_reason_and_next_step() {
    let output = text(&judge(&[Source::file("a.yaml", format!("{DANGLING}---\n{SKIPPED}"))]));
    let lines: Vec<&str> = output.lines().collect();
    assert!(
        lines[0].starts_with(
            "a.yaml:8: error: VirtualService/default/v spec.http[0].route[0].destination.subset: "
        )
    );
    assert!(lines[1].starts_with("    next: "));
    assert_eq!(lines[2], "a.yaml:10: notice: Secret/n/s: skipped: Secret carries no mesh configuration");
    assert_eq!(lines[3], "2 documents: 1 valid, 0 with warnings, 0 unsupported, 1 invalid");
}

#[test]
fn a_finding_of_the_whole_is_about_the_document_that_holds() {
    let replaced = Source::file("a.yaml", DANGLING.replace(", subset: v9", ""));
    let reading = judge(&[replaced, Source::file("b.yaml", DANGLING)]);
    let counts: Vec<usize> = reading.reports.iter().map(|report| report.findings.len()).collect();
    assert_eq!(counts, [0, 1]);
}

#[test]
fn standard_input_is_read_once() {
    let twice = read_sources(&["-".to_owned(), "-".to_owned()], GOOD.as_bytes());
    assert!(matches!(twice, Err(SourceError::StandardInputTwice)), "{twice:?}");
}

#[test]
fn directories_are_read_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    for name in ["b.yaml", "a.yml", "c.json", "README.md"] {
        std::fs::write(directory.path().join(name), GOOD).expect("a file");
    }
    std::fs::create_dir(directory.path().join("d.yaml")).expect("a directory");
    let path = directory.path().display().to_string();
    let sources = read_sources(&[path.clone(), "-".to_owned()], GOOD.as_bytes()).expect("sources");
    let files: Vec<_> = sources.iter().map(|source| source.file.trim_start_matches(&path)).collect();
    assert_eq!(files, ["/a.yml", "/b.yaml", "/c.json", "-"]);
}

#[test]
fn what_cannot_be_read_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let read = |path: &str, input: &[u8]| read_sources(&[path.to_owned()], input).map(|_| ());
    assert!(matches!(read(&path, b""), Err(SourceError::Nothing { .. })));
    assert!(matches!(read(&format!("{path}/none.yaml"), b""), Err(SourceError::Unreadable { .. })));
    assert!(matches!(read("-", b"\xff"), Err(SourceError::Unreadable { .. })));
    let large = vec![b' '; crate::document::SOURCE_BYTES_MAX + 1];
    assert!(matches!(read("-", &large), Err(SourceError::TooLarge { .. })));
}
