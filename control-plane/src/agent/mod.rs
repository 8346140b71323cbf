//! `mesh agent`: lets a process of another language join. It holds the identity, keeps its files fresh, registers the
//! ports, writes the gRPC bootstrap and runs the command beside it.
//!
//! The agent carries no request: gRPC speaks to the control plane and to its peers by itself, with the files written here.

mod bootstrap;
mod child;
mod files;

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;

use mesh_core::Mesh;
use mesh_core::identity::IdentitySource;
use mesh_core::mesh::{Registration, ServiceName, ServingPort, StartError};

pub use bootstrap::Bootstrap;
pub use files::{Files, FilesError};

/// What the agent is to do.
#[derive(Debug)]
pub struct Options {
    /// Where its files go.
    pub directory: PathBuf,
    /// Control-plane addresses for the bootstrap, `host:port`.
    pub servers: Vec<String>,
    /// Ports that the command listens on.
    pub ports: Vec<Port>,
    /// The command; none: the agent keeps the files until it is told to stop.
    pub command: Vec<OsString>,
}

/// A port of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// The service and port that callers name; `None`: the grant's.
    pub service: Option<ServiceName>,
    /// The port that the command listens on.
    pub workload_port: u16,
    /// The address that callers dial; `None`: the one that the control plane is reached from.
    pub advertised_address: Option<IpAddr>,
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
    /// The command could not be started or waited for.
    #[error("command {command:?}: {source}")]
    Command {
        /// Its name.
        command: OsString,
        /// What was met.
        source: io::Error,
    },
}

/// Joins, writes the files, registers, runs the command; returns its exit status, or `None` where there was no command.
///
/// # Errors
/// Where joining, writing or starting fails; each says the next step.
pub async fn run(mesh: Mesh, options: Options) -> Result<Option<ExitStatus>, AgentError> {
    let identity = mesh.identity().cloned().ok_or(AgentError::Off)?;
    let files = Files::open(&options.directory)?;
    files.write_identity(&identity.current())?;
    files.write_bootstrap(&bootstrap(&files, &identity, &options.servers))?;
    let registrations = register(&mesh, &options.ports);

    tokio::select! {
        ended = run_command(&options.command, &files) => ended,
        problem = keep_fresh(&files, &identity) => Err(problem.into()),
    }
    .inspect(|_| registrations.iter().for_each(Registration::drain))
}

async fn run_command(command: &[OsString], files: &Files) -> Result<Option<ExitStatus>, AgentError> {
    let name = command.first().cloned().unwrap_or_default();
    let in_command = |source| AgentError::Command { command: name.clone(), source };
    if command.is_empty() {
        child::stop_requested().await.map_err(in_command)?;
        return Ok(None);
    }
    let mut process = child::start(command, &files.bootstrap()).map_err(in_command)?;
    let status = tokio::select! {
        status = process.wait() => status,
        request = child::stop_requested() => match request {
            Ok(request) => child::stop(&mut process, request).await,
            Err(problem) => Err(problem),
        },
    };
    status.map(Some).map_err(in_command)
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

fn register(mesh: &Mesh, ports: &[Port]) -> Vec<Registration> {
    ports
        .iter()
        .map(|port| {
            mesh.register(ServingPort {
                service: port.service.clone(),
                workload_port: port.workload_port,
                advertised_address: port.advertised_address,
            })
        })
        .collect()
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
