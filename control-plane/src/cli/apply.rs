//! `mesh apply`: documents into the mesh, all or none.

use clap::Args;

use super::change::ChangeArguments;
use super::files::Files;
use super::{Exit, Failure};
use crate::admin::proto::ApplyRequest;

/// Apply documents, all or none; the running mesh keeps its last good configuration where they are rejected
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh apply -f virtual-service.yaml -f destination-rules/")]
pub(super) struct Arguments {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    change: ChangeArguments,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { files, change } = arguments;
    let request = ApplyRequest { sources: files.read()?, dry_run: change.dry_run };
    change.run(async move |mut client| client.apply(request).await)
}
