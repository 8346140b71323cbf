//! `mesh delete`: documents out of the mesh, all or none.

use clap::Args;

use super::change::ChangeArguments;
use super::document_name::Selected;
use super::{Exit, Failure, files};
use crate::admin::proto::{DeleteRequest, DocumentName};

/// Delete documents, all or none; refused where what is left would not hold together
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh delete VirtualService/reviews DestinationRule/default/reviews
  mesh delete -f virtual-service.yaml                   # what was applied from there")]
pub(super) struct Arguments {
    /// KIND/NAME or KIND/NAMESPACE/NAME
    #[arg(required_unless_present = "paths")]
    documents: Vec<Selected>,
    /// Delete the documents that a file, a directory (each file in it) or - for standard input names; may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    paths: Vec<String>,
    #[command(flatten)]
    change: ChangeArguments,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { documents, paths, change } = arguments;
    let named: Option<Vec<DocumentName>> = documents.iter().map(Selected::one).collect();
    let documents = named
        .ok_or_else(|| Failure::Usage("name each document whole: KIND/NAME or KIND/NAMESPACE/NAME".into()))?;
    let request = DeleteRequest { documents, dry_run: change.dry_run, sources: files::read(&paths)? };
    change.run(async move |mut client| client.delete(request).await)
}
