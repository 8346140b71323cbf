//! `mesh agent`: lets a process of another language join.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use clap::Args;
use mesh_core::Mesh;
use mesh_core::join::JoinSource;
use mesh_core::mesh::{ServiceName, ServingPort};

use super::{Exit, Failure, log, output};
use crate::agent::{Agent, Files, Options};

/// Let a process of another language join: writes its certificate files and gRPC bootstrap, registers its ports, runs it
///
/// Without a command it prints where the files are, and keeps them fresh until it is told to end. RUST_LOG says how much it tells
/// on standard error [default: warn].
#[derive(Debug, Args)]
#[command(before_help = "Example:
  MESH_JOIN=mesh1.… mesh agent --dir /run/mesh -- python client.py
  MESH_JOIN=mesh1.… mesh agent --dir /run/mesh --port 50051 -- python server.py")]
pub(super) struct Arguments {
    /// Where key, certificate, roots and bootstrap.json go
    #[arg(long, default_value = "mesh-agent", value_name = "DIR")]
    dir: PathBuf,
    /// A port that the command listens on; SERVICE:PORT= in front where the grant has several
    #[arg(long = "port", value_name = "[SERVICE:PORT=]PORT", value_parser = listening_port)]
    ports: Vec<ServingPort>,
    /// The address that callers dial [default: the one that the control plane is reached from]
    #[arg(long, value_name = "IP")]
    advertise: Option<IpAddr>,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn listening_port(text: &str) -> Result<ServingPort, String> {
    let malformed = || format!("`{text}` is no port; write 50051, or reviews:9080=50051");
    let (service, port) = match text.split_once('=') {
        Some((service, port)) => (Some(service.rsplit_once(':').ok_or_else(malformed)?), port),
        None => (None, text),
    };
    let named =
        |(name, port): (&str, &str)| Some(ServiceName { name: name.to_owned(), port: port.parse().ok()? });
    let service = service.map(|service| named(service).ok_or_else(malformed)).transpose()?;
    let workload_port = port.parse().ok().filter(|port| *port != 0).ok_or_else(malformed)?;
    Ok(ServingPort { service, workload_port, advertised_address: None })
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    log::start("warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|problem| Failure::Refused(format!("no runtime: {problem}")))?;
    let servers = match JoinSource::from_env().map_err(Failure::refused)? {
        JoinSource::Join(join) => join.addresses.iter().map(ToString::to_string).collect(),
        JoinSource::Off => Vec::new(),
    };
    runtime.block_on(async {
        let mesh = Mesh::from_env().await.map_err(Failure::refused)?;
        let advertised_address = arguments.advertise;
        let ports = arguments.ports.into_iter().map(|port| ServingPort { advertised_address, ..port });
        let alone = arguments.command.is_empty();
        let options =
            Options { directory: arguments.dir, servers, ports: ports.collect(), command: arguments.command };
        let agent = Agent::start(mesh, options).map_err(Failure::refused)?;
        if alone {
            output::print(paths(agent.files()))?;
        }
        Ok(agent.run().await.map_err(Failure::refused)?.map_or(Exit::Fine, exit))
    })
}

/// What another process is to be given by hand.
fn paths(files: &Files) -> String {
    let lines = [
        ("key", files.private_key()),
        ("certificate", files.certificate()),
        ("roots", files.roots()),
        ("GRPC_XDS_BOOTSTRAP", files.bootstrap()),
    ];
    lines.map(|(name, path)| format!("{name}={}\n", path.display())).concat()
}

/// The command's own status; 128 and the signal's number where one ended it, as shells say it.
fn exit(status: ExitStatus) -> Exit {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Exit::Command(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
