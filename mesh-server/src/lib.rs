//! The inbound side of the mesh: a service wraps its finished axum or tonic app, and only whom the mesh lets in reaches it.
//!
//! ```no_run
//! # async fn example(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! let mesh = mesh_core::Mesh::from_env().await?;
//! mesh_server::serve(&mesh, "0.0.0.0:9080", app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! - [`serve()`], [`serve_with_shutdown`], [`Server`]: everything in one; `drain` owns the connections, `protocol` bounds them
//! - [`MeshListener`] and [`MeshLayer`]: the same in pieces, for one's own server
//! - [`OpaqueListener`]: connections of bytes, for services that speak no HTTP
//! - [`Peer`]: who called, for handlers
//! - `stack`: the order of the stages; `canonical`, `inherited`, `refusal`: the stages' parts; `upgrade`: who may leave HTTP

mod app;
mod canonical;
mod connection;
mod drain;
mod guards;
mod inherited;
mod layer;
mod listener;
mod peer;
mod protocol;
mod refusal;
mod serve;
mod stack;
mod termination;
#[cfg(test)]
mod testing;
mod upgrade;

pub use app::App;
pub use connection::Conn;
pub use layer::{MeshLayer, MeshService};
pub use listener::{Counters, Event, ListenerBuilder, MeshListener, OpaqueListener};
pub use peer::{Peer, Transport};
pub use refusal::RefusalBody;
pub use serve::{Server, ServerBuilder, serve, serve_with_shutdown};
