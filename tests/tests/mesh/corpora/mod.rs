//! Public cases that nobody here wrote, asked of the library: one file per folder of `MESH_CORPORA`.
//!
//! A case counts as out of scope only where the mesh itself says so, by refusing a document as `unsupported`; the field is
//! printed. Whatever else differs is wrong, save what stands in [`exception`] with its reason.

pub(crate) mod bookinfo;
mod exception;
mod gateway_api;
mod http1_requests;
mod http2_frames;
mod http_site;
mod istio_authz;
mod istio_crd_validation;
mod istio_dr_select;
mod istio_locality_retry;
mod istio_path_normalization;
mod istio_peer_authn;
mod istio_vs_delegate;
mod istio_vs_merge;
mod istio_vs_traffic;
mod sockets;
mod tally;

use std::path::PathBuf;

use control_plane::document::{DocumentSet, Report, Source, Verdict};
use control_plane::explain::{Decision, Explainer, Question};
use serde_json::Value;

pub(crate) use tally::{Outcome, Tally};

/// A question of a corpus, and the documents under which it is asked: of `explain`, and of real sockets.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// What the case is called.
    pub(crate) name: String,
    pub(crate) sources: Vec<Source>,
    /// As the contract's JSON.
    pub(crate) question: Value,
}

/// The folder of a corpus; none where there are no corpora and none are demanded.
pub(crate) fn folder(corpus: &str) -> Option<PathBuf> {
    let demanded = std::env::var("CI").is_ok_and(|ci| ci == "true");
    let Some(root) = std::env::var_os("MESH_CORPORA") else {
        assert!(!demanded, "CI=true and MESH_CORPORA is not set");
        println!("{corpus}: MESH_CORPORA is not set; nothing was run");
        return None;
    };
    let folder = PathBuf::from(root).join(corpus);
    assert!(folder.is_dir(), "{} is no folder", folder.display());
    Some(folder)
}

/// The YAML of a file as JSON.
fn cases(file: PathBuf) -> Value {
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Documents as one source, as a user would write them one after the other.
pub(crate) fn source<'v>(documents: impl IntoIterator<Item = &'v Value>) -> Source {
    let texts: Vec<String> = documents.into_iter().map(Value::to_string).collect();
    Source::file("case.yaml", texts.join("\n---\n"))
}

/// Reads documents, or says by which field the mesh puts them out of scope.
pub(crate) fn read(sources: &[Source]) -> Result<DocumentSet, Outcome> {
    let reading = DocumentSet::read(sources);
    let gravest = |verdict| reading.reports.iter().find(|report| report.verdict() == verdict);
    if let Some(report) = gravest(Verdict::Invalid) {
        return Err(Outcome::Wrong(format!("a document is refused: {}", first_error(report))));
    }
    if let Some(report) = gravest(Verdict::Unsupported) {
        return Err(Outcome::OutOfScope(first_error(report)));
    }
    Ok(reading.documents)
}

/// The finding that decides a report's verdict, without what differs from file to file.
fn first_error(report: &Report) -> String {
    let decisive = report.findings.iter().find(|finding| {
        let alone = Report { findings: vec![(*finding).clone()], ..report.clone() };
        alone.verdict() == report.verdict()
    });
    let (field, message) = decisive.map_or(("", ""), |finding| (&finding.field, &finding.message));
    named(report.document.as_deref().unwrap_or_default(), field, message)
}

/// A finding by kind and field, alike for all documents of the kind.
pub(crate) fn named(document: &str, field: &str, message: &str) -> String {
    let kind = document.split('/').next().unwrap_or_default();
    let field: String = field.chars().filter(|letter| !letter.is_ascii_digit()).collect();
    match field.as_str() {
        "" => format!("{kind} {message}"),
        field => format!("{kind} {field}"),
    }
}

/// Asks a question that is written as the contract's JSON.
pub(crate) fn ask(explainer: &mut Explainer, question: Value) -> Result<Decision, Outcome> {
    let question: Question =
        serde_json::from_value(question).map_err(|error| Outcome::Wrong(error.to_string()))?;
    explainer.answer(&question).map_err(|error| Outcome::Wrong(error.to_string()))
}

/// `actual` must be `expected`.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    actual: T,
    expected: T,
) -> Result<(), Outcome> {
    if actual == expected {
        Ok(())
    } else {
        Err(Outcome::Wrong(format!("{what} is {actual:?}, not {expected:?}")))
    }
}

/// Either way an outcome.
pub(crate) fn outcome(result: Result<(), Outcome>) -> Outcome {
    result.err().unwrap_or(Outcome::Passed)
}

pub(crate) fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

pub(crate) fn items<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}
