//! Files that nobody but their owner can read, replaced whole or not at all.
//!
//! Keys, tokens and saved configuration all go through here, so that the rules stand in one place: directories 0700,
//! files 0600, no following of links, a bound on what is read, and a replacement that a crash at any moment leaves either
//! old or new.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Makes a directory (and missing parents) that only its owner can enter; one that exists must be so already.
///
/// # Errors
/// When it cannot be made, is no directory, or is open to others.
pub fn prepare_directory(path: &Path) -> Result<(), OwnerOnlyError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
    let metadata = fs::symlink_metadata(path).map_err(failed("examine", path))?;
    if !metadata.is_dir() {
        return Err(OwnerOnlyError::Kind { path: path.into(), wanted: "a directory" });
    }
    check_mode(path, metadata.mode())
}

/// Takes a file away from everybody but its owner; a link is left alone, for what it leads to is not ours.
///
/// # Errors
/// When its mode cannot be changed.
pub fn restrict(path: &Path) -> Result<(), OwnerOnlyError> {
    let metadata = fs::symlink_metadata(path).map_err(failed("examine", path))?;
    if !metadata.is_file() {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("restrict", path))
}

/// Reads a whole file; `None` when there is none.
///
/// # Errors
/// When it is no regular file, open to others, larger than `bytes_max`, or unreadable.
pub fn read(path: &Path, bytes_max: usize) -> Result<Option<Vec<u8>>, OwnerOnlyError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.map_err(failed("examine", path))?,
    };
    if !metadata.is_file() {
        return Err(OwnerOnlyError::Kind { path: path.into(), wanted: "a regular file" });
    }
    check_mode(path, metadata.mode())?;
    let file = File::open(path).map_err(failed("open", path))?;
    // A link or another file put there since the examination is another inode.
    let opened = file.metadata().map_err(failed("examine", path))?;
    if (opened.dev(), opened.ino()) != (metadata.dev(), metadata.ino()) {
        return Err(OwnerOnlyError::Kind { path: path.into(), wanted: "what it was a moment ago" });
    }
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
    if bytes.len() > bytes_max {
        return Err(OwnerOnlyError::TooLarge { path: path.into(), bytes_max });
    }
    Ok(Some(bytes))
}

/// Puts `bytes` in the place of whatever `path` held. It is on disk when this returns.
///
/// # Errors
/// When it cannot be written; what was there before is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), OwnerOnlyError> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(OwnerOnlyError::Kind { path: path.into(), wanted: "a file in a directory" });
    };
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".new");
    let temporary = directory.join(temporary_name);
    // What a crash left behind may have any mode: begin with a file of our own.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", &temporary)(error));
        }
        _ => {}
    }
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed("sync", directory))
}

/// Why a file or directory could not be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum OwnerOnlyError {
    #[error("cannot {action} {}: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is not {wanted}", path.display())]
    Kind { path: PathBuf, wanted: &'static str },
    #[error("{} is open to others (mode {mode:04o}); take that away with `chmod go-rwx`", path.display())]
    TooOpen { path: PathBuf, mode: u32 },
    #[error("{} has more than {bytes_max} bytes", path.display())]
    TooLarge { path: PathBuf, bytes_max: usize },
}

fn check_mode(path: &Path, mode: u32) -> Result<(), OwnerOnlyError> {
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(OwnerOnlyError::TooOpen { path: path.into(), mode: mode & 0o7777 }),
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OwnerOnlyError {
    move |source| OwnerOnlyError::Io { action, path: path.into(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_written_is_read_and_only_the_owner_may() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("a/b");
        prepare_directory(&directory).unwrap();
        prepare_directory(&directory).unwrap();
        let file = directory.join("key");
        assert_eq!(read(&file, 10).unwrap(), None);
        replace(&file, b"one").unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(read(&file, 3).unwrap().unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    }

    #[test]
    fn the_leftover_of_a_crash_is_in_nobodys_way() {
        let scratch = tempfile::tempdir().unwrap();
        let leftover = scratch.path().join(".key.new");
        fs::write(&leftover, "half").unwrap();
        set_mode(&leftover, 0o644);
        let file = scratch.path().join("key");
        replace(&file, b"whole").unwrap();
        assert_eq!(read(&file, 10).unwrap().unwrap(), b"whole");
    }

    #[test]
    fn what_others_could_have_read_or_put_there_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("key");
        replace(&file, b"secret").unwrap();
        let link = scratch.path().join("link");
        symlink(&file, &link).unwrap();
        assert!(matches!(read(&link, 10), Err(OwnerOnlyError::Kind { .. })));
        assert!(matches!(read(scratch.path(), 10), Err(OwnerOnlyError::Kind { .. })));
        assert!(matches!(read(&file, 5), Err(OwnerOnlyError::TooLarge { .. })));
        set_mode(&file, 0o640);
        assert!(matches!(read(&file, 10), Err(OwnerOnlyError::TooOpen { mode: 0o640, .. })));

        let open = scratch.path().join("open");
        fs::create_dir(&open).unwrap();
        set_mode(&open, 0o755);
        assert!(matches!(prepare_directory(&open), Err(OwnerOnlyError::TooOpen { .. })));
        assert!(matches!(prepare_directory(&file), Err(OwnerOnlyError::Io { .. })));
    }
}
