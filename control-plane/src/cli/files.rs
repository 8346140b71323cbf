//! `-f FILE|DIR|-`: the sources that a command reads.

use clap::Args;

use super::Failure;
use crate::admin::proto;
use crate::document::Source;
use crate::validate::{SourceError, read_sources};

/// The documents that a command is given.
#[derive(Debug, Args)]
pub(super) struct Files {
    /// A file, a directory (each file in it, by name), or - for standard input; may be repeated
    #[arg(short = 'f', long = "file", required = true, value_name = "FILE")]
    paths: Vec<String>,
}

impl Files {
    /// Reads them all.
    pub(super) fn sources(&self) -> Result<Vec<Source>, Failure> {
        sources(&self.paths)
    }

    /// Reads them all, as the control plane takes them.
    pub(super) fn read(&self) -> Result<Vec<proto::Source>, Failure> {
        read(&self.paths)
    }
}

/// Reads paths that are optional elsewhere, as the control plane takes them.
pub(super) fn read(paths: &[String]) -> Result<Vec<proto::Source>, Failure> {
    let on_the_wire = |source: Source| proto::Source { file: source.file, text: source.text };
    Ok(sources(paths)?.into_iter().map(on_the_wire).collect())
}

/// Reads paths that are optional elsewhere.
pub(super) fn sources(paths: &[String]) -> Result<Vec<Source>, Failure> {
    read_sources(paths, std::io::stdin()).map_err(|problem| match problem {
        SourceError::StandardInputTwice => Failure::Usage(problem.to_string()),
        problem => Failure::Refused(problem.to_string()),
    })
}
