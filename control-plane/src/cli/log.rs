//! What a command that runs on tells its operator: events on standard error, as much of them as `RUST_LOG` says.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Begins to print events: what `RUST_LOG` says, else what `usual` says.
pub(super) fn start(usual: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    // A log that is kept in a file or read by a collector has no use for colours.
    let colours = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours).init();
}
