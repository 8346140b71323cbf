//! What an application or deletion would do, and what there is to say about it. Pure: the same question is asked for a dry
//! run, for a difference and for the real thing.

use std::collections::BTreeSet;

use super::stored::{StoredDocument, path};
use super::{Catalog, HEAD};
use crate::document::{
    Applied, Document, DocumentKey, DocumentSet, Reading, Report, Source, WholeFinding, attach,
};
use crate::store::Transaction;

/// A change, judged.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What becomes of each document that is named, in their order.
    pub changes: Vec<Change>,
    /// What there is to say: about each document that was given, and about others where this change brings it about.
    pub reports: Vec<Report>,
    /// All documents as they would be.
    pub after: DocumentSet,
}

/// What becomes of one document.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which.
    pub key: DocumentKey,
    /// What is done.
    pub action: Action,
    /// The text so far.
    pub before: Option<String>,
    /// The text from now on.
    pub after: Option<String>,
    write: Option<Vec<u8>>,
}

/// What is done to a document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Text and place are the same already.
    Unchanged,
    /// It is new.
    Created,
    /// Its text or place is another.
    Replaced,
    /// It goes.
    Deleted,
}

/// What applying `sources` over the catalog comes to. `registered` are hosts that instances serve.
pub fn plan_apply(catalog: &Catalog, sources: &[Source], registered: &BTreeSet<String>) -> Plan {
    let Applied { documents, reports, after } =
        catalog.documents.apply(sources, catalog.revision + 1, registered);
    let changes = documents.iter().map(|document| change(catalog, document)).collect();
    Plan { changes, reports, after }
}

/// What deleting `keys`, and the documents that `sources` name, from the catalog comes to. A source that could not be
/// applied cannot be deleted either: what it meant to name is unknown, and a part of what was meant must not go alone.
///
/// # Errors
/// Names the first that is not there.
pub fn plan_delete(
    catalog: &Catalog,
    keys: &[DocumentKey],
    sources: &[Source],
    registered: &BTreeSet<String>,
) -> Result<Plan, DocumentKey> {
    let Reading { documents, mut reports } = DocumentSet::read(sources);
    reports.retain(|report| !report.verdict().accepts());
    let in_sources =
        documents.iter().map(|document| &document.key).filter(|key| !key.kind.is_workload_fact());
    let mut after = catalog.documents.clone();
    let mut changes = Vec::new();
    for key in keys.iter().chain(in_sources).collect::<BTreeSet<_>>() {
        let is_meant = |found: &&DocumentKey| {
            found.kind.is_meant_by(key.kind) && (&found.namespace, &found.name) == (&key.namespace, &key.name)
        };
        let keys = || after.iter().map(|document| &document.key);
        let found = if after.get(key).is_some() { Some(key) } else { keys().find(is_meant) }.cloned();
        let document = found.and_then(|found| after.remove(&found)).ok_or_else(|| key.clone())?;
        changes.push(Change {
            key: document.key.clone(),
            action: Action::Deleted,
            before: Some(document.text.to_string()),
            after: None,
            write: None,
        });
    }
    let touched = changes.iter().map(|change| &change.key).collect();
    attach(&mut reports, catalog.documents.news(&after, &touched, registered), &after);
    Ok(Plan { changes, reports, after })
}

impl Plan {
    /// Whether it may be carried out.
    pub fn accepted(&self) -> bool {
        self.reports.iter().all(|report| report.verdict().accepts())
    }

    /// Adds what is to be said of the documents as they would be.
    pub fn note(&mut self, findings: Vec<WholeFinding>) {
        attach(&mut self.reports, findings, &self.after);
    }

    /// The documents that it names.
    pub fn touched(&self) -> BTreeSet<&DocumentKey> {
        self.changes.iter().map(|change| &change.key).collect()
    }

    /// Whether it would change anything.
    pub fn changes_anything(&self) -> bool {
        self.changes.iter().any(|change| change.action != Action::Unchanged)
    }

    /// All of it, if the catalog is still the one that it was judged against.
    pub fn transaction(&self, catalog: &Catalog) -> Transaction {
        let mut transaction = Transaction::new().when(catalog.undisturbed()).put(HEAD, "");
        for change in &self.changes {
            transaction = match (change.action, &change.write) {
                (Action::Created | Action::Replaced, Some(bytes)) => {
                    transaction.put(path(&change.key), bytes.clone())
                }
                (Action::Deleted, _) => transaction.delete(path(&change.key)),
                _ => transaction,
            };
        }
        transaction
    }
}

fn change(catalog: &Catalog, document: &Document) -> Change {
    let before = catalog.documents.get(&document.key);
    let mut stored = StoredDocument::of(document);
    if let Some(before) = before {
        // A change makes nothing younger, so its place is the one it was created with.
        stored.order = before.age.order;
    }
    let action = match before {
        None => Action::Created,
        Some(before) if StoredDocument::of(before) == stored => Action::Unchanged,
        Some(_) => Action::Replaced,
    };
    Change {
        key: document.key.clone(),
        action,
        before: before.map(|before| before.text.to_string()),
        after: Some(document.text.to_string()),
        write: Some(stored.encode()),
    }
}
