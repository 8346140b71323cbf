//! `mesh delete`: documents out of the mesh, all or none.

use clap::Args;

use super::change::{self, Wanted};
use super::connection::Connection;
use super::document_name::Selected;
use super::{Exit, Failure, Format};
use crate::admin::proto::{DeleteRequest, DocumentName};

/// Delete documents, all or none; refused where what is left would not hold together
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh delete VirtualService/reviews DestinationRule/default/reviews")]
pub(super) struct Arguments {
    /// KIND/NAME or KIND/NAMESPACE/NAME
    #[arg(required = true)]
    documents: Vec<Selected>,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let named: Option<Vec<DocumentName>> = arguments.documents.iter().map(Selected::one).collect();
    let documents = named
        .ok_or_else(|| Failure::Usage("name each document whole: KIND/NAME or KIND/NAMESPACE/NAME".into()))?;
    let wanted = if arguments.dry_run { Wanted::Preview } else { Wanted::Change };
    let request = DeleteRequest { documents, dry_run: arguments.dry_run };
    let response = arguments.connection.run(async move |mut client| client.delete(request).await)?;
    change::print(&response, wanted, arguments.output)
}
