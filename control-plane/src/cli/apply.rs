//! `mesh apply`: documents into the mesh, all or none.

use clap::Args;

use super::change::{self, Wanted};
use super::connection::Connection;
use super::files::Files;
use super::{Exit, Failure, Format};
use crate::admin::proto::ApplyRequest;

/// Apply documents, all or none; the running mesh keeps its last good configuration where they are rejected
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh apply -f virtual-service.yaml -f destination-rules/")]
pub(super) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let wanted = if arguments.dry_run { Wanted::Preview } else { Wanted::Change };
    let request = ApplyRequest { sources: arguments.files.read()?, dry_run: arguments.dry_run };
    let response = arguments.connection.run(async move |mut client| client.apply(request).await)?;
    change::print(&response, wanted, arguments.output)
}
