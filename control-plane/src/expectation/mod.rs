//! Users' own expectations of their documents, for their CI: requests, and what has to become of them (`mesh test`).
//!
//! ```yaml
//! documents: [reviews.yaml, policies/]          # files and folders, named as seen from this file
//! tests:
//! - name: jason meets v2
//!   request:
//!     url: http://reviews:9080/reviews/0
//!     headers: {end-user: jason}
//!     from: default/productpage
//!   expect:
//!     destinations: [{subset: v2, odds: 1}]
//!     inbound: {decision: allow}
//! - name: nobody deletes
//!   request: DELETE http://reviews:9080/reviews/0
//!   expect: {inbound: {decision: deny, status: 403}}
//! ```
//! `request` is the request of `mesh explain` (EXPLAIN.md), or `METHOD URL`; its `headers` may be a mapping, `from` and `at`
//! `NAMESPACE/SERVICE_ACCOUNT`. `expect` is a part of its decision: what is written has to be so, the rest may be anything;
//! a list has to have exactly the elements that are written. The decision comes from encoded xDS and the data path's own
//! functions, as `explain`'s does, so what passes here is what a running mesh would do.
//!
//! # Layout
//!
//! `file` reads, `matching` compares, `report` says what differed and which rule decided.

mod file;
mod matching;
mod report;
#[cfg(test)]
mod tests;

use crate::explain::Explainer;
use file::Case;

pub use file::{NotATest, TestFile};
pub use matching::Difference;
pub use report::{Outcome, Report};

impl TestFile {
    /// Asks every request and compares what becomes of it with what is expected.
    ///
    /// ```
    /// use control_plane::document::{DocumentSet, Source};
    /// use control_plane::{expectation::TestFile, explain::Explainer};
    ///
    /// let file = TestFile::parse("ratings.test.yaml", "
    /// documents: []
    /// tests:
    /// - name: what is outside the mesh is left alone
    ///   request: GET http://example.org/
    ///   expect: {outcome: passthrough}
    /// ")?;
    /// let documents = DocumentSet::read(&[Source::file("none.yaml", "")]).documents;
    /// assert!(file.run(&mut Explainer::offline(documents)).passed());
    /// # Ok::<_, control_plane::expectation::NotATest>(())
    /// ```
    pub fn run(&self, explainer: &mut Explainer) -> Report {
        let outcomes = self.cases.iter().map(|case| run(case, explainer)).collect();
        Report { file: self.name.clone(), outcomes }
    }
}

fn run(case: &Case, explainer: &mut Explainer) -> Outcome {
    let (differences, decision) = match explainer.answer(&case.question) {
        Ok(decision) => {
            let seen = serde_json::json!(decision);
            (matching::compare(&case.expected, &seen), Some(decision))
        }
        Err(problem) => (vec![Difference::unanswered(&problem)], None),
    };
    Outcome { name: case.name.clone(), line: case.line, differences, decision }
}
