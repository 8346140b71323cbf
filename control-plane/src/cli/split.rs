//! `mesh split`: a service's traffic divided among its versions, with no document to write.

use clap::Args;

use super::change::ChangeArguments;
use super::known::{self, Known};
use super::made::{self, Made};
use super::{Exit, Failure};
use crate::simple::{Share, Split};

/// Divide a service's traffic among its versions: writes the documents, prints them, applies them
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh split reviews v1=90 v2=10")]
pub(super) struct Arguments {
    /// The service
    service: String,
    /// VERSION=WEIGHT, where VERSION is the value of the instances' label `version`; weights are relative to their sum
    #[arg(required = true, value_name = "VERSION=WEIGHT")]
    shares: Vec<Share>,
    /// The service's namespace
    #[arg(short, long, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    change: ChangeArguments,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let split = Split::new(&arguments.namespace, &arguments.service, arguments.shares)
        .map_err(|problem| Failure::Usage(problem.to_string()))?;
    let made = Made { by: "mesh split", documents: split.documents().to_vec(), yaml: split.to_yaml() };
    let exit = made::apply(made, &arguments.change)?;
    let known = Known::read(&arguments.change.connection)?;
    let host = split.host();
    let warnings = match known.unknown_service(&host) {
        Some(warning) => vec![warning],
        None => split.versions().filter_map(|version| known.unserved_version(&host, version)).collect(),
    };
    Ok(known::warn(exit, warnings.into_iter()))
}
