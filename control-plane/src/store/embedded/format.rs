//! The file: its tables, its format version, and the refusal of every file that is not ours to read.
//!
//! ```text
//! meta      "format" → 1 · "revision" → newest · "compacted" → oldest that can be read
//! versions  (key, revision) → (created at, value or none: removed)
//! log       (revision, n)   → the n-th key that the revision changed
//! ```
//! A value is stored once, under the revision that put it; the newest version of a key is the last one of its range.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, DatabaseError, ReadableTable, StorageError, TableDefinition, TableHandle};

/// What this program writes and the only thing it reads; raise it with any change of the tables' meaning.
pub(super) const FORMAT: u64 = 1;

/// A path, and the revision that wrote it.
pub(super) type VersionKey = (&'static str, u64);
/// The revision that created the key, and the value; none where the key was removed.
pub(super) type VersionValue = (u64, Option<&'static [u8]>);

pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("proxyless.mesh/meta");
pub(super) const VERSIONS: TableDefinition<'_, VersionKey, VersionValue> =
    TableDefinition::new("proxyless.mesh/versions");
pub(super) const LOG: TableDefinition<'_, (u64, u32), &str> = TableDefinition::new("proxyless.mesh/log");

pub(super) const META_FORMAT: &str = "format";
pub(super) const META_REVISION: &str = "revision";
pub(super) const META_COMPACTED: &str = "compacted";

/// A mesh's configuration is megabytes; redb's own default would be a gigabyte.
const CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why the file is not used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read or made.
    #[error("{}: {source}", path.display())]
    Io {
        /// The store's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// One process at a time.
    #[error("{} is open in another process: is a control plane running already?", .0.display())]
    InUse(PathBuf),
    /// The bytes are not what was written.
    #[error("{} is damaged ({reason}): put a backup in its place, or move it away to begin anew", path.display())]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A good file of another program.
    #[error("{} is no store of this mesh: choose another data directory", .0.display())]
    Foreign(PathBuf),
    /// A store that an older or newer program wrote.
    #[error("{} has format {found}, this program reads {FORMAT}: run the version of mesh that wrote it", path.display())]
    Format {
        /// The store's file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
}

/// Opens or makes the file and says its newest revision.
pub(super) fn open(path: &Path) -> Result<(Database, u64), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    // Made here, because redb would make it readable for everybody.
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map_err(io)?;
    let database = Builder::new()
        .set_cache_size(CACHE_BYTES_MAX)
        .set_check_integrity_on_open(true)
        .create(path)
        .map_err(|error| refusal(path, error))?;
    let revision = verified(path, &database)?;
    // The name of a new file is durable only with its folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok((database, revision))
}

fn refusal(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(path),
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
            OpenError::Io { path, source }
        }
        other => OpenError::Damaged { path, reason: other.to_string() },
    }
}

/// Stamps a file that holds nothing yet; of any other, reads the stamp before anything else.
fn verified(path: &Path, database: &Database) -> Result<u64, OpenError> {
    let damaged =
        |error: redb::Error| OpenError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let transaction = database.begin_write().map_err(|error| damaged(error.into()))?;
    let names: Vec<String> = transaction
        .list_tables()
        .map_err(|error| damaged(error.into()))?
        .map(|table| table.name().to_owned())
        .collect();
    if names.is_empty() {
        stamp(transaction).map_err(damaged)?;
        return Ok(0);
    }
    if !names.iter().any(|name| name == META.name()) {
        return Err(OpenError::Foreign(path.to_owned()));
    }
    let meta = transaction.open_table(META).map_err(|error| damaged(error.into()))?;
    let number = |name| -> Result<u64, OpenError> {
        let found = meta.get(name).map_err(|error| damaged(error.into()))?.map(|number| number.value());
        found.ok_or_else(|| OpenError::Damaged {
            path: path.to_owned(),
            reason: format!("meta has no {name}"),
        })
    };
    match number(META_FORMAT)? {
        FORMAT => number(META_REVISION),
        found => Err(OpenError::Format { path: path.to_owned(), found }),
    }
}

fn stamp(transaction: redb::WriteTransaction) -> Result<(), redb::Error> {
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(META_FORMAT, FORMAT)?;
        meta.insert(META_REVISION, 0)?;
        meta.insert(META_COMPACTED, 0)?;
        transaction.open_table(VERSIONS)?;
        transaction.open_table(LOG)?;
    }
    Ok(transaction.commit()?)
}
