//! Documents in, findings out: rows of what is taken, refused by name, and wrong.

mod annotation;
mod fields;
mod gateway_routes;
mod kinds;
mod security;
mod set;
mod transport;
mod virtual_service;
mod whole;
mod yaml;

use super::*;

/// Reads one file.
fn read(text: &str) -> Reading {
    DocumentSet::read(&[Source::file("a.yaml", text)])
}

/// A document of a kind with this spec, which is YAML in flow style.
fn document(api_version: &str, kind: &str, spec: &str) -> String {
    format!("apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n")
}

/// What was found: code and field, `spec.` left out.
fn found(text: &str) -> Vec<(Code, String)> {
    let reports = read(text).reports;
    let findings = reports.into_iter().flat_map(|report| report.findings);
    findings.map(|finding| (finding.code, finding.field.trim_start_matches("spec.").to_owned())).collect()
}

/// Checks that exactly these things are found in a document.
#[track_caller]
fn check(text: &str, wanted: &[(Code, &str)]) {
    let found = found(text);
    let found: Vec<(Code, &str)> = found.iter().map(|(code, field)| (*code, field.as_str())).collect();
    assert_eq!(found, wanted, "in\n{text}");
}
