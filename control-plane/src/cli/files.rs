//! `-f FILE|DIR|-`: the sources that a command reads.

use clap::Args;

use super::Failure;
use crate::admin::proto;
use crate::document::Source;
use crate::validate::read_sources;

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
        read_sources(&self.paths, std::io::stdin()).map_err(|problem| Failure::Refused(problem.to_string()))
    }

    /// Reads them all, as the control plane takes them.
    pub(super) fn read(&self) -> Result<Vec<proto::Source>, Failure> {
        let sources = self.sources()?;
        Ok(sources.into_iter().map(|source| proto::Source { file: source.file, text: source.text }).collect())
    }
}
