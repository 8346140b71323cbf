//! `mesh validate`: what is wrong with documents, without a server.

use clap::Args;

use super::files::Files;
use super::{Exit, Failure, Format, output};
use crate::validate::{self, ExitStatus};

/// Say what is wrong with documents; needs no server
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh validate -f virtual-service.yaml -f destination-rules/ -o json")]
pub(super) struct Arguments {
    #[command(flatten)]
    files: Files,
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let format = match arguments.output {
        Format::Table => validate::Format::Text,
        Format::Json => validate::Format::Json,
        Format::Yaml => return Err(Failure::Usage("validate prints table or json".into())),
    };
    let (text, status) = validate::run(&arguments.files.sources()?, format);
    output::print(text)?;
    Ok(match status {
        ExitStatus::Fine => Exit::Fine,
        ExitStatus::Refused => Exit::Failed,
        ExitStatus::Warnings => Exit::Findings,
    })
}
