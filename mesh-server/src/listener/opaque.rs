//! The listening socket of a service that speaks no HTTP: hands out connections that the mesh has let in.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::Mesh;
use tokio::net::ToSocketAddrs;

use super::{Counters, MeshListener};
use crate::connection::Conn;

/// A bound address whose connections are bytes, such as a database's.
///
/// ```no_run
/// use mesh_server::OpaqueListener;
/// use tokio::io;
///
/// # async fn example(mesh: mesh_core::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// let mut listener = OpaqueListener::bind(&mesh, "0.0.0.0:5432").await?;
/// loop {
///     let conn = listener.accept().await?;
///     tokio::spawn(async move {
///         let (mut read, mut write) = io::split(conn);
///         io::copy(&mut read, &mut write).await
///     });
/// }
/// # }
/// ```
///
/// Who may connect is decided once, by principal, namespace, address and port, before the application sees a byte; what a policy
/// says of requests cannot be told and so lets nobody in. Mesh callers connect with a `MeshConnector`. Under `PERMISSIVE` TLS that
/// is not the mesh's passes to the application, and a caller in plaintext has to speak first, as behind a sidecar.
///
/// Dropping it closes the socket, ends the handshakes under way and withdraws the registration; open connections stay.
#[derive(Debug)]
pub struct OpaqueListener(MeshListener);

impl OpaqueListener {
    /// Binds `address` with the default options of [`MeshListener::builder`]; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address cannot be resolved or bound.
    pub async fn bind(mesh: &Mesh, address: impl ToSocketAddrs) -> io::Result<Self> {
        MeshListener::builder(mesh).bind_opaque(address).await
    }

    pub(super) fn of(listener: MeshListener) -> Self {
        Self(listener)
    }

    /// The next connection that was let in.
    ///
    /// # Errors
    /// Where nothing will be accepted any more.
    pub async fn accept(&mut self) -> io::Result<Conn> {
        self.0.next().await
    }

    /// The address bound, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// What happened here so far, and goes on being counted.
    pub fn counters(&self) -> Arc<Counters> {
        self.0.counters()
    }
}
