//! Where the control plane keeps what must survive it: documents, tokens, grants, endpoints.
//!
//! The interface has etcd's shape (read at a revision, compare-and-set transaction, watch from a revision), because
//! several control planes will one day share an etcd: what cannot be said in etcd cannot be said here. Leases would be
//! one more field of [`Op::Put`]; nothing needs them while the only implementation is embedded, with one process.
//!
//! Keys are paths, so that a prefix is a folder:
//!
//! ```text
//! documents/KIND/NAMESPACE/NAME    tokens/ID    grants/SERIAL    endpoints/NAMESPACE/ACCOUNT/INSTANCE    meta/…
//! ```
//!
//! # Layout
//! `transaction` what is asked for, and its limits · `error` · `embedded` the implementation on one file.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

pub use embedded::{EmbeddedStore, OpenError, Retention};
pub use error::StoreError;
pub use transaction::{
    Compare, KEY_BYTES_MAX, Op, Outcome, TRANSACTION_BYTES_MAX, TRANSACTION_OPS_MAX, Transaction,
    VALUE_BYTES_MAX,
};

mod embedded;
mod error;
mod transaction;

/// A revisioned map from paths to values.
///
/// Every transaction that changes something takes the next revision; a revision is a state of the whole map.
pub trait Store: Send + Sync + 'static {
    /// Reads the keys that `keys` names, in order, as they were at `revision` (by default the newest).
    ///
    /// # Errors
    /// [`StoreError::Compacted`] or [`StoreError::Future`] where that revision cannot be read.
    fn range(&self, keys: Keys, revision: Option<u64>) -> BoxFuture<'_, Result<Listing, StoreError>>;

    /// Applies `transaction` wholly or not at all. When this returns [`Outcome::Committed`] the change survives the
    /// death of process and machine.
    ///
    /// # Errors
    /// [`StoreError::Limit`] and [`StoreError::DuplicateKey`] before anything is tried; [`StoreError::Backend`] leaves it
    /// unknown whether the change was made.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// Follows the keys that begin with `prefix`: all changes after `revision`, in order, whole revisions at a time.
    ///
    /// Fits onto [`Listing::revision`] without gap or overlap. The stream ends after an error; after
    /// [`StoreError::Compacted`] the follower lists anew.
    fn watch(&self, prefix: &str, revision: u64) -> BoxStream<'static, Result<Changes, StoreError>>;
}

/// Which keys are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// This key alone.
    One(String),
    /// All keys that begin so. The empty prefix is everything.
    Prefix(String),
}

impl Keys {
    /// The key `key` alone.
    pub fn one(key: impl Into<String>) -> Self {
        Self::One(key.into())
    }

    /// All keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self::Prefix(prefix.into())
    }
}

/// A key with its value, and the revisions that say how old both are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path.
    pub key: String,
    /// What was put there last.
    pub value: Bytes,
    /// When the key came to be; kept when the value is replaced, so that it is the age of a document.
    pub create_revision: u64,
    /// When the value was put; what [`Compare::unchanged`] is held against.
    pub mod_revision: u64,
}

/// What a range held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// In the order of their keys.
    pub entries: Vec<Entry>,
    /// The revision that was read; a watch continues from it.
    pub revision: u64,
}

/// What happened to watched keys, up to and including one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// In the order of their revisions; never empty.
    pub events: Vec<Event>,
    /// Everything watched up to here has been told; a new watch may continue from it.
    pub revision: u64,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was created or replaced.
    Put(Entry),
    /// The key was removed.
    Delete {
        /// The path.
        key: String,
        /// When.
        revision: u64,
    },
}
