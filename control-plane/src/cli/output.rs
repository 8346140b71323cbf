//! How a command ends and what it prints: exit status, output format, failures with their next step, the one way to print.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::ValueEnum;

/// The exit status of every command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, nothing to say.
    Fine,
    /// 1: failed; the reason was printed.
    Failed,
    /// 2: wrong usage.
    Usage,
    /// 3: done, with findings.
    Findings,
    /// 4: the control plane cannot be reached.
    Unreachable,
    /// The status of the command that `mesh agent` ran.
    Command(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Findings => 3,
            Exit::Unreachable => 4,
            Exit::Command(status) => status,
        })
    }
}

/// What a command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
    /// As the documents are written.
    Yaml,
}

/// Why a command ended without doing its work; says the next step.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The control plane cannot be reached.
    #[error(
        "the control plane cannot be reached: {0}; next: check that `mesh serve` runs and that the credential names its address"
    )]
    Unreachable(String),
    /// The words of the call are wrong.
    #[error("{0}")]
    Usage(String),
    /// The control plane, a file or a document refused.
    #[error("{0}")]
    Refused(String),
}

/// Prints to standard output, as it is: a line ends where the text says so. Whoever closed the pipe, as `head` does, wants no
/// more; that is nobody's failure.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    // Whole, so that it is one write and not one per line.
    let text = text.to_string();
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(problem) if problem.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Refused(format!("standard output cannot be written: {problem}")))
        }
        _ => Ok(()),
    }
}

/// Prints to standard error, where nobody is owed anything if that cannot be written.
pub(super) fn say(text: impl Display) {
    let _ = write!(io::stderr(), "{text}");
}

impl Failure {
    /// What was asked was refused, or could not be done.
    pub(super) fn refused(problem: impl Display) -> Self {
        Self::Refused(problem.to_string())
    }

    /// The exit status that belongs to it.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Unreachable(_) => Exit::Unreachable,
            Self::Usage(_) => Exit::Usage,
            Self::Refused(_) => Exit::Failed,
        }
    }
}
