//! The catalog: the documents that are in force, as the store keeps them, and what a change would make of them.
//!
//! ```text
//!   store documents/… ─► Catalog (a set, and the revision it was read at)
//!   sources ─► plan (pure): whole set judged ─► transaction: all of it, if nobody changed the set meanwhile
//! ```
//! Documents are judged as a whole, so every change of any of them also rewrites `meta/documents`; a transaction that was
//! judged against an older set then fails its comparison and is judged anew.
//!
//! # Layout
//! `stored` the form in the store · `plan` what a change would do.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::aside::aside;
use crate::document::{Document, DocumentKey, DocumentSet, Printable, Report, Source};
use crate::store::{Compare, Entry, Keys, Listing, Store, StoreError};

pub use plan::{Action, Change, Plan, plan_apply, plan_delete};
pub use stored::{PREFIX, StoredDocument};

mod plan;
mod stored;

/// What is rewritten with every change of any document.
const HEAD: &str = "meta/documents";

/// The documents in force at one revision.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    documents: DocumentSet,
    /// By path in the store.
    stored: BTreeMap<String, (DocumentKey, Revisions)>,
    head: Option<u64>,
    revision: u64,
}

/// How old a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revisions {
    /// The revision that created it.
    pub created: u64,
    /// The revision that last changed it.
    pub changed: u64,
}

/// Why the stored documents cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is no document of this program's. Leaving it out could let in whom it keeps out, so nothing goes on
    /// without it.
    #[error("stored document {key} cannot be read ({reason}): run the version of mesh that stored it")]
    Unreadable {
        /// Its key in the store.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl Catalog {
    /// Reads the newest documents. What has not changed since `earlier` is taken from there.
    ///
    /// # Errors
    /// When the store fails or holds what this program cannot read.
    pub async fn load(store: &dyn Store, earlier: Arc<Self>) -> Result<Arc<Self>, CatalogError> {
        let listing = store.range(Keys::prefix(PREFIX), None).await?;
        let head = store.range(Keys::one(HEAD), Some(listing.revision)).await?;
        let head = head.entries.first().map(|entry| entry.mod_revision);
        aside(move || Self::read(listing, head, &earlier)).await.map(Arc::new)
    }

    fn read(listing: Listing, head: Option<u64>, earlier: &Self) -> Result<Self, CatalogError> {
        let mut catalog = Self { head, revision: listing.revision, ..Self::default() };
        for entry in listing.entries {
            let document = match earlier.unchanged(&entry) {
                Some(document) => document,
                None => Arc::new(read(&entry)?),
            };
            let revisions = Revisions { created: entry.create_revision, changed: entry.mod_revision };
            catalog.stored.insert(entry.key, (document.key.clone(), revisions));
            catalog.documents.insert(document);
        }
        Ok(catalog)
    }

    /// The documents.
    pub fn documents(&self) -> &DocumentSet {
        &self.documents
    }

    /// How old a document is.
    pub fn revisions(&self, key: &DocumentKey) -> Option<Revisions> {
        self.stored.get(&stored::path(key)).map(|(_, revisions)| *revisions)
    }

    /// The store's revision that was read.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    fn unchanged(&self, entry: &Entry) -> Option<Arc<Document>> {
        let (key, revisions) = self.stored.get(&entry.key)?;
        let same = (revisions.created, revisions.changed) == (entry.create_revision, entry.mod_revision);
        self.documents.get(key).filter(|_| same).cloned()
    }

    fn undisturbed(&self) -> Compare {
        match self.head {
            Some(revision) => Compare::unchanged(HEAD, revision),
            None => Compare::absent(HEAD),
        }
    }
}

fn read(entry: &Entry) -> Result<Document, CatalogError> {
    let unreadable = |reason: String| CatalogError::Unreadable { key: entry.key.clone(), reason };
    let stored = StoredDocument::decode(&entry.value).map_err(|error| unreadable(error.to_string()))?;
    let source = Source { file: stored.file, text: stored.text, first_line: stored.first_line };
    let reading = DocumentSet::read(&[source]);
    let mut documents = reading.documents.iter();
    match (documents.next(), documents.next()) {
        (Some(document), None) if stored::path(&document.key) == entry.key => {
            let mut document = Document::clone(document);
            document.age.revision = entry.create_revision;
            document.age.order = stored.order;
            Ok(document)
        }
        _ => Err(unreadable(reasons(&reading.reports))),
    }
}

fn reasons(reports: &[Report]) -> String {
    let findings = reports.iter().flat_map(|report| {
        report
            .findings
            .iter()
            .map(|finding| format!("{}: {} {}", report.at(finding.span), finding.field, finding.message))
            .map(|finding| Printable(&finding).to_string())
    });
    let all: Vec<String> = findings.collect();
    if all.is_empty() { "it is not one document of that name".to_owned() } else { all.join("; ") }
}

#[cfg(test)]
mod tests;
