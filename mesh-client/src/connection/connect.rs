//! Making a connection: a socket, TLS and the protocol's own greeting, all within one time limit.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::canonical::HostPort;
use mesh_core::identity::{ALPN_HTTP2, IdentitySource, PeerRefusal};
use mesh_core::network::{Network, Socket};
use mesh_core::resource::{UpstreamProtocol, UpstreamTls};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::http1::{Http1Connection, Http1Counter};
use super::http2::{Http2Connection, Vacancy};
use super::outside_tls::{self, Untrusted};
use super::{Upstream, tls};

/// Where a connection goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// An endpoint of the mesh.
    Address(SocketAddr),
    /// A host outside it, looked up at each connect.
    Name(HostPort),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(host) => f.write_str(host.as_str()),
        }
    }
}

/// A connection that has just come about.
#[derive(Debug)]
pub(crate) enum Connected {
    /// For many requests at a time.
    Http2(Arc<Http2Connection>),
    /// For one at a time.
    Http1(Http1Connection),
}

/// No connection came about; the endpoint saw nothing of the request.
#[derive(Debug, thiserror::Error)]
#[error("endpoint {endpoint}: {kind}")]
pub struct ConnectError {
    /// Address, or host and port, of the endpoint.
    pub endpoint: String,
    /// What happened.
    #[source]
    pub kind: ConnectErrorKind,
}

/// What kept a connection from coming about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectErrorKind {
    /// The name could not be looked up, or TCP refused.
    #[error("cannot connect: {0}")]
    Tcp(#[source] io::Error),
    /// There is no TLS with it, or it does not want us.
    #[error("TLS handshake: {0}")]
    Tls(#[source] io::Error),
    /// Somebody else answers there than the cluster's own servers.
    #[error("the server's certificate was refused: {0}")]
    Refused(#[source] PeerRefusal),
    /// Outside the mesh: somebody else answers than the configuration names.
    #[error("the server's certificate was refused: {0}")]
    Untrusted(#[source] Untrusted),
    /// The cluster wants mTLS and this process has no identity.
    #[error("the cluster demands mTLS and this process has no identity: it runs without a mesh (MESH_JOIN)")]
    NoIdentity,
    /// What the cluster says of its identities cannot be used.
    #[error("the cluster's TLS settings cannot be used: {0}")]
    Configuration(String),
    /// A file that the cluster's TLS needs cannot be used. There is no connection without it, and never one in plaintext.
    #[error("TLS file {path}: {reason}")]
    File {
        /// Its path on this host.
        path: Arc<str>,
        /// Why not.
        reason: String,
    },
    /// HTTP/2's greeting failed.
    #[error("HTTP/2 handshake: {0}")]
    Http2(#[source] h2::Error),
    /// HTTP/1.1 could not begin.
    #[error("HTTP/1.1: {0}")]
    Http1(#[source] hyper::Error),
    /// It took longer than the cluster allows.
    #[error("no connection within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// What all connects to one endpoint have in common.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(crate) target: Target,
    pub(crate) upstream: Upstream,
    /// Ours; without one there is plaintext only.
    pub(crate) identity: Option<Arc<IdentitySource>>,
    pub(crate) network: Network,
    pub(crate) vacancy: Arc<Vacancy>,
    pub(crate) http1_open: Http1Counter,
}

impl Connector {
    /// Connects within `timeout`.
    pub(crate) async fn connect(&self, timeout: Duration) -> Result<Connected, ConnectError> {
        tokio::time::timeout(timeout, self.establish())
            .await
            .unwrap_or(Err(ConnectErrorKind::Timeout(timeout)))
            .map_err(|kind| ConnectError { endpoint: self.target.to_string(), kind })
    }

    async fn establish(&self) -> Result<Connected, ConnectErrorKind> {
        let socket = match &self.target {
            Target::Address(address) => self.network.connect(*address).await,
            Target::Name(host) => self.network.connect_host(host).await,
        }
        .map_err(ConnectErrorKind::Tcp)?;
        socket.set_nodelay().map_err(ConnectErrorKind::Tcp)?;
        match &self.upstream.tls {
            UpstreamTls::Plaintext => {
                self.greet(socket, self.upstream.protocol == UpstreamProtocol::Http2).await
            }
            UpstreamTls::MeshMtls { identities, sni } => {
                let identity = self.identity.as_ref().ok_or(ConnectErrorKind::NoIdentity)?;
                let (connector, name) = tls::connector(identity, identities, sni, self.upstream.protocol)
                    .map_err(ConnectErrorKind::Configuration)?;
                self.secure(connector, name, socket).await
            }
            UpstreamTls::Outside(outside) => {
                let (connector, name) = outside_tls::connector(outside, self.upstream.protocol).await?;
                self.secure(connector, name, socket).await
            }
        }
    }

    async fn secure(
        &self,
        connector: TlsConnector,
        name: ServerName<'static>,
        socket: Socket,
    ) -> Result<Connected, ConnectErrorKind> {
        let tls = connector.connect(name, socket).await.map_err(no_tls)?;
        let http2 = tls.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
        self.greet(tls, http2).await
    }

    async fn greet<I>(&self, io: I, http2: bool) -> Result<Connected, ConnectErrorKind>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if http2 {
            let connection = Http2Connection::handshake(io, self.vacancy.clone()).await;
            connection.map(Connected::Http2).map_err(ConnectErrorKind::Http2)
        } else {
            let connection = Http1Connection::handshake(io, self.http1_open.clone()).await;
            connection.map(Connected::Http1).map_err(ConnectErrorKind::Http1)
        }
    }
}

/// A server that we refuse is told from a handshake that failed, however rustls has wrapped it.
fn no_tls(error: io::Error) -> ConnectErrorKind {
    match (PeerRefusal::find(&error), Untrusted::find(&error)) {
        (Some(refusal), _) => ConnectErrorKind::Refused(refusal.clone()),
        (None, Some(untrusted)) => ConnectErrorKind::Untrusted(untrusted.clone()),
        (None, None) => ConnectErrorKind::Tls(error),
    }
}
