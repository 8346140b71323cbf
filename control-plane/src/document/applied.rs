//! What a change makes of a set of documents, and what there is to say about it. Pure.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Document, DocumentKey, DocumentSet, Reading, Report, Source, WholeFinding, attach, check_whole};

/// What applying sources over a set comes to.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The documents given, in their order; workload facts are none, since members say for themselves what they are.
    pub documents: Vec<Arc<Document>>,
    /// What is to be said about each document that was given, and about others where this change brings it about.
    pub reports: Vec<Report>,
    /// All documents as they would be.
    pub after: DocumentSet,
}

impl DocumentSet {
    /// Applies `sources` over this set at `revision`. `registered` are hosts that instances serve.
    pub fn apply(&self, sources: &[Source], revision: u64, registered: &BTreeSet<String>) -> Applied {
        let Reading { documents, mut reports } = DocumentSet::read(sources);
        let mut applied: Vec<_> =
            documents.iter().filter(|document| !document.key.kind.is_workload_fact()).cloned().collect();
        applied.sort_by_key(|document| document.age.order);
        let mut configuration = DocumentSet::default();
        for document in &applied {
            configuration.insert(Arc::clone(document));
        }
        let after = self.overlay(&configuration, revision);
        let keys = applied.iter().map(|document| &document.key).collect();
        attach(&mut reports, self.news(&after, &keys, registered), &after);
        Applied { documents: applied, reports, after }
    }

    /// What is to be said once `after` holds instead of this set. What is said of documents that were not touched counts only
    /// where this change brought it about.
    pub fn news(
        &self,
        after: &DocumentSet,
        touched: &BTreeSet<&DocumentKey>,
        registered: &BTreeSet<String>,
    ) -> Vec<WholeFinding> {
        let before: HashSet<WholeFinding> = check_whole(self, registered).into_iter().collect();
        let mut findings = check_whole(after, registered);
        findings.retain(|found| touched.contains(&found.document) || !before.contains(found));
        findings
    }
}
