//! The store on one file, for one control plane: redb underneath, etcd's revisions on top.
//!
//! Nothing is kept in memory but the number of the newest revision: ranges and watches read the file (through redb's
//! cache), so a slow watcher costs no buffer and can only fall out of the kept history, which it is told.
//!
//! # Layout
//! `format` tables, version, opening · `history` revisions over tables, pure of threads · `writer` the one thread that
//! writes, many transactions to one fsync.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};

pub use format::OpenError;

use super::{Changes, Keys, Listing, Outcome, Store, StoreError, Transaction};

mod format;
mod history;
mod writer;

#[cfg(test)]
mod tests;

/// How much of the past can be read and watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Revisions that are kept behind the newest.
    pub revisions_max: u64,
}

impl Default for Retention {
    /// Some hours of busy changes, a few megabytes.
    fn default() -> Self {
        Self { revisions_max: 10_000 }
    }
}

/// A [`Store`] on one file, which one process holds at a time.
///
/// Dropping it waits for the transactions that were already handed over.
#[derive(Debug)]
pub struct EmbeddedStore {
    database: Arc<Database>,
    newest: watch::Receiver<u64>,
    requests: Option<mpsc::Sender<writer::Request>>,
    writer: Option<JoinHandle<()>>,
}

impl EmbeddedStore {
    /// Opens the file, making it if it is not there, and checks every page of it.
    ///
    /// # Errors
    /// When another process has it open, when it is damaged, of another format or not a store at all. What it holds is
    /// then left as it was.
    pub fn open(path: &Path, retention: Retention) -> Result<Self, OpenError> {
        let (database, revision) = format::open(path)?;
        let database = Arc::new(database);
        let (committed, newest) = watch::channel(revision);
        let (requests, incoming) = mpsc::channel(writer::REQUESTS_WAITING_MAX);
        let writer = writer::Writer { database: database.clone(), retention, committed };
        let writer = std::thread::Builder::new()
            .name("mesh-store".into())
            .spawn(move || writer.run(incoming))
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Ok(Self { database, newest, requests: Some(requests), writer: Some(writer) })
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has answered nobody; there is nothing left to wait for.
            let _ = writer.join();
        }
    }
}

impl Store for EmbeddedStore {
    fn range(&self, keys: Keys, revision: Option<u64>) -> BoxFuture<'_, Result<Listing, StoreError>> {
        let database = self.database.clone();
        Box::pin(read(database, move |database| history::range(database, &keys, revision)))
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        Box::pin(async move {
            transaction.check()?;
            let requests = self.requests.as_ref().ok_or(StoreError::Closed)?;
            let (answer, answered) = oneshot::channel();
            // From here on the transaction happens even if the caller goes away, as with any server.
            let sent = requests.send(writer::Request { transaction, answer }).await;
            sent.map_err(|_| StoreError::Closed)?;
            answered.await.map_err(|_| StoreError::Closed)?
        })
    }

    fn watch(&self, prefix: &str, revision: u64) -> BoxStream<'static, Result<Changes, StoreError>> {
        let watcher = Watcher {
            database: self.database.clone(),
            newest: self.newest.clone(),
            prefix: prefix.to_owned(),
            seen: revision,
        };
        try_unfold(watcher, Watcher::next).boxed()
    }
}

/// A place in the history, and what wakes when the history goes on.
struct Watcher {
    database: Arc<Database>,
    newest: watch::Receiver<u64>,
    prefix: String,
    seen: u64,
}

impl Watcher {
    async fn next(mut self) -> Result<Option<(Changes, Self)>, StoreError> {
        loop {
            let newest = *self.newest.borrow_and_update();
            let (prefix, seen) = (self.prefix.clone(), self.seen);
            let changes =
                read(self.database.clone(), move |file| history::changes(file, &prefix, seen)).await?;
            self.seen = changes.revision;
            if !changes.events.is_empty() {
                return Ok(Some((changes, self)));
            }
            if self.seen >= newest && self.newest.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}

/// Reads off the async threads, since a page that is not cached comes from the disk.
async fn read<T: Send + 'static>(
    database: Arc<Database>,
    read: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(move || read(&database)).await.map_err(|_| StoreError::Closed)?
}
