//! A document, and the set of all that hold together.
//!
//! A set is a value: `apply` overlays what is applied on what is stored and judges the result as a whole before anything
//! is written, so that a set is taken or refused as one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Content, Kind, Metadata, Node, Span, Spec, SpecOf};

/// One document that was read without error.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it is called.
    pub key: DocumentKey,
    /// The file it came from.
    pub file: Arc<str>,
    /// Where it begins in that file.
    pub span: Span,
    /// Its own text, as written.
    pub text: Arc<str>,
    /// The line of the file on which `text` begins; reading it again needs it, so that lines stay right.
    pub first_line: u32,
    /// Its metadata.
    pub metadata: Metadata,
    /// What it says.
    pub spec: Spec,
    /// How old it is.
    pub age: Age,
    /// The tree it was read from, for the place of any field.
    pub root: Arc<Node>,
}

/// What a document is called: `VirtualService/default/reviews`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How old a document is, the oldest first: by the revision that created it, within one by `creationTimestamp`, else by
/// the order of the files. A document without a timestamp is being created now, so those with one are older.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Age {
    /// The store's revision that created it; 0 before it is stored.
    pub revision: u64,
    /// When a cluster created it.
    pub created: Created,
    /// Its place in the order read.
    pub order: u64,
}

/// When a cluster created a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Created {
    /// Then; of the same time, Istio's order is by name and namespace.
    At(jiff::Timestamp, String, String),
    /// No cluster has.
    #[default]
    Now,
}

/// Documents that hold together, each under its key.
#[derive(Clone, Debug, Default)]
pub struct DocumentSet {
    documents: BTreeMap<DocumentKey, Arc<Document>>,
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}/{}", self.kind.name(), self.namespace, self.name)
    }
}

impl Document {
    /// `file:line` of a place in the document.
    pub fn at(&self, span: Span) -> String {
        format!("{}:{}", self.file, span.line)
    }

    /// Where a field stands, by its path: `spec.http[0].route[1].weight`.
    pub fn span_of(&self, path: &str) -> Option<Span> {
        let mut node = &self.root;
        for part in path.split('.') {
            let (name, indexes) = part.split_once('[').unwrap_or((part, ""));
            node = node.get(name)?;
            for index in indexes.split('[').filter(|index| !index.is_empty()) {
                let Content::Sequence(items) = &node.content else { return None };
                node = items.get(index.trim_end_matches(']').parse::<usize>().ok()?)?;
            }
        }
        Some(node.span)
    }
}

impl DocumentSet {
    /// The document of this key.
    pub fn get(&self, key: &DocumentKey) -> Option<&Arc<Document>> {
        self.documents.get(key)
    }

    /// All documents, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Document>> {
        self.documents.values()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// All documents of one kind, the oldest first.
    pub fn all<T: SpecOf>(&self) -> Vec<(&Arc<Document>, &T)> {
        let kept = self.documents.values().filter(|document| document.key.kind == T::KIND);
        let mut all: Vec<_> = kept.filter_map(|document| Some((document, T::of(&document.spec)?))).collect();
        all.sort_by(|(left, _), (right, _)| left.age.cmp(&right.age));
        all
    }

    /// Takes a document in, in place of one of the same key, whose age it then keeps: a change makes nothing younger.
    pub fn insert(&mut self, document: impl Into<Arc<Document>>) {
        let mut document = document.into();
        if let Some(earlier) = self.documents.get(&document.key)
            && earlier.age != document.age
        {
            Arc::make_mut(&mut document).age = earlier.age.clone();
        }
        self.documents.insert(document.key.clone(), document);
    }

    /// Takes a document out.
    pub fn remove(&mut self, key: &DocumentKey) -> Option<Arc<Document>> {
        self.documents.remove(key)
    }

    /// What holds when `applied` is applied over this set at `revision`.
    #[must_use]
    pub fn overlay(&self, applied: &DocumentSet, revision: u64) -> DocumentSet {
        let mut whole = self.clone();
        for document in applied.iter() {
            let mut document = Document::clone(document);
            document.age.revision = revision;
            whole.insert(document);
        }
        whole
    }
}
