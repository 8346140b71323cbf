//! `mesh validate`: what is wrong with documents, without a server.

use clap::Args;

use super::files::Files;
use super::yaml::to_yaml;
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
        Format::Json | Format::Yaml => validate::Format::Json,
    };
    let (mut text, status) = validate::run(&arguments.files.sources()?, format);
    if arguments.output == Format::Yaml {
        let value = serde_json::from_str(&text).map_err(|problem| Failure::Refused(problem.to_string()))?;
        text = to_yaml(&value);
    }
    output::print(text)?;
    Ok(match status {
        ExitStatus::Fine => Exit::Fine,
        ExitStatus::Refused => Exit::Failed,
        ExitStatus::Warnings => Exit::Findings,
    })
}
