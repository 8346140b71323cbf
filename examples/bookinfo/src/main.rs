//! Bookinfo: four services, each a process of its own, that call each other through the mesh and nothing else.
//!
//! ```text
//!   productpage ──► details
//!        └────────► reviews (v1 no stars · v2 black · v3 red) ──gRPC──► ratings
//! ```
//! Where the others are and who may call whom is the mesh's affair; a process gets `MESH_JOIN` and no further configuration.

mod call;
mod counts;
mod details;
mod instance;
mod productpage;
mod ratings;
mod reviews;

use std::io::IsTerminal;
use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use clap::{Parser, ValueEnum};
use mesh_core::Mesh;
use tracing_subscriber::EnvFilter;

use crate::instance::Instance;

/// One service of the Bookinfo demo.
///
/// Example: MESH_JOIN=… bookinfo reviews --version v2
#[derive(Debug, Parser)]
#[command(verbatim_doc_comment)]
struct Arguments {
    /// Which one.
    service: Service,
    /// Its version; for reviews, v1 has no stars, v2 black ones, v3 red ones.
    #[arg(long, default_value = "v1", env = "BOOKINFO_VERSION")]
    version: String,
    /// Where it serves; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", env = "BOOKINFO_LISTEN")]
    listen: SocketAddr,
    /// Where `GET /counts` tells what it received, in plain HTTP beside the mesh.
    #[arg(long, default_value = "127.0.0.1:0", env = "BOOKINFO_COUNTS")]
    counts: SocketAddr,
    /// What it calls itself in its answers; default: service, version and process number.
    #[arg(long)]
    instance: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Service {
    Productpage,
    Details,
    Reviews,
    Ratings,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    let arguments = Arguments::parse();
    let mesh = Mesh::from_env().await.context("joining the mesh")?;
    let (name, app): (_, fn(&Mesh, &Instance) -> Router) = match arguments.service {
        Service::Productpage => ("productpage", productpage::app),
        Service::Details => ("details", details::app),
        Service::Reviews => ("reviews", reviews::app),
        Service::Ratings => ("ratings", ratings::app),
    };
    let instance = Instance::new(name, arguments.version, arguments.instance);
    let app = app(&mesh, &instance);
    instance::run(&mesh, instance, app, arguments.listen, arguments.counts).await
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_fit_together() {
        Arguments::command().debug_assert();
    }
}
