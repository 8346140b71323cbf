//! `mesh diff`: what `apply` would change.

use clap::Args;

use super::change::{self, Wanted};
use super::connection::Connection;
use super::files::Files;
use super::{Exit, Failure, Format};
use crate::admin::proto::ApplyRequest;

/// Show what applying documents would change
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh diff -f virtual-service.yaml")]
pub(super) struct Arguments {
    #[command(flatten)]
    files: Files,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let request = ApplyRequest { sources: arguments.files.read()?, dry_run: true };
    let response = arguments.connection.run(async move |mut client| client.apply(request).await)?;
    change::print(&response, Wanted::Preview, arguments.output)
}
