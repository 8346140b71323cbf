//! Applying what `mesh split` and `mesh allow` wrote: printed first, and never over somebody else's document.

use super::change::{self, ChangeArguments};
use super::document_name::Selected;
use super::{Exit, Failure, Format, output};
use crate::admin::proto::{ApplyRequest, ChangeResponse, Source};
use crate::admin::{Client, ClientError};
use crate::simple::is_made_here;

/// Documents that a command wrote.
pub(super) struct Made {
    /// Which command.
    pub(super) by: &'static str,
    /// Their names, `Kind/namespace/name`.
    pub(super) documents: Vec<String>,
    /// Their text.
    pub(super) yaml: String,
}

enum Outcome {
    Foreign(String),
    Answered(ChangeResponse),
}

/// Prints the documents and applies them.
pub(super) fn apply(made: Made, arguments: &ChangeArguments) -> Result<Exit, Failure> {
    let (dry_run, format) = (arguments.dry_run, arguments.output);
    if format != Format::Json {
        output::print(&made.yaml)?;
    }
    let by = made.by;
    let outcome = arguments.connection.run(async move |client| converse(client, made, dry_run).await)?;
    match outcome {
        Outcome::Foreign(document) => Err(Failure::Refused(format!(
            "{document} is stored and was not written by `{by}`; change it by `mesh apply`, or delete it first"
        ))),
        // As YAML the documents have just been printed.
        Outcome::Answered(response) => {
            let format = if format == Format::Yaml { Format::Table } else { format };
            change::print(&response, arguments.wanted(), format)
        }
    }
}

async fn converse(mut client: Client, made: Made, dry_run: bool) -> Result<Outcome, ClientError> {
    for document in made.documents {
        let Ok(selected) = document.parse::<Selected>() else { continue };
        let stored = client.list(selected.list()).await?.documents;
        if stored.iter().any(|stored| !is_made_here(&stored.text)) {
            return Ok(Outcome::Foreign(document));
        }
    }
    let source = Source { file: made.by.replace(' ', "-") + ".yaml", text: made.yaml };
    Ok(Outcome::Answered(client.apply(ApplyRequest { sources: vec![source], dry_run }).await?))
}
