//! One document as the store keeps it: its own text, and where that stood, so that errors and explanations can go on
//! pointing at the user's file.

use serde::{Deserialize, Serialize};

use crate::document::{Document, DocumentKey, Kind};

/// Where documents are stored.
pub const PREFIX: &str = "documents/";

/// What this program writes, and the only thing it reads.
const VERSION: u32 = 1;

/// A document in the store.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct StoredDocument {
    version: u32,
    /// The file it came from.
    pub file: String,
    /// The line of the file on which its text begins.
    pub first_line: u32,
    /// Its place among those applied together, which decides between documents of one revision.
    pub order: u64,
    /// Its own text.
    pub text: String,
}

/// Why a stored value is no document.
#[derive(Debug, thiserror::Error)]
pub enum StoredDocumentError {
    /// Not of this program's form.
    #[error("{0}")]
    Format(#[from] serde_json::Error),
    /// Of another version's.
    #[error("it has version {0}, this program reads {VERSION}")]
    Version(u32),
}

impl StoredDocument {
    /// The stored form of a document.
    pub fn of(document: &Document) -> Self {
        Self {
            version: VERSION,
            file: document.file.to_string(),
            first_line: document.first_line,
            order: document.age.order,
            text: document.text.to_string(),
        }
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers under string keys are JSON")
    }

    /// From bytes.
    ///
    /// # Errors
    /// When another program, or another version of this one, wrote them.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoredDocumentError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(StoredDocumentError::Version(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

/// Where a document is stored.
pub(super) fn path(key: &DocumentKey) -> String {
    format!("{PREFIX}{}/{}/{}", segment(key.kind), key.namespace, key.name)
}

/// Not always the name that documents write, because two kinds of different groups share one.
fn segment(kind: Kind) -> &'static str {
    match kind {
        Kind::KubernetesGateway => "KubernetesGateway",
        kind => kind.name(),
    }
}
