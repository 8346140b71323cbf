//! `mesh serve`: the control plane.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use mesh_core::identity::TrustDomain;
use mesh_core::join::ControlPlaneAddress;

use super::{Exit, Failure, log};
use crate::admin::Credential;
use crate::serve::{self, Options};

/// Run the control plane: xDS, certificates, registry, administration
///
/// Its first start makes the certificate authority and the administrator's credential.
#[derive(Debug, Args)]
#[command(before_help = "Example:
  mesh serve
  mesh serve --data /var/lib/mesh --listen 0.0.0.0:15012 --advertise mesh.example:15012")]
pub(super) struct Arguments {
    /// Where everything is kept [default: ~/.local/share/mesh]
    #[arg(long, env = "MESH_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The TLS port for workloads and administrators; port 0 takes a free one
    #[arg(long, default_value = "0.0.0.0:15012", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// The plain port: health, and on loopback metrics and service discovery; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:15014", value_name = "IP:PORT")]
    plain: SocketAddr,
    /// An address that join strings name; may be repeated [default: the one listened on]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Vec<String>,
    /// The mesh's trust domain; a data directory keeps the one it began with
    #[arg(long, default_value = Options::TRUST_DOMAIN)]
    trust_domain: String,
    /// How many seconds an instance stays registered without a renewal
    #[arg(long, default_value_t = Options::LEASE.as_secs(), value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(3..=3600))]
    lease: u64,
}

pub(super) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    log::start("info");
    let options = options(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|problem| Failure::Refused(format!("no runtime: {problem}")))?;
    runtime.block_on(serve::serve(options)).map_err(Failure::refused)?;
    Ok(Exit::Fine)
}

fn options(arguments: Arguments) -> Result<Options, Failure> {
    let usage = |problem: String| Failure::Usage(problem);
    let advertise = arguments.advertise.iter().map(|address| {
        ControlPlaneAddress::parse(address)
            .map_err(|problem| Failure::Usage(format!("--advertise {address}: {problem}")))
    });
    Ok(Options {
        data: arguments.data.map_or_else(default_data, Ok)?,
        listen: arguments.listen,
        plain: arguments.plain,
        advertise: advertise.collect::<Result<_, _>>()?,
        trust_domain: TrustDomain::parse(&arguments.trust_domain)
            .map_err(|problem| usage(problem.to_string()))?,
        lease: Duration::from_secs(arguments.lease),
        credential: Credential::default_path(|name| std::env::var_os(name)),
    })
}

fn default_data() -> Result<PathBuf, Failure> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    let home = home.ok_or_else(|| {
        Failure::Usage("there is no home directory to keep data in; give --data DIR".into())
    })?;
    Ok(home.join(".local/share/mesh"))
}
