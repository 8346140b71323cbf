//! `mesh validate`: what would be said about documents if they were applied, without a server.
//!
//! The JSON is a stable contract (EXPLAIN.md): users' CI is built on it. `apply` and `explain -f` refuse by the same
//! [`judge`], so that no two commands disagree about a document.

mod line;
mod report;
mod source;

#[cfg(test)]
mod tests;

pub use line::FindingLine;
pub use report::{json, text};
pub use source::{DIRECTORY_FILES_MAX, SourceError, read_sources};

use std::collections::BTreeSet;

use crate::document::{DocumentSet, Reading, Source, attach, check_whole};

/// Reads sources and says what is to be said about them, singly and as a whole.
pub fn judge(sources: &[Source]) -> Reading {
    let mut reading = DocumentSet::read(sources);
    let findings = check_whole(&reading.documents, &BTreeSet::new());
    attach(&mut reading.reports, findings, &reading.documents);
    reading
}
