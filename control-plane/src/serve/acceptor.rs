//! The TLS port: handshakes run beside the accept loop, so that one silent peer holds up nobody.
//!
//! ```text
//!   accept ─┬─► handshake (timeout) ─► channel ─► tonic
//!           ├─► handshake            ─►
//!           └─► …    too many under way: the one waiting longest makes room
//! ```

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::accept::{Handshakes, accept};
use mesh_core::identity::{PeerRefusal, peer_certificate};
use rustls::{InvalidMessage, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::counters::{Counters, Event};
use crate::grant::Ledger;
use crate::peer::Peer;

/// What the port bears.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcceptLimits {
    /// From accept to the last message of the handshake.
    pub(super) handshake_seconds_max: u64,
    /// Under way at once.
    pub(super) handshakes_max: usize,
    /// Open at once, handshakes among them.
    pub(super) connections_max: usize,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self { handshake_seconds_max: 10, handshakes_max: 1024, connections_max: 20_000 }
    }
}

/// Finished handshakes that wait to be taken.
const CONNECTIONS_WAITING_MAX: usize = 64;

/// A connection whose handshake is done.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    _place: OwnedSemaphorePermit,
}

/// What a connection is held against.
pub(super) struct Admission {
    /// Our certificate, and the verifier of theirs.
    pub(super) tls: Arc<ServerConfig>,
    /// Grants by certificate.
    pub(super) ledger: Ledger,
    /// Where outcomes are counted.
    pub(super) counters: Arc<Counters>,
}

/// Accepts until the receiving end is dropped.
pub(super) async fn accept_all(
    listener: TcpListener,
    admission: Admission,
    limits: AcceptLimits,
    connections: mpsc::Sender<io::Result<Connection>>,
) {
    let places = Arc::new(Semaphore::new(limits.connections_max));
    let mut handshakes = Handshakes::new(limits.handshakes_max);
    let Admission { tls, ledger, counters } = admission;
    let acceptor = TlsAcceptor::from(tls);
    loop {
        let (socket, remote) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = connections.closed() => return,
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            counters.add(Event::ConnectionRefused);
            tracing::warn!(%remote, connections = limits.connections_max, "refused a connection: there are too many");
            continue;
        };
        let (acceptor, connections) = (acceptor.clone(), connections.clone());
        let (ledger, counters) = (ledger.clone(), counters.clone());
        handshakes.begin(async move {
            let time = Duration::from_secs(limits.handshake_seconds_max);
            let reason = match timeout(time, handshake(acceptor, socket, remote, ledger)).await {
                Ok(Ok((stream, peer))) => {
                    counters.add(Event::Connection);
                    // An error says that the port is closing.
                    let _ = connections.send(Ok(Connection { stream, peer, _place: place })).await;
                    return;
                }
                Ok(Err(error)) => reason_of(&error),
                Err(_) => "no handshake in time".to_owned(),
            };
            counters.add(Event::ConnectionRefused);
            tracing::warn!(%remote, reason, "refused a connection");
        });
    }
}

/// The channel between the accept loop and whoever serves.
pub(super) fn connections() -> (mpsc::Sender<io::Result<Connection>>, mpsc::Receiver<io::Result<Connection>>)
{
    mpsc::channel(CONNECTIONS_WAITING_MAX)
}

async fn handshake(
    acceptor: TlsAcceptor,
    socket: TcpStream,
    remote: SocketAddr,
    ledger: Ledger,
) -> io::Result<(TlsStream<TcpStream>, Peer)> {
    // Without it the last message of a handshake waits for an acknowledgement.
    socket.set_nodelay(true)?;
    let stream = acceptor.accept(socket).await?;
    let certificate = peer_certificate(stream.get_ref().1).map(Arc::new);
    let grant = match &certificate {
        Some(leaf) if leaf.id.service_account().is_some() => {
            ledger.grant(&leaf.serial).await.map_err(io::Error::other)?.map(Arc::new)
        }
        _ => None,
    };
    Ok((stream, Peer { remote, certificate, grant }))
}

/// Why a handshake failed, in an operator's words: rustls prints a refused certificate as a Rust value.
fn reason_of(error: &io::Error) -> String {
    if let Some(refusal) = PeerRefusal::find(error) {
        return format!("its certificate was refused: {refusal}");
    }
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType)) => {
            "it spoke plaintext where TLS is required".to_owned()
        }
        _ => error.to_string(),
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
