//! A document as the model keeps it: its spec with its name and the place that it came from.

use std::sync::Arc;

use mesh_core::resource::Provenance;
use mesh_core::route::StickyKey;

use crate::document::Span;

/// A document's spec and what identifies it.
#[derive(Debug, Clone)]
pub struct Declared<T> {
    /// `VirtualService/default/reviews`.
    pub id: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// The file it came from.
    pub file: Arc<str>,
    /// By what its splits are sticky, if an annotation says so.
    pub sticky: Option<StickyKey>,
    /// What it says.
    pub spec: Arc<T>,
}

impl<T> Declared<T> {
    /// The document's kind, with which its name begins.
    pub fn kind(&self) -> &str {
        self.id.split_once('/').map_or(&*self.id, |(kind, _)| kind)
    }

    /// `reviews.yaml:14`.
    pub fn at(&self, span: Span) -> Arc<str> {
        format!("{}:{}", self.file, span.line).into()
    }

    /// The document at one of its places.
    pub fn provenance(&self, span: Span) -> Provenance {
        Provenance { document: Some(self.id.clone()), at: Some(self.at(span)), ..Provenance::default() }
    }
}
