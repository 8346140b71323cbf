//! `mesh allow`: who may call what, with no document to write.

use clap::Args;

use super::change::ChangeArguments;
use super::known::{self, Known};
use super::made::{self, Made};
use super::{Exit, Failure};
use crate::simple::Allow;

/// Let one workload call another: writes the AuthorizationPolicy, prints it, applies it
///
/// Once a service has one such rule, whatever no rule allows is denied there, and in all that the same process serves.
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
    let known = Known::read(&arguments.change.connection)?;
    let host = allow.host();
    let allow = match known.selector(&host) {
        Some(selector) => allow.selecting(selector),
        None => allow,
    };
    let made = Made { by: "mesh allow", documents: vec![allow.document()], yaml: allow.to_yaml() };
    let exit = made::apply(made, &arguments.change)?;
    let warnings = [
        known.unknown_service(&host),
        known.unguarded(&host, allow.selector()),
        known.unknown_caller(allow.principal()),
    ];
    Ok(known::warn(exit, warnings.into_iter().flatten()))
}
