//! `mesh validate`: what is wrong with documents, without a server.

use clap::Args;

use super::files::Files;
use super::yaml::to_yaml;
use super::{Exit, Failure, Format, output};
use crate::document::Verdict;
use crate::validate;

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
    let reading = validate::judge(&arguments.files.sources()?);
    let json = || validate::json(&reading.reports);
    output::print(match arguments.output {
        Format::Table => validate::text(&reading),
        Format::Json => json(),
        Format::Yaml => to_yaml(&serde_json::from_str(&json()).map_err(Failure::refused)?),
    })?;
    Ok(reading.verdict().into())
}

impl From<Verdict> for Exit {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid => Self::Fine,
            Verdict::Warning => Self::Findings,
            Verdict::Unsupported | Verdict::Invalid => Self::Failed,
        }
    }
}
