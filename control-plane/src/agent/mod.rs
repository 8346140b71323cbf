//! `mesh agent`: lets a process of another language join. It holds the identity, keeps its files fresh, registers the
//! ports, writes the gRPC bootstrap and Envoy's secrets, and runs the command beside it.
//!
//! The agent carries no request: gRPC or Envoy speaks to the control plane and to its peers by itself, with the files written here.

mod bootstrap;
mod child;
mod files;
mod secret;
mod termination;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::Mesh;
use mesh_core::identity::IdentitySource;
use mesh_core::mesh::{Registration, ServingPort, StartError};
use rustix::process::Signal;
use tokio::time::sleep;

pub use bootstrap::Bootstrap;
pub use files::{Files, FilesError};
pub use secret::{CERTIFICATE_SECRET, CERTIFICATE_SECRET_FILE, ROOTS_SECRET, ROOTS_SECRET_FILE};
use termination::Termination;

/// What the agent is to do.
#[derive(Debug)]
pub struct Options {
    /// Where its files go.
    pub directory: PathBuf,
    /// Control-plane addresses for the bootstrap, `host:port`.
    pub servers: Vec<String>,
    /// Ports that the command listens on.
    pub ports: Vec<ServingPort>,
    /// The command; none: the agent keeps the files until it is told to stop.
    pub command: Vec<OsString>,
}

/// Why the agent ended without its command's status.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It could not join.
    #[error(transparent)]
    Join(#[from] StartError),
    /// `MESH_JOIN=off`.
    #[error(
        "MESH_JOIN is off: there is no mesh to join; set it to what `mesh token create` prints, or run the command without the agent"
    )]
    Off,
    /// A file could not be written.
    #[error("the agent's files: {0}")]
    Files(#[from] FilesError),
    /// The signals by which it is told to end cannot be listened to.
    #[error("signals cannot be listened to: {0}")]
    Signals(io::Error),
    /// The control plane does not let it register its ports.
    #[error(
        "the control plane refused to register the ports: {reason}; next: give --port as the join token grants it, or make \
         a token that grants more by `mesh token create --service NAME:PORT`"
    )]
    Refused {
        /// The control plane's.
        reason: Arc<str>,
    },
    /// The command could not be started or waited for.
    #[error("command {command:?}: {source}")]
    Command {
        /// Its name.
        command: OsString,
        /// What was met.
        source: io::Error,
    },
}

/// A member of the mesh on behalf of another process.
#[derive(Debug)]
pub struct Agent {
    // Kept until the ports are withdrawn, which takes its connection.
    _mesh: Mesh,
    identity: Arc<IdentitySource>,
    files: Files,
    registrations: Vec<Registration>,
    command: Vec<OsString>,
    termination: Termination,
}

impl Agent {
    /// Writes the files, and begins to register the ports.
    ///
    /// # Errors
    /// Where there is no identity to write or no file to write it to; each says the next step.
    pub fn start(mesh: Mesh, options: Options) -> Result<Self, AgentError> {
        let termination = Termination::listen().map_err(AgentError::Signals)?;
        let identity = mesh.identity().cloned().ok_or(AgentError::Off)?;
        let files = Files::open(&options.directory)?;
        files.write_identity(&identity.current())?;
        files.write_bootstrap(&bootstrap(&files, &identity, &options.servers))?;
        files.write_secrets()?;
        let registrations = options.ports.into_iter().map(|port| mesh.register(port)).collect();
        Ok(Self { _mesh: mesh, identity, files, registrations, command: options.command, termination })
    }

    /// What it keeps fresh.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Runs the command to its end, or waits for a signal where there is none; keeps the files fresh meanwhile, and withdraws the
    /// ports before it returns. Answers the command's exit status.
    ///
    /// # Errors
    /// Where the command does not start, the files cannot be kept or the ports are refused; each says the next step.
    pub async fn run(mut self) -> Result<Option<ExitStatus>, AgentError> {
        let ended = self.until_ended().await;
        // One word to the control plane withdraws them all; the last waits for its answer, though not long.
        let last = self.registrations.pop();
        self.registrations.clear();
        if let Some(last) = last {
            last.withdraw().await;
        }
        ended
    }

    async fn until_ended(&mut self) -> Result<Option<ExitStatus>, AgentError> {
        let Self { identity, files, registrations, command, termination, .. } = self;
        let name = command.first().cloned().unwrap_or_default();
        let in_command = |source| AgentError::Command { command: name.clone(), source };
        if command.is_empty() {
            return tokio::select! {
                _ = termination.requested() => Ok(None),
                problem = fails(files, identity, registrations) => Err(problem),
            };
        }
        let mut process = child::start(command, &files.bootstrap()).map_err(in_command)?;
        let (request, problem) = tokio::select! {
            status = process.wait() => return status.map(Some).map_err(in_command),
            request = termination.requested() => (request, None),
            problem = fails(files, identity, registrations) => (Signal::TERM, Some(problem)),
        };
        registrations.iter().for_each(Registration::drain);
        if problem.is_none() && !registrations.is_empty() {
            // Callers hear of it through the control plane, and call until they have: the command goes on serving meanwhile.
            tokio::select! {
                status = process.wait() => return status.map(Some).map_err(in_command),
                _ = termination.requested() => {}
                () = sleep(DRAIN_NOTICE) => {}
            }
        }
        let status = child::stop(&mut process, request, termination).await.map_err(in_command)?;
        problem.map_or(Ok(Some(status)), Err)
    }
}

/// Keeps the files and awaits the registration; returns only where one of the two fails.
async fn fails(files: &Files, identity: &Arc<IdentitySource>, registrations: &[Registration]) -> AgentError {
    tokio::select! {
        problem = keep_fresh(files, identity) => problem.into(),
        reason = refused(registrations) => AgentError::Refused { reason },
    }
}

/// Returns only where the first word of the control plane is a refusal. A later one is logged and leaves the command alone: what
/// runs is not ended because the control plane has changed its mind, or lost it.
async fn refused(registrations: &[Registration]) -> Arc<str> {
    // They go to the control plane together, so that one knows how all fare.
    if let Some(registration) = registrations.first()
        && let Err(reason) = registration.registered().await
    {
        return reason;
    }
    std::future::pending().await
}

/// Writes the files again at each renewal; returns only when that fails.
async fn keep_fresh(files: &Files, identity: &Arc<IdentitySource>) -> FilesError {
    let mut renewed = identity.subscribe();
    loop {
        if renewed.changed().await.is_err() {
            // The mesh has ended; the files stay as they are until the command ends.
            std::future::pending::<()>().await;
        }
        if let Err(problem) = files.write_identity(&identity.current()) {
            return problem;
        }
    }
}

fn bootstrap(files: &Files, identity: &Arc<IdentitySource>, servers: &[String]) -> String {
    let id = identity.current().svid.id().clone();
    let cluster =
        format!("{}/{}", id.namespace().unwrap_or_default(), id.service_account().unwrap_or_default());
    let bootstrap = Bootstrap {
        servers,
        node_id: &format!("{cluster}/{}", std::process::id()),
        cluster: &cluster,
        certificate: &files.certificate(),
        private_key: &files.private_key(),
        roots: &files.roots(),
    };
    format!("{:#}\n", bootstrap.to_json())
}

/// How long the command goes on serving after the mesh was told that it ends, as long as a server of the mesh does.
const DRAIN_NOTICE: Duration = Duration::from_secs(1);
