//! From an accepted socket to a connection that was let in, as the listener's mode demands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::identity::{PeerRefusal, peer_identity};
use mesh_core::network::Socket;
use mesh_core::resource::MtlsMode;
use rustls::ServerConfig;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::TlsAcceptor;

use super::site::{Event, Site};
use crate::connection::{Conn, Stream};
use crate::peer::Peer;

/// A socket on its way in, with all that its handshake needs.
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) remote: SocketAddr,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) site: Arc<Site>,
    pub(super) admission: Admission,
}

/// What the configuration of this moment lets in.
#[derive(Debug, Clone)]
pub(super) enum Admission {
    /// Every byte goes to the application untouched.
    Plaintext,
    /// TLS, and plaintext as well.
    Either(Arc<ServerConfig>),
    /// TLS only.
    TlsOnly(Arc<ServerConfig>),
}

/// Why a socket was closed before a request. For our own log: the peer sees a closed connection or a TLS alert.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error("it spoke plaintext where mutual TLS is required")]
    Plaintext,
    #[error("its TLS handshake failed: {0}")]
    Handshake(io::Error),
    #[error("its certificate was refused: {0}")]
    Refused(PeerRefusal),
    #[error("its certificate carries no SPIFFE ID")]
    Nameless,
    #[error("it went away: {0}")]
    Gone(io::Error),
}

impl Closed {
    /// What is counted; nothing for a peer that only looked in.
    pub(super) fn event(&self) -> Option<Event> {
        match self {
            Self::Plaintext => Some(Event::RefusedPlaintext),
            Self::Handshake(_) | Self::Refused(_) | Self::Nameless => Some(Event::FailedHandshake),
            Self::Gone(_) => None,
        }
    }
}

impl Admission {
    /// The mode's meaning; none where TLS must be spoken and we have nothing to prove ourselves with.
    pub(super) fn of(mode: MtlsMode, tls: Option<&Arc<ServerConfig>>) -> Option<Self> {
        match mode {
            MtlsMode::Disable => Some(Self::Plaintext),
            MtlsMode::Permissive => tls.cloned().map(Self::Either),
            MtlsMode::Strict => tls.cloned().map(Self::TlsOnly),
        }
    }
}

impl Arrival {
    /// Runs to the end of the handshake; the caller puts a time limit on it.
    pub(super) async fn admit(mut self) -> Result<Conn, Closed> {
        self.socket.set_nodelay().map_err(Closed::Gone)?;
        let local = self.socket.local_addr().map_err(Closed::Gone)?;
        let tls = match &self.admission {
            Admission::Plaintext => None,
            Admission::TlsOnly(tls) if speaks_tls(&mut self.socket).await? => Some(tls),
            Admission::TlsOnly(_) => return Err(Closed::Plaintext),
            Admission::Either(tls) => speaks_tls(&mut self.socket).await?.then_some(tls),
        };
        let (stream, spiffe_id) = match tls {
            None => (Stream::Plain(self.socket), None),
            Some(tls) => handshake(Arc::clone(tls), self.socket).await?,
        };
        Ok(Conn::new(stream, Peer::new(spiffe_id, self.remote, local, self.site), self.place))
    }
}

/// Whether the first byte is that of a TLS handshake record, which no HTTP request begins with. It is only looked at.
async fn speaks_tls(socket: &mut Socket) -> Result<bool, Closed> {
    let first = socket.peek().await.map_err(Closed::Gone)?;
    let first = first.ok_or_else(|| Closed::Gone(io::ErrorKind::UnexpectedEof.into()))?;
    Ok(first == TLS_HANDSHAKE_RECORD)
}

async fn handshake(tls: Arc<ServerConfig>, socket: Socket) -> Result<(Stream, Option<Arc<str>>), Closed> {
    let stream =
        TlsAcceptor::from(tls).accept(socket).await.map_err(|error| match PeerRefusal::find(&error) {
            Some(refusal) => Closed::Refused(refusal.clone()),
            None => Closed::Handshake(error),
        })?;
    let id = peer_identity(stream.get_ref().1).ok_or(Closed::Nameless)?;
    Ok((Stream::Tls(Box::new(stream)), Some(id.as_str().into())))
}

const TLS_HANDSHAKE_RECORD: u8 = 0x16;
