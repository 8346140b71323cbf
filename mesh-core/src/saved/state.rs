//! One process's saved state: a locked directory with an item per file.
//!
//! What is loaded is whole and ours, or it is not loaded: anything else is set aside under another name, for a person to
//! look at, and reported. Saving is a help and never a condition, so callers go on when it fails.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{
    envelope,
    location::{StateLocation, slot_directory},
    owner_only::{self, OwnerOnlyError},
};

/// What a process saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SavedItem {
    /// Private key, certificate chain and roots.
    Identity,
    /// The last good configuration, as it came over xDS.
    Config,
}

impl SavedItem {
    fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Config => "config",
        }
    }

    fn bytes_max(self) -> usize {
        match self {
            Self::Identity => 1 << 20,
            Self::Config => 256 << 20,
        }
    }
}

/// What was found under an item's name.
#[derive(Debug)]
pub enum Loaded {
    /// Nothing has been saved, or saving is off.
    Absent,
    /// What was saved last.
    Found(Vec<u8>),
    /// Something that may not be used; it has been set aside.
    Rejected(Rejected),
}

/// Something that was in an item's place and was not used.
#[derive(Debug, thiserror::Error)]
#[error("saved state {} was not used: {reason}; {}", path.display(), disposal(set_aside))]
pub struct Rejected {
    /// Where it was.
    pub path: PathBuf,
    /// Why it was not used.
    pub reason: String,
    /// Where it is now; `None` when it could not be moved.
    pub set_aside: Option<PathBuf>,
}

/// The saved state of one process; the lock on its directory ends with the value.
#[derive(Debug)]
pub struct SavedState {
    slot: Option<Slot>,
}

#[derive(Debug)]
struct Slot {
    directory: PathBuf,
    owner: String,
    _lock: File,
}

impl SavedState {
    /// Opens the first slot of `owner` (a membership's [`fingerprint`](crate::join::JoinString::fingerprint)) that no
    /// other process holds.
    ///
    /// # Errors
    /// When the directory cannot be made or is open to others, or every slot is taken.
    pub fn open(location: &StateLocation, owner: &str) -> Result<Self, SavedStateError> {
        let StateLocation::Directory(base) = location else {
            return Ok(Self::off());
        };
        owner_only::prepare_directory(base)?;
        for slot in 0..SLOTS_MAX {
            let directory = slot_directory(base, owner, slot);
            owner_only::prepare_directory(&directory)?;
            if let Some(lock) = try_lock(&directory.join(LOCK))? {
                return Ok(Self { slot: Some(Slot { directory, owner: owner.into(), _lock: lock }) });
            }
        }
        Err(SavedStateError::NoSlot { directory: base.join(owner) })
    }

    /// Saves nothing and finds nothing.
    pub fn off() -> Self {
        Self { slot: None }
    }

    /// Where it lies; `None` when saving is off.
    pub fn directory(&self) -> Option<&Path> {
        self.slot.as_ref().map(|slot| slot.directory.as_path())
    }

    /// Loads what was saved last, if it is whole and ours.
    pub fn load(&self, item: SavedItem) -> Loaded {
        let Some(slot) = &self.slot else {
            return Loaded::Absent;
        };
        let sealed = match owner_only::read(&slot.path(item), item.bytes_max()) {
            Ok(None) => return Loaded::Absent,
            Ok(Some(sealed)) => sealed,
            Err(error) => return Loaded::Rejected(slot.set_aside(item, error.to_string())),
        };
        match envelope::open(&slot.owner, item.name(), &sealed) {
            Ok(content) => Loaded::Found(content),
            Err(error) => Loaded::Rejected(slot.set_aside(item, error.to_string())),
        }
    }

    /// Saves `content` in place of what was saved before.
    ///
    /// # Errors
    /// When it is too large or cannot be written; what was saved before is then still there.
    pub fn store(&self, item: SavedItem, content: &[u8]) -> Result<(), SavedStateError> {
        let Some(slot) = &self.slot else {
            return Ok(());
        };
        let sealed = envelope::seal(&slot.owner, item.name(), content);
        if sealed.len() > item.bytes_max() {
            return Err(SavedStateError::TooLarge { item: item.name(), bytes_max: item.bytes_max() });
        }
        Ok(owner_only::replace(&slot.path(item), &sealed)?)
    }

    /// Sets aside an item whose content its reader cannot use; `None` when saving is off.
    pub fn reject(&self, item: SavedItem, reason: String) -> Option<Rejected> {
        self.slot.as_ref().map(|slot| slot.set_aside(item, reason))
    }
}

/// Why there is no saved state, or it could not be written.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SavedStateError {
    #[error(transparent)]
    File(#[from] OwnerOnlyError),
    #[error("cannot lock {}: {source}", path.display())]
    Lock { path: PathBuf, source: io::Error },
    #[error("{SLOTS_MAX} processes with this join string hold all slots of {}", directory.display())]
    NoSlot { directory: PathBuf },
    #[error("the {item} is larger than the {bytes_max} bytes that are saved at most")]
    TooLarge { item: &'static str, bytes_max: usize },
}

impl Slot {
    fn path(&self, item: SavedItem) -> PathBuf {
        self.directory.join(item.name())
    }

    /// Moves an item out of the way; the numbers are few, and the last one is overwritten.
    ///
    /// It may have been set aside for being open to others, and may hold the key of an SVID that is still good.
    fn set_aside(&self, item: SavedItem, reason: String) -> Rejected {
        let path = self.path(item);
        let numbered = |number| self.directory.join(format!("{}.rejected-{number}", item.name()));
        let free = (0..REJECTED_MAX).find(|number| fs::symlink_metadata(numbered(*number)).is_err());
        let target = numbered(free.unwrap_or(REJECTED_MAX - 1));
        let set_aside = fs::rename(&path, &target).is_ok().then_some(target);
        if let Some(Err(error)) = set_aside.as_deref().map(owner_only::restrict) {
            tracing::warn!(%error, "a file that was set aside stays open to others");
        }
        Rejected { path, reason, set_aside }
    }
}

const LOCK: &str = "lock";
const SLOTS_MAX: usize = 256;
const REJECTED_MAX: usize = 4;

fn try_lock(path: &Path) -> Result<Option<File>, SavedStateError> {
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    let failed = |source| SavedStateError::Lock { path: path.into(), source };
    let lock = lock.map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn disposal(set_aside: &Option<PathBuf>) -> String {
    match set_aside {
        Some(path) => format!("it was set aside as {}", path.display()),
        None => "it could not be set aside, and will be overwritten".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch() -> (tempfile::TempDir, StateLocation) {
        let scratch = tempfile::tempdir().unwrap();
        let location = StateLocation::Directory(scratch.path().join("state"));
        (scratch, location)
    }

    fn found(state: &SavedState, item: SavedItem) -> Vec<u8> {
        match state.load(item) {
            Loaded::Found(content) => content,
            other => panic!("{other:?}"),
        }
    }

    fn rejected(state: &SavedState) -> Rejected {
        match state.load(SavedItem::Config) {
            Loaded::Rejected(rejected) => rejected,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_restart_finds_what_was_saved() {
        let (_scratch, location) = scratch();
        let state = SavedState::open(&location, "me").unwrap();
        assert!(matches!(state.load(SavedItem::Identity), Loaded::Absent));
        state.store(SavedItem::Identity, b"who").unwrap();
        state.store(SavedItem::Config, b"old").unwrap();
        state.store(SavedItem::Config, b"new").unwrap();
        let directory = state.directory().unwrap().to_owned();
        drop(state);

        let state = SavedState::open(&location, "me").unwrap();
        assert_eq!(state.directory(), Some(directory.as_path()));
        assert_eq!(found(&state, SavedItem::Identity), b"who");
        assert_eq!(found(&state, SavedItem::Config), b"new");
    }

    #[test]
    fn two_processes_never_share_a_slot() {
        let (_scratch, location) = scratch();
        let first = SavedState::open(&location, "me").unwrap();
        let second = SavedState::open(&location, "me").unwrap();
        assert_ne!(first.directory(), second.directory());
        first.store(SavedItem::Config, b"first").unwrap();
        assert!(matches!(second.load(SavedItem::Config), Loaded::Absent));
        let freed = first.directory().unwrap().to_owned();
        drop(first);
        assert_eq!(SavedState::open(&location, "me").unwrap().directory(), Some(freed.as_path()));
    }

    #[test]
    fn a_damaged_foreign_or_open_file_is_set_aside_and_named() {
        let (_scratch, location) = scratch();
        let state = SavedState::open(&location, "me").unwrap();
        let path = state.directory().unwrap().join("config");
        let check = |spoil: &dyn Fn(), reason: &str| {
            state.store(SavedItem::Config, b"good").unwrap();
            spoil();
            let rejected = rejected(&state);
            assert!(rejected.reason.contains(reason), "{rejected}");
            let set_aside = rejected.set_aside.as_ref().unwrap();
            let mode = fs::metadata(set_aside).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{rejected}");
            assert!(matches!(state.load(SavedItem::Config), Loaded::Absent));
        };
        let spoil = |bytes: &[u8]| {
            fs::remove_file(&path).unwrap();
            owner_only::replace(&path, bytes).unwrap();
        };
        check(&|| spoil(b""), "no saved state");
        check(&|| spoil(b"MESHSAVE"), "damaged");
        check(&|| spoil(&envelope::seal("you", "config", b"x")), "another membership");
        check(&|| fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap(), "open to others");
        for _ in 0..10 {
            check(&|| spoil(b"again"), "no saved state");
        }
        let left = fs::read_dir(state.directory().unwrap()).unwrap().count();
        assert_eq!(left, 1 + REJECTED_MAX, "the lock and a bounded number of rejected files");
    }

    #[test]
    fn a_reader_can_reject_what_it_cannot_use() {
        let (_scratch, location) = scratch();
        let state = SavedState::open(&location, "me").unwrap();
        state.store(SavedItem::Config, b"good envelope, bad content").unwrap();
        let rejected = state.reject(SavedItem::Config, "not a snapshot".into()).unwrap();
        assert!(rejected.to_string().contains("not a snapshot"), "{rejected}");
        assert!(matches!(state.load(SavedItem::Config), Loaded::Absent));
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let (scratch, location) = scratch();
        let slot = SavedState::open(&location, "me").unwrap().directory().unwrap().to_owned();
        for directory in [slot, scratch.path().join("state")] {
            let set_mode = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
            set_mode(0o755);
            let error = SavedState::open(&location, "me").unwrap_err().to_string();
            assert!(error.contains(directory.to_str().unwrap()) && error.contains("chmod go-rwx"), "{error}");
            set_mode(0o700);
        }
    }

    #[test]
    fn switched_off_nothing_is_kept() {
        let state = SavedState::open(&StateLocation::Off, "me").unwrap();
        state.store(SavedItem::Config, b"x").unwrap();
        assert!(matches!(state.load(SavedItem::Config), Loaded::Absent));
        assert!(state.reject(SavedItem::Config, String::new()).is_none());
        assert_eq!(state.directory(), None);
    }
}
