//! What `-f` names: files, directories and standard input.
//!
//! A directory is each of its YAML and JSON files as one `-f`, by name, so that the order does not hang on the file
//! system. Sizes are checked before anything is read into memory.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::document::{SOURCE_BYTES_MAX, Source};

/// A directory holds at most this many files that are read.
pub const DIRECTORY_FILES_MAX: usize = 10_000;

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The file system, or standard input, says no.
    #[error("cannot read {path}: {source}; check the path given with -f")]
    Unreadable {
        /// What was to be read.
        path: String,
        /// Why it cannot be.
        source: io::Error,
    },
    /// `-` twice: what is read once is not there a second time.
    #[error("standard input (`-`) can be read once only; name the others as files")]
    StandardInputTwice,
    /// There is more than is read.
    #[error("{path} has more than {SOURCE_BYTES_MAX} bytes; split it")]
    TooLarge {
        /// What was to be read.
        path: String,
    },
    /// A directory has more than is read.
    #[error("{path} has more than {DIRECTORY_FILES_MAX} files; give a narrower directory")]
    TooMany {
        /// The directory.
        path: String,
    },
    /// A directory has nothing to read.
    #[error("{path} has no .yaml, .yml or .json file; check the path given with -f")]
    Nothing {
        /// The directory.
        path: String,
    },
}

/// Reads what `-f` names, in order. `-` is `standard_input`.
///
/// # Errors
///
/// If something is not there, is larger than is read, or `-` is named twice.
pub fn read_sources(paths: &[String], mut standard_input: impl Read) -> Result<Vec<Source>, SourceError> {
    if paths.iter().filter(|path| *path == "-").count() > 1 {
        return Err(SourceError::StandardInputTwice);
    }
    let mut sources = Vec::new();
    for path in paths {
        if path == "-" {
            sources.push(Source::file("-", read_limited(&mut standard_input, "-")?));
        } else if Path::new(path).is_dir() {
            for file in directory(path)? {
                sources.push(read_file(&file)?);
            }
        } else {
            sources.push(read_file(Path::new(path))?);
        }
    }
    Ok(sources)
}

fn read_file(path: &Path) -> Result<Source, SourceError> {
    let name = path.display().to_string();
    let file =
        fs::File::open(path).map_err(|source| SourceError::Unreadable { path: name.clone(), source })?;
    let text = read_limited(file, &name)?;
    Ok(Source::file(name, text))
}

fn read_limited(reader: impl Read, path: &str) -> Result<String, SourceError> {
    let mut bytes = Vec::new();
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    reader.take(SOURCE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > SOURCE_BYTES_MAX {
        return Err(SourceError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| unreadable(io::Error::new(io::ErrorKind::InvalidData, error)))
}

fn directory(path: &str) -> Result<Vec<PathBuf>, SourceError> {
    let unreadable = |source| SourceError::Unreadable { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let extension = file.extension().and_then(|extension| extension.to_str());
        if !matches!(extension, Some("yaml" | "yml" | "json")) || !file.is_file() {
            continue;
        }
        if files.len() == DIRECTORY_FILES_MAX {
            return Err(SourceError::TooMany { path: path.to_owned() });
        }
        files.push(file);
    }
    if files.is_empty() {
        return Err(SourceError::Nothing { path: path.to_owned() });
    }
    files.sort();
    Ok(files)
}
