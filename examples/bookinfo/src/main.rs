//! Bookinfo: four services, each a process of its own, that call each other through the mesh and nothing else.
//!
//! ```text
//!   productpage ──► details
//!        └────────► reviews (v1 no stars · v2 black · v3 red) ──gRPC──► ratings
//! ```
//! Where the others are and who may call whom is the mesh's affair; a process gets `MESH_JOIN` and no further configuration.

mod call;
mod counts;
mod demo;
mod details;
mod instance;
mod output;
mod productpage;
mod ratings;
mod reviews;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::net::SocketAddr;

use anyhow::Context;
use axum::Router;
use clap::{Args, Parser, Subcommand};
use mesh_core::Mesh;
use tracing_subscriber::EnvFilter;

use crate::instance::Instance;

/// Bookinfo: the whole demo with one command, or one of its services.
#[derive(Debug, Parser)]
#[command(before_help = "Example:
  bookinfo demo                                   # everything, with a canary that moves live
  MESH_JOIN=mesh1.… bookinfo reviews --version v2  # one service")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and start everything, and show how a split moves
    Demo(demo::Options),
    /// The page
    Productpage(Serving),
    /// Facts about a book
    Details(Serving),
    /// Opinions about a book: v1 without stars, v2 with black ones, v3 with red ones
    Reviews(Serving),
    /// Stars
    Ratings(Serving),
}

/// How a service is served.
#[derive(Debug, Args)]
#[command(before_help = "Example:
  MESH_JOIN=mesh1.… bookinfo reviews --version v2 --listen 127.0.0.1:9080")]
struct Serving {
    /// Its version
    #[arg(long, default_value = "v1", env = "BOOKINFO_VERSION")]
    version: String,
    /// Where it serves; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", env = "BOOKINFO_LISTEN")]
    listen: SocketAddr,
    /// Where `GET /counts` tells what it received, in plain HTTP beside the mesh
    #[arg(long, default_value = "127.0.0.1:0", env = "BOOKINFO_COUNTS")]
    counts: SocketAddr,
    /// What it calls itself in its answers [default: service, version and process number]
    #[arg(long)]
    instance: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    match Arguments::parse().command {
        Command::Demo(options) => demo::run(options).await,
        Command::Productpage(serving) => serve("productpage", productpage::app, serving).await,
        Command::Details(serving) => serve("details", details::app, serving).await,
        Command::Reviews(serving) => serve("reviews", reviews::app, serving).await,
        Command::Ratings(serving) => serve("ratings", ratings::app, serving).await,
    }
}

async fn serve(
    name: &'static str,
    app: fn(&Mesh, &Instance) -> Router,
    serving: Serving,
) -> anyhow::Result<()> {
    let mesh = Mesh::from_env().await.context("joining the mesh")?;
    let instance = Instance::new(name, serving.version, serving.instance);
    let app = app(&mesh, &instance);
    instance::run(&mesh, instance, app, serving.listen, serving.counts).await
}
