//! `mesh allow`: who may call what, with no document to write.

use clap::Args;

use super::change::ChangeArguments;
use super::made::{self, Made};
use super::{Exit, Failure};
use crate::simple::Allow;

/// Let one workload call another: writes the AuthorizationPolicy, prints it, applies it
///
/// Once a service has one such rule, whatever no rule allows is denied there.
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh allow productpage reviews GET '/reviews/*'")]
pub(super) struct Arguments {
    /// The caller's service account, NAME or NAMESPACE/NAME
    from: String,
    /// The service called, NAME or NAMESPACE/NAME
    to: String,
    /// GET, POST, … or `*`
    method: String,
    /// A path, with `*` at its end for a prefix, or `*`
    path: String,
    #[command(flatten)]
    change: ChangeArguments,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { from, to, method, path, .. } = &arguments;
    let trust_domain = arguments.change.connection.credential()?.trust_domain;
    let allow = Allow::new(&trust_domain, from, to, method, path)
        .map_err(|problem| Failure::Usage(problem.to_string()))?;
    let made = Made { by: "mesh allow", documents: vec![allow.document()], yaml: allow.to_yaml() };
    made::apply(made, &arguments.change)
}
