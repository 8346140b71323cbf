//! `mesh get`: the stored documents.

use clap::Args;
use serde_json::json;

use super::change::full_name;
use super::connection::Connection;
use super::document_name::Selected;
use super::table::Table;
use super::{Exit, Failure, Format, output};
use crate::admin::proto::{Document, ListRequest};

/// Show stored documents
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh get VirtualService/reviews -o yaml")]
pub(super) struct Arguments {
    /// KIND, KIND/NAME or KIND/NAMESPACE/NAME; all documents without it
    document: Option<Selected>,
    /// Of this namespace only
    #[arg(short, long)]
    namespace: Option<String>,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let namespace = arguments.namespace;
    let document = match (arguments.document, &namespace) {
        (Some(selected), Some(namespace)) => Some(selected.within(namespace).map_err(Failure::Usage)?),
        (selected, _) => selected,
    };
    let request = match &document {
        Some(selected) => selected.list(),
        None => ListRequest { namespace: namespace.unwrap_or_default(), ..ListRequest::default() },
    };
    let response = arguments.connection.run(async move |mut client| client.list(request).await)?;
    let missing = document.as_ref().and_then(Selected::one).filter(|_| response.documents.is_empty());
    if let Some(name) = missing {
        return Err(Failure::Refused(format!(
            "{} is not stored; `mesh get` lists what is",
            full_name(&name)
        )));
    }
    print(&response.documents, arguments.output)?;
    Ok(Exit::Fine)
}

fn print(documents: &[Document], format: Format) -> Result<(), Failure> {
    let named = || documents.iter().map(|document| (document.document.clone().unwrap_or_default(), document));
    match format {
        Format::Yaml => {
            let texts = documents.iter().map(|document| format!("---\n{}\n", document.text.trim_end()));
            output::print(texts.collect::<String>())
        }
        Format::Json => {
            let rows: Vec<_> = named()
                .map(|(name, document)| {
                    json!({
                        "document": full_name(&name),
                        "at": document.at,
                        "text": document.text,
                        "created": document.create_revision,
                        "changed": document.mod_revision,
                    })
                })
                .collect();
            let text = serde_json::to_string_pretty(&rows).map_err(Failure::refused)?;
            output::print(format_args!("{text}\n"))
        }
        Format::Table => {
            let mut table = Table::new(["KIND", "NAMESPACE", "NAME", "FROM", "REVISION"]);
            for (name, document) in named() {
                table.row([
                    name.kind,
                    name.namespace,
                    name.name,
                    document.at.clone(),
                    document.mod_revision.to_string(),
                ]);
            }
            output::print(table)
        }
    }
}
