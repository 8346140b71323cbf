//! The listening socket of a mesh service: hands out connections that passed the handshake, in whatever order they did.
//!
//! It is what one's own server takes in place of a `TcpListener`:
//!
//! ```no_run
//! use mesh_server::{MeshLayer, MeshListener};
//! use tower::Layer;
//!
//! # async fn example(mesh: mesh_core::Mesh, app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! let listener = MeshListener::bind(&mesh, "0.0.0.0:9080").await?;
//! let app = MeshLayer::new(&mesh).layer(app);
//! axum::serve(listener, app.into_make_service()).await?;
//! # Ok(())
//! # }
//! ```
//! or, with tonic, `Server::builder().layer(MeshLayer::new(&mesh)).add_service(…).serve_with_incoming(listener)`.

mod acceptor;
mod builder;
mod greeting;
mod handshake;
mod opaque;
#[cfg(test)]
mod opaque_tests;
mod site;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_core::Stream;
use mesh_core::Mesh;
use mesh_core::mesh::Registration;
use tokio::net::ToSocketAddrs;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

pub use self::builder::ListenerBuilder;
pub use self::opaque::OpaqueListener;
pub use self::site::{Counters, Event};
pub(crate) use self::site::{Inbound, Site};
use crate::connection::Conn;

/// A bound address that accepts nothing until the mesh has said whom to let in.
///
/// Dropping it closes the socket, ends the handshakes under way and withdraws the registration.
#[derive(Debug)]
pub struct MeshListener {
    conns: mpsc::Receiver<io::Result<Conn>>,
    address: SocketAddr,
    site: Arc<Site>,
    mesh: Mesh,
    registration: Arc<OnceLock<Registration>>,
    acceptor: AbortOnDropHandle<()>,
}

impl MeshListener {
    /// Binds `address` with the default options; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address cannot be resolved or bound.
    pub async fn bind(mesh: &Mesh, address: impl ToSocketAddrs) -> io::Result<Self> {
        Self::builder(mesh).bind(address).await
    }

    /// Options first.
    pub fn builder(mesh: &Mesh) -> ListenerBuilder {
        ListenerBuilder::new(mesh)
    }

    /// The address bound, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What happened here so far, and goes on being counted.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(&self.site.counters)
    }

    /// How the port stands in the mesh; `None` while nothing is accepted yet, and without a mesh.
    pub fn registration(&self) -> Option<&Registration> {
        self.registration.get()
    }

    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.site.name)
    }

    /// Closes the socket, and hands over the registration, for its owner to withdraw when the last request is done.
    pub(crate) async fn close(self) -> Option<Registration> {
        let Self { registration, acceptor, .. } = self;
        acceptor.abort();
        // Ends with the abort; the socket is closed by then.
        let _ = acceptor.await;
        Arc::into_inner(registration)?.into_inner()
    }

    pub(crate) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The next connection that was let in, or why there will be none.
    pub(crate) async fn next(&mut self) -> io::Result<Conn> {
        self.conns.recv().await.unwrap_or_else(|| Err(io::ErrorKind::NotConnected.into()))
    }
}

impl axum::serve::Listener for MeshListener {
    type Io = Conn;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Conn, SocketAddr) {
        match self.next().await {
            Ok(conn) => {
                let remote = conn.peer().address();
                (conn, remote)
            }
            // axum leaves no way to tell but the log.
            Err(error) => {
                tracing::error!(listener = %self.site.name, %error, "nothing is accepted any more");
                std::future::pending().await
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Stream for MeshListener {
    type Item = io::Result<Conn>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.conns.poll_recv(cx)
    }
}
