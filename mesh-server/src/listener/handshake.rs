//! From an accepted socket to a connection that was let in, as the listener's mode demands.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::identity::{PeerRefusal, peer_identity};
use mesh_core::network::Socket;
use mesh_core::resource::MtlsMode;
use mesh_core::trace::NoTrace;
use rustls::ServerConfig;
use tokio::sync::OwnedSemaphorePermit;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{StartHandshake, TlsAcceptor};

use super::greeting::{self, Greeting};
use super::site::{Event, Inbound, Site};
use crate::connection::{Conn, Stream};
use crate::peer::{Peer, Proved};

/// A socket on its way in, with all that its handshake needs.
pub(super) struct Arrival {
    pub(super) socket: Socket,
    pub(super) remote: SocketAddr,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) site: Arc<Site>,
    pub(super) admission: Admission,
    pub(super) carries: Carries,
}

/// What the application reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carries {
    /// Requests, which a layer of ours judges one by one.
    Requests,
    /// Bytes, of which nobody but the application makes sense: policy decides once, before the first of them.
    Bytes,
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
    #[error("its transport is not taken any more")]
    Transport,
    #[error("{caller} may not connect: {rule} ({at})")]
    Denied { caller: Arc<str>, rule: Arc<str>, at: Arc<str> },
    #[error("the inbound configuration was withdrawn")]
    Unconfigured,
}

impl Closed {
    /// What is counted; nothing for a peer that only looked in.
    pub(super) fn event(&self) -> Option<Event> {
        match self {
            Self::Plaintext => Some(Event::RefusedPlaintext),
            Self::Handshake(_) | Self::Refused(_) | Self::Nameless => Some(Event::FailedHandshake),
            Self::Gone(_) => None,
            Self::Denied { .. } => Some(Event::DeniedConnection),
            Self::Transport | Self::Unconfigured => Some(Event::RefusedConnection),
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
        let may_pass = self.carries == Carries::Bytes && matches!(self.admission, Admission::Either(_));
        let (stream, proved) = match tls {
            None => (Stream::Plain(self.socket), None),
            Some(tls) if may_pass => match greeting::read(&mut self.socket).await? {
                Greeting::Ours(accepted) => {
                    let start = StartHandshake::from_parts(*accepted, self.socket);
                    identified(start.into_stream(Arc::clone(tls)).await)?
                }
                Greeting::Theirs(seen) => (Stream::Seen { seen, socket: self.socket }, None),
            },
            Some(tls) => identified(TlsAcceptor::from(Arc::clone(tls)).accept(self.socket).await)?,
        };
        let peer = Peer::new(proved, self.remote, local, self.site);
        if self.carries == Carries::Bytes {
            authorize(&peer)?;
        }
        Ok(Conn::new(stream, peer, self.place))
    }
}

/// Whether a connection is let in whose bytes nobody judges: the data path's one decision, on what is known without them.
fn authorize(peer: &Peer) -> Result<(), Closed> {
    let listener = match peer.site().inbound() {
        Inbound::Configured(listener) => listener,
        Inbound::Outside => return Ok(()),
        Inbound::Pending => return Err(Closed::Unconfigured),
    };
    if !peer.transport().fits(listener.mtls_mode) {
        return Err(Closed::Transport);
    }
    let verdict = listener.policy.decide(&peer.facts(None), &mut NoTrace);
    match verdict.allowed {
        true => Ok(()),
        false => Err(Closed::Denied {
            caller: peer.principal().unwrap_or("nobody").into(),
            rule: verdict.rule.unwrap_or("no ALLOW rule matches").into(),
            at: verdict.at.unwrap_or("-").into(),
        }),
    }
}

/// Whether the first byte is that of a TLS handshake record, which no HTTP request begins with. It is only looked at.
async fn speaks_tls(socket: &mut Socket) -> Result<bool, Closed> {
    let first = socket.peek().await.map_err(Closed::Gone)?;
    let first = first.ok_or_else(|| Closed::Gone(io::ErrorKind::UnexpectedEof.into()))?;
    Ok(first == TLS_HANDSHAKE_RECORD)
}

/// What a handshake proved.
fn identified(shaken: io::Result<TlsStream<Socket>>) -> Result<(Stream, Option<Proved>), Closed> {
    let stream = shaken.map_err(|error| match PeerRefusal::find(&error) {
        Some(refusal) => Closed::Refused(refusal.clone()),
        None => Closed::Handshake(error),
    })?;
    let id = peer_identity(stream.get_ref().1).ok_or(Closed::Nameless)?;
    let server_name = stream.get_ref().1.server_name().map(Into::into);
    let proved = Proved { spiffe_id: id.as_str().into(), server_name };
    Ok((Stream::Tls(Box::new(stream)), Some(proved)))
}

const TLS_HANDSHAKE_RECORD: u8 = 0x16;
