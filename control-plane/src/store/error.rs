//! Why the store could not do what it was asked.
//!
//! A failed comparison is no error: it is an [`Outcome`](super::Outcome), and the caller's to resolve.

use std::sync::Arc;

/// Why a read, a transaction or a watch failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The history before `oldest` has been forgotten.
    #[error("revision {requested} is compacted, the oldest kept is {oldest}: list anew and watch from there")]
    Compacted {
        /// What was asked for.
        requested: u64,
        /// The oldest revision that can still be read.
        oldest: u64,
    },
    /// The store is younger than the caller thinks, as after it was replaced by a backup.
    #[error(
        "revision {requested} does not exist yet, the newest is {newest}: list anew and watch from there"
    )]
    Future {
        /// What was asked for.
        requested: u64,
        /// The newest revision.
        newest: u64,
    },
    /// A transaction is too large.
    #[error("{what} is {actual}, the limit is {max}: make it smaller or apply it in parts")]
    Limit {
        /// The limit that was met.
        what: &'static str,
        /// How much was asked for.
        actual: usize,
        /// How much there may be.
        max: usize,
    },
    /// One transaction names a key twice, which has no meaning.
    #[error("key {0} is written twice in one transaction")]
    DuplicateKey(String),
    /// The file failed; whether a transaction that was under way took effect is unknown.
    #[error("the store failed, check the disk and restart: {0}")]
    Backend(#[source] Arc<redb::Error>),
    /// The store is shutting down.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    pub(super) fn backend(source: impl Into<redb::Error>) -> Self {
        Self::Backend(Arc::new(source.into()))
    }
}
