//! [`MeshStream`]: an open connection, and what is known of its other end.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use mesh_core::balance::InFlight;
use mesh_core::identity::peer_identity;
use mesh_core::resource::{EndpointSpec, Provenance};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::connection::Carrier;

/// An open connection of bytes; closed on drop.
///
/// Each direction ends by itself: after [`shutdown`](tokio::io::AsyncWriteExt::shutdown) the peer reads the end and may go on
/// sending. Under TLS an end that the peer did not announce (a cut) reads as an error, never as an end.
#[derive(Debug)]
pub struct MeshStream {
    carrier: Carrier,
    endpoint: Option<SocketAddr>,
    peer: Option<Arc<str>>,
    rule: Option<Provenance>,
    /// Counts at the endpoint, for balancers that ask how busy it is.
    _in_flight: Option<InFlight>,
}

impl MeshStream {
    /// To a host outside the mesh.
    pub(crate) fn outside(carrier: Carrier) -> Self {
        Self { carrier, endpoint: None, peer: None, rule: None, _in_flight: None }
    }

    /// To an endpoint of a cluster.
    pub(crate) fn to(endpoint: &EndpointSpec, carrier: Carrier, in_flight: InFlight) -> Self {
        let peer = match &carrier {
            Carrier::Plain(_) => None,
            Carrier::Tls(tls) => peer_identity(tls.get_ref().1).map(|id| id.as_str().into()),
        };
        let endpoint = endpoint.pipe.is_none().then_some(endpoint.address);
        Self { carrier, endpoint, peer, rule: None, _in_flight: Some(in_flight) }
    }

    /// The same, by this rule.
    pub(crate) fn by(self, rule: Provenance) -> Self {
        Self { rule: Some(rule), ..self }
    }

    /// The endpoint at the other end; `None` outside the mesh and at a Unix socket.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// The SPIFFE ID that the peer proved, such as `spiffe://cluster.local/ns/default/sa/db`; `None` without mTLS.
    pub fn peer_id(&self) -> Option<&str> {
        self.peer.as_deref()
    }

    /// The rule by which the connection went; `None` outside the mesh.
    pub fn rule(&self) -> Option<&Provenance> {
        self.rule.as_ref()
    }
}

impl AsyncRead for MeshStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_read(cx, buffer)
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.carrier).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.carrier).poll_shutdown(cx)
    }
}
