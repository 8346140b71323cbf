//! The one thread that writes: it takes all transactions that wait, writes them in order, and pays for one fsync.
//!
//! Each transaction is its own revision and sees those before it, so that batching changes no meaning; only the moment
//! at which they are acknowledged is shared.

use std::sync::Arc;

use redb::{Database, ReadableTable};
use tokio::sync::{mpsc, oneshot, watch};

use super::super::{Outcome, StoreError, Transaction};
use super::Retention;
use super::format::{LOG, META, META_COMPACTED, META_REVISION, VERSIONS};
use super::history::Tables;

/// Callers beyond this many wait before they are queued.
pub(super) const REQUESTS_WAITING_MAX: usize = 1024;
/// Transactions that share a commit, so that the first does not wait for an endless queue.
const BATCH_TRANSACTIONS_MAX: usize = 512;
/// Bytes that share a commit; a single transaction may be as large alone.
const BATCH_BYTES_MAX: usize = super::super::TRANSACTION_BYTES_MAX;

/// A transaction and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) transaction: Transaction,
    pub(super) answer: oneshot::Sender<Result<Outcome, StoreError>>,
}

/// What the thread owns.
pub(super) struct Writer {
    pub(super) database: Arc<Database>,
    pub(super) retention: Retention,
    pub(super) committed: watch::Sender<u64>,
}

impl Writer {
    /// Runs until every sender is gone and what they sent is written.
    pub(super) fn run(self, mut requests: mpsc::Receiver<Request>) {
        while let Some(first) = requests.blocking_recv() {
            let (transactions, answers) = gather(first, &mut requests);
            match self.write(&transactions) {
                Ok(outcomes) => {
                    for (answer, outcome) in answers.into_iter().zip(outcomes) {
                        // Whoever no longer waits does not want to know.
                        let _ = answer.send(Ok(outcome));
                    }
                }
                Err(error) => {
                    tracing::error!(%error, transactions = transactions.len(), "the store did not commit");
                    let error = StoreError::backend(error);
                    for answer in answers {
                        let _ = answer.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    fn write(&self, transactions: &[Transaction]) -> Result<Vec<Outcome>, redb::Error> {
        let mut file = self.database.begin_write()?;
        // With one phase a damaged newest commit would be taken for one that a crash cut short, and rolled back in
        // silence, though it was acknowledged.
        file.set_two_phase_commit(true);
        let mut meta = file.open_table(META)?;
        let number = |name: &str| -> Result<u64, redb::Error> {
            let found = meta.get(name)?.map(|number| number.value());
            found.ok_or_else(|| redb::Error::Corrupted(format!("meta has no {name}")))
        };
        let (before, compacted) = (number(META_REVISION)?, number(META_COMPACTED)?);
        let mut tables =
            Tables { versions: file.open_table(VERSIONS)?, log: file.open_table(LOG)?, revision: before };
        let outcomes = transactions.iter().map(|one| tables.apply(one)).collect::<Result<Vec<_>, _>>()?;
        let revision = tables.revision;
        if revision == before {
            return Ok(outcomes);
        }
        let forgotten = revision.saturating_sub(self.retention.revisions_max);
        if forgotten > compacted {
            tables.forget(compacted, forgotten)?;
            meta.insert(META_COMPACTED, forgotten)?;
        }
        meta.insert(META_REVISION, revision)?;
        drop((tables, meta));
        file.commit()?;
        self.committed.send_replace(revision);
        Ok(outcomes)
    }
}

type Answers = Vec<oneshot::Sender<Result<Outcome, StoreError>>>;

fn gather(first: Request, requests: &mut mpsc::Receiver<Request>) -> (Vec<Transaction>, Answers) {
    let mut bytes = first.transaction.bytes();
    let mut transactions = vec![first.transaction];
    let mut answers = vec![first.answer];
    while transactions.len() < BATCH_TRANSACTIONS_MAX && bytes < BATCH_BYTES_MAX {
        let Ok(next) = requests.try_recv() else { break };
        bytes += next.transaction.bytes();
        transactions.push(next.transaction);
        answers.push(next.answer);
    }
    (transactions, answers)
}
