//! Revisions over tables: reading the map as it was, telling what changed, writing the next revision, forgetting old ones.
//!
//! Plain functions over redb's transactions. Whoever calls them decides when to commit.

use bytes::Bytes;
use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable, Table};

use super::super::transaction::{Op, Outcome, Transaction};
use super::super::{Changes, Entry, Event, Keys, Listing, StoreError};
use super::format::{LOG, META, META_COMPACTED, META_REVISION, VERSIONS, VersionKey, VersionValue};

/// A watcher takes at most about this many events at once; the rest comes with its next turn.
const EVENTS_MAX: usize = 4096;

/// A key as one revision left it. `value` is none where that revision removed it.
struct Version {
    revision: u64,
    created: u64,
    value: Option<Bytes>,
}

impl Version {
    fn entry(self, key: &str) -> Option<Entry> {
        let Self { revision: mod_revision, created: create_revision, value } = self;
        value.map(|value| Entry { key: key.to_owned(), value, create_revision, mod_revision })
    }
}

/// The revisions between which history can be read.
struct Span {
    compacted: u64,
    newest: u64,
}

impl Span {
    fn read(transaction: &ReadTransaction) -> Result<Self, redb::Error> {
        let meta = transaction.open_table(META)?;
        let number = |name| -> Result<u64, redb::Error> {
            let found = meta.get(name)?.map(|number| number.value());
            found.ok_or_else(|| redb::Error::Corrupted(format!("meta has no {name}")))
        };
        Ok(Self { compacted: number(META_COMPACTED)?, newest: number(META_REVISION)? })
    }

    fn check(&self, requested: u64) -> Result<(), StoreError> {
        if requested < self.compacted {
            return Err(StoreError::Compacted { requested, oldest: self.compacted });
        }
        if requested > self.newest {
            return Err(StoreError::Future { requested, newest: self.newest });
        }
        Ok(())
    }
}

/// The entries that `keys` names, as of `revision`.
pub(super) fn range(database: &Database, keys: &Keys, revision: Option<u64>) -> Result<Listing, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::backend)?;
    let span = Span::read(&transaction).map_err(StoreError::backend)?;
    let revision = revision.unwrap_or(span.newest);
    span.check(revision)?;
    let entries = entries(&transaction, keys, revision).map_err(StoreError::backend)?;
    Ok(Listing { entries, revision })
}

fn entries(transaction: &ReadTransaction, keys: &Keys, revision: u64) -> Result<Vec<Entry>, redb::Error> {
    let versions = transaction.open_table(VERSIONS)?;
    let prefix = match keys {
        Keys::One(key) => {
            return Ok(latest(&versions, key, revision)?
                .and_then(|found| found.entry(key))
                .into_iter()
                .collect());
        }
        Keys::Prefix(prefix) => prefix.as_str(),
    };
    let mut entries = Vec::new();
    let mut candidate: Option<(String, Version)> = None;
    for row in versions.range((prefix, 0)..)? {
        let (at, version) = row?;
        let (key, version_revision) = at.value();
        if !key.starts_with(prefix) {
            break;
        }
        if version_revision > revision {
            continue;
        }
        let (created, value) = version.value();
        let version =
            Version { revision: version_revision, created, value: value.map(Bytes::copy_from_slice) };
        match &mut candidate {
            Some((name, newest)) if name.as_str() == key => *newest = version,
            _ => {
                let next = (key.to_owned(), version);
                entries.extend(candidate.replace(next).and_then(|(name, newest)| newest.entry(&name)));
            }
        }
    }
    entries.extend(candidate.and_then(|(name, newest)| newest.entry(&name)));
    Ok(entries)
}

fn latest(
    versions: &impl ReadableTable<VersionKey, VersionValue>,
    key: &str,
    revision: u64,
) -> Result<Option<Version>, redb::Error> {
    let Some(row) = versions.range((key, 0)..=(key, revision))?.next_back() else { return Ok(None) };
    let (at, version) = row?;
    let (created, value) = version.value();
    Ok(Some(Version { revision: at.value().1, created, value: value.map(Bytes::copy_from_slice) }))
}

/// What changed under `prefix` after the revision `seen`, whole revisions at a time.
pub(super) fn changes(database: &Database, prefix: &str, seen: u64) -> Result<Changes, StoreError> {
    let transaction = database.begin_read().map_err(StoreError::backend)?;
    let span = Span::read(&transaction).map_err(StoreError::backend)?;
    span.check(seen)?;
    events(&transaction, prefix, seen, span.newest).map_err(StoreError::backend)
}

fn events(
    transaction: &ReadTransaction,
    prefix: &str,
    seen: u64,
    newest: u64,
) -> Result<Changes, redb::Error> {
    let versions = transaction.open_table(VERSIONS)?;
    let log = transaction.open_table(LOG)?;
    let mut events = Vec::new();
    let mut told = seen;
    for row in log.range((seen + 1, 0)..=(newest, u32::MAX))? {
        let (at, key) = row?;
        let (revision, _) = at.value();
        if revision != told && events.len() >= EVENTS_MAX {
            return Ok(Changes { events, revision: told });
        }
        told = revision;
        let key = key.value();
        if !key.starts_with(prefix) {
            continue;
        }
        let version = latest(&versions, key, revision)?;
        events.push(match version.and_then(|version| version.entry(key)) {
            Some(entry) => Event::Put(entry),
            None => Event::Delete { key: key.to_owned(), revision },
        });
    }
    Ok(Changes { events, revision: newest })
}

/// The tables as one write transaction has them open, with the newest revision that is not yet written down.
pub(super) struct Tables<'t> {
    pub(super) versions: Table<'t, VersionKey, VersionValue>,
    pub(super) log: Table<'t, (u64, u32), &'static str>,
    pub(super) revision: u64,
}

impl Tables<'_> {
    /// Makes `transaction` the next revision, unless a condition fails or nothing would change.
    pub(super) fn apply(&mut self, transaction: &Transaction) -> Result<Outcome, redb::Error> {
        for compare in transaction.compares() {
            let found = latest(&self.versions, &compare.key, self.revision)?;
            let present = found.filter(|version| version.value.is_some());
            if present.map_or(0, |version| version.revision) != compare.mod_revision {
                return Ok(Outcome::Conflict { key: compare.key.clone() });
            }
        }
        let next = self.revision + 1;
        let mut changed = 0;
        for op in transaction.ops() {
            let found = latest(&self.versions, op.key(), self.revision)?;
            let created = found.filter(|version| version.value.is_some()).map(|version| version.created);
            match (op, created) {
                (Op::Delete { .. }, None) => continue,
                (Op::Delete { key }, Some(created)) => {
                    self.versions.insert((key.as_str(), next), (created, None))?;
                }
                (Op::Put { key, value }, created) => {
                    let version = (created.unwrap_or(next), Some(value.as_ref()));
                    self.versions.insert((key.as_str(), next), version)?;
                }
            }
            self.log.insert((next, changed), op.key())?;
            changed += 1;
        }
        if changed > 0 {
            self.revision = next;
        }
        Ok(Outcome::Committed { revision: self.revision })
    }

    /// Forgets what only revisions before `to` need; `from` is how far that was done already.
    pub(super) fn forget(&mut self, from: u64, to: u64) -> Result<(), redb::Error> {
        let mut passed: Vec<(u64, u32, String)> = Vec::new();
        for row in self.log.range((from + 1, 0)..=(to, u32::MAX))? {
            let (at, key) = row?;
            passed.push((at.value().0, at.value().1, key.value().to_owned()));
        }
        for (revision, index, key) in passed {
            self.log.remove((revision, index))?;
            // At most one older version is left, because earlier rounds removed those before it.
            if let Some(older) = latest(&self.versions, &key, revision - 1)? {
                self.versions.remove((key.as_str(), older.revision))?;
            }
            let removed =
                self.versions.get((key.as_str(), revision))?.is_some_and(|found| found.value().1.is_none());
            if removed {
                self.versions.remove((key.as_str(), revision))?;
            }
        }
        Ok(())
    }
}
