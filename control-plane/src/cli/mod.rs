//! The command line `mesh`: one file per command, each of them thin over the library.

mod agent;
mod allow;
mod apply;
mod change;
mod connection;
mod delete;
mod diff;
mod document_name;
mod explain;
mod files;
mod get;
mod known;
mod log;
mod made;
mod output;
#[cfg(feature = "server")]
mod serve;
mod split;
mod status;
mod table;
mod test;
mod token;
mod validate;
mod yaml;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use output::{Exit, Failure, Format};

/// A service mesh without the sidecar: control plane and command line.
#[derive(Debug, Parser)]
#[command(name = "mesh", version, before_help = EXAMPLE, disable_version_flag = true, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLE: &str = "Example:
  mesh serve &                                          # the control plane
  mesh token create --service reviews:9080              # what a service joins with (MESH_JOIN)
  mesh split reviews v1=90 v2=10                        # a canary, with no document to write
  mesh apply -f virtual-service.yaml                    # or an Istio user's own
  mesh explain GET http://reviews:9080/ --from default/productpage";

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(feature = "server")]
    Serve(serve::Arguments),
    #[command(subcommand)]
    Token(token::Command),
    Apply(apply::Arguments),
    Get(get::Arguments),
    Delete(delete::Arguments),
    Diff(diff::Arguments),
    Validate(validate::Arguments),
    Explain(explain::Arguments),
    Test(test::Arguments),
    Split(split::Arguments),
    Allow(allow::Arguments),
    Status(status::Arguments),
    Agent(agent::Arguments),
    /// Print the version
    #[command(before_help = "Example:
  mesh version")]
    Version,
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(problem) => {
            // A broken pipe behind `--help` is nobody's failure.
            let _ = problem.print();
            return if problem.use_stderr() { Exit::Usage.into() } else { Exit::Fine.into() };
        }
    };
    match cli.command.run() {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::say(format_args!("mesh: {failure}\n"));
            failure.exit().into()
        }
    }
}

impl Command {
    fn run(self) -> Result<Exit, Failure> {
        match self {
            #[cfg(feature = "server")]
            Self::Serve(arguments) => serve::run(arguments),
            Self::Token(command) => token::run(command),
            Self::Apply(arguments) => apply::run(arguments),
            Self::Get(arguments) => get::run(arguments),
            Self::Delete(arguments) => delete::run(arguments),
            Self::Diff(arguments) => diff::run(arguments),
            Self::Validate(arguments) => validate::run(&arguments),
            Self::Explain(arguments) => explain::run(&arguments),
            Self::Test(arguments) => test::run(&arguments),
            Self::Split(arguments) => split::run(arguments),
            Self::Allow(arguments) => allow::run(arguments),
            Self::Status(arguments) => status::run(&arguments),
            Self::Agent(arguments) => agent::run(arguments),
            Self::Version => {
                output::print(format_args!("mesh {}\n", env!("CARGO_PKG_VERSION")))?;
                Ok(Exit::Fine)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_help_begins_with_an_example_that_names_its_command() {
        fn walk(command: &mut clap::Command, path: &str, seen: &mut Vec<String>) {
            for help in [command.render_help(), command.render_long_help()].map(|help| help.to_string()) {
                assert!(help.starts_with("Example:\n"), "{path}: {help}");
                let example = help.split("\n\n").next().unwrap_or_default();
                assert!(example.contains(&format!(" {path}")), "{path}: {example}");
            }
            seen.push(path.to_owned());
            for below in command.get_subcommands_mut().filter(|below| below.get_name() != "help") {
                walk(below, &format!("{path} {}", below.get_name()), seen);
            }
        }
        let mut cli = Cli::command();
        cli.build();
        let mut seen = Vec::new();
        walk(&mut cli, "mesh", &mut seen);
        for path in ["mesh token revoke", "mesh version", "mesh agent"] {
            assert!(seen.iter().any(|seen| seen == path), "{path} is not among {seen:?}");
        }
    }
}
