//! `mesh agent`: lets a process of another language join.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use mesh_core::Mesh;
use mesh_core::join::JoinSource;
use mesh_core::mesh::ServiceName;

use super::{Exit, Failure};
use crate::agent::{self, Options, Port};

/// Let a process of another language join: writes its certificate files and gRPC bootstrap, registers its ports, runs it
#[derive(Debug, Args)]
#[command(before_help = "Example:
  MESH_JOIN=mesh1.… mesh agent --dir /run/mesh -- python client.py
  MESH_JOIN=mesh1.… mesh agent --dir /run/mesh --port 50051 -- python server.py")]
pub(super) struct Arguments {
    /// Where key, certificate, roots and bootstrap.json go
    #[arg(long, default_value = "mesh-agent", value_name = "DIR")]
    dir: PathBuf,
    /// A port that the command listens on; SERVICE:PORT= in front where the grant has several
    #[arg(long = "port", value_name = "[SERVICE:PORT=]PORT")]
    ports: Vec<ListeningPort>,
    /// The address that callers dial [default: the one that the control plane is reached from]
    #[arg(long, value_name = "IP")]
    advertise: Option<IpAddr>,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone)]
struct ListeningPort {
    service: Option<ServiceName>,
    port: u16,
}

impl FromStr for ListeningPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || format!("`{text}` is no port; write 50051, or reviews:9080=50051");
        let (service, port) = match text.split_once('=') {
            Some((service, port)) => (Some(service), port),
            None => (None, text),
        };
        let service = match service.map(|service| service.rsplit_once(':')) {
            None => None,
            Some(Some((name, port))) => {
                Some(ServiceName { name: name.to_owned(), port: port.parse().map_err(|_| malformed())? })
            }
            Some(None) => return Err(malformed()),
        };
        Ok(Self { service, port: port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)? })
    }
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|problem| Failure::Refused(format!("no runtime: {problem}")))?;
    let servers = match JoinSource::from_env().map_err(|problem| Failure::Refused(problem.to_string()))? {
        JoinSource::Join(join) => join.addresses.iter().map(ToString::to_string).collect(),
        JoinSource::Off => Vec::new(),
    };
    runtime.block_on(async {
        let mesh = Mesh::from_env().await.map_err(|problem| Failure::Refused(problem.to_string()))?;
        let ports = arguments.ports.into_iter().map(|port| Port {
            service: port.service,
            workload_port: port.port,
            advertised_address: arguments.advertise,
        });
        let options =
            Options { directory: arguments.dir, servers, ports: ports.collect(), command: arguments.command };
        match agent::run(mesh, options).await {
            Ok(None) => Ok(Exit::Fine),
            Ok(Some(status)) => {
                Ok(Exit::Command(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
            }
            Err(problem) => Err(Failure::Refused(problem.to_string())),
        }
    })
}
