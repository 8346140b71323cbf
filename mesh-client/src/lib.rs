//! The outbound half of a mesh without the sidecar: a process's own HTTP and gRPC clients route, split, retry and speak mTLS.
//!
//! ```no_run
//! use http_body_util::Empty;
//! use mesh_client::MeshClient;
//! use tower::ServiceExt;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mesh = mesh_core::Mesh::from_env().await?;
//! let client = MeshClient::new(&mesh);
//! let request = http::Request::get("http://reviews:9080/reviews/1").body(Empty::<bytes::Bytes>::new())?;
//! let response = client.oneshot(request).await?;
//! # let _ = response; Ok(()) }
//! ```
//! A tonic client takes a [`MeshChannel`] where it would take tonic's own: `ReviewsClient::new(MeshChannel::new(&mesh,
//! "reviews:9080"))`. With the feature `reqwest`, requests of that crate are sent by `.send_through(&client)` (module
//! `send_through`).
//!
//! Bytes that are no HTTP go by a [`MeshConnector`], which takes rules, balancers and identities from the same places.
//!
//! # Layout
//!
//! [`MeshClient`] and [`MeshChannel`] are the two doors to one `stack`, which says in what order a request passes the stages:
//! `propagation`, `host`, route (mesh-core's), `fault`, split (mesh-core's), `mirror`, `deadline`, `retry`, `attempt`. Below them a `pool` per endpoint keeps
//! what carries requests, the `connection`s; `upgrade` says which request may keep one for itself. `probing` asks endpoints how they are, where their cluster wants it. `body` holds the one body type of each direction, [`ClientError`] says why the
//! mesh answered in a destination's place.

mod answer;
mod attempt;
mod body;
mod channel;
mod client;
mod connection;
mod connector;
mod deadline;
mod endpoint;
mod error;
mod external_auth;
mod fault;
mod hash;
mod host;
mod mirror;
mod outbound;
mod passthrough;
mod pool;
mod probing;
mod propagation;
mod record;
mod report;
mod retry;
#[cfg(feature = "reqwest")]
pub mod send_through;
mod stack;
mod stream;
#[cfg(test)]
mod tests;
mod upgrade;

pub use body::{BodyError, ResponseBody};
pub use channel::MeshChannel;
pub use client::{MeshClient, ResponseFuture};
pub use connection::{ConnectError, ConnectErrorKind, Untrusted};
pub use connector::MeshConnector;
pub use error::{ClientError, Failure, Limit, Side};
pub use mesh_core::status::ResponseFlag;
#[cfg(feature = "reqwest")]
pub use send_through::SendThrough;
pub use stream::{MeshStream, OpaqueOver};
