//! The control plane as it runs: one TLS port for everything that needs an identity, one plain port for what needs none.
//!
//! ```text
//!   TLS ─► acceptor ─► Peer (certificate, grant) ─┬─► xDS                 workloads
//!                                                 ├─► certificates        workloads, or a join token
//!                                                 ├─► registration        workloads
//!                                                 └─► administration      administrators
//!   store, registry ─► pipeline ─► World ─► xDS hub
//! ```
//! # Layout
//! `options` · `server` puts it together · `acceptor` says who calls · `certificates`, `registration` gRPC services ·
//! `pipeline` documents and instances to the world · `credentials` our own certificate, the administrator's · `view`,
//! `counters`, `plain` what is told about it · `signal` when it ends.

use std::io::Write;

mod acceptor;
mod certificates;
mod counters;
mod credentials;
mod options;
mod pipeline;
mod plain;
mod registration;
mod server;
mod signal;
mod view;

#[cfg(test)]
mod tests;

pub use options::Options;
pub use server::{ServeError, Server};
pub use signal::termination;

/// Runs a control plane until the process is told to end, and prints where it serves.
///
/// # Errors
/// Names what could not be opened, and the next step.
pub async fn serve(options: Options) -> Result<(), ServeError> {
    let server = Server::start(options).await?;
    // Whoever waits for the line reads it; without a reader it is serving all the same.
    let _ = writeln!(std::io::stdout(), "mesh: serving listen={} plain={}", server.address(), server.plain());
    server.run(termination()).await
}
