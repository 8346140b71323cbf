//! Making a connection: a socket, TLS and, for HTTP, the protocol's own greeting, all within one time limit.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use mesh_core::canonical::HostPort;
use mesh_core::identity::{ALPN_HTTP2, IdentitySource, PeerRefusal};
use mesh_core::network::{Liveness, Network, Socket};
use mesh_core::resource::{EndpointSpec, TcpKeepAlive, UpstreamProtocol, UpstreamTls};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, AsyncWrite};

use super::http1::{Http1Connection, Http1Counter};
use super::http2::{Http2Connection, Vacancy};
use super::life::{Home, Life, Making};
use super::outside_tls::{self, Untrusted};
use super::{Carrier, Spoken, Upstream, tls};

/// Where a connection goes.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// An endpoint of the mesh.
    Address(SocketAddr),
    /// One at a Unix socket.
    Pipe(Arc<Path>),
    /// A host outside it, looked up at each connect.
    Name(HostPort),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Pipe(path) => write!(f, "unix://{}", path.display()),
            Self::Name(host) => f.write_str(host.as_str()),
        }
    }
}

impl Target {
    /// An endpoint.
    pub(crate) fn of(endpoint: &EndpointSpec) -> Self {
        endpoint.pipe.clone().map_or(Self::Address(endpoint.address), Self::Pipe)
    }

    /// A connection before TLS.
    pub(crate) async fn socket(&self, network: &Network) -> io::Result<Socket> {
        match self {
            Self::Address(address) => network.connect(*address).await,
            Self::Pipe(path) => network.connect_pipe(path).await,
            Self::Name(host) => network.connect_host(host).await,
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
    /// The server takes no ALPN of ours: it serves requests where bytes are sent, or bytes where requests are.
    #[error("the server {0}")]
    Protocol(&'static str),
    /// HTTP/2's greeting failed.
    #[error("HTTP/2 handshake: {0}")]
    Http2(#[source] h2::Error),
    /// HTTP/1.1 could not begin.
    #[error("HTTP/1.1: {0}")]
    Http1(#[source] hyper::Error),
    /// An upgrade needs HTTP/1.1.
    #[error("it speaks no HTTP/1.1, which an upgrade needs")]
    NoHttp1,
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
    pub(crate) home: Weak<dyn Home>,
}

impl Connector {
    /// Connects.
    pub(crate) async fn connect(&self, making: Making) -> Result<Connected, ConnectError> {
        self.connect_as(self.upstream.protocol, making).await
    }

    /// As [`connect`](Self::connect), in HTTP/1.1 whatever the endpoint speaks else.
    pub(crate) async fn connect_http1(&self, making: Making) -> Result<Http1Connection, ConnectError> {
        match self.connect_as(UpstreamProtocol::Http1, making).await? {
            Connected::Http1(connection) => Ok(connection),
            Connected::Http2(_) => Err(self.error(ConnectErrorKind::NoHttp1)),
        }
    }

    async fn connect_as(
        &self,
        protocol: UpstreamProtocol,
        making: Making,
    ) -> Result<Connected, ConnectError> {
        let timeout = making.timeout;
        tokio::time::timeout(timeout, self.establish(protocol, making))
            .await
            .unwrap_or(Err(ConnectErrorKind::Timeout(timeout)))
            .map_err(|kind| self.error(kind))
    }

    fn error(&self, kind: ConnectErrorKind) -> ConnectError {
        ConnectError { endpoint: self.target.to_string(), kind }
    }

    async fn establish(
        &self,
        protocol: UpstreamProtocol,
        making: Making,
    ) -> Result<Connected, ConnectErrorKind> {
        let (target, tls, spoken) = (&self.target, &self.upstream.tls, Spoken::Http(protocol));
        let (identity, network) = (self.identity.as_ref(), &self.network);
        let keep_alive = making.terms.tcp_keep_alive.as_ref();
        match (Opening { target, tls, spoken, identity, network, keep_alive }).open().await? {
            Carrier::Plain(socket) => self.greet(socket, protocol == UpstreamProtocol::Http2, making).await,
            Carrier::Tls(tls) => {
                let http2 = tls.get_ref().1.alpn_protocol() == Some(ALPN_HTTP2);
                self.greet(*tls, http2, making).await
            }
        }
    }

    async fn greet<I>(&self, io: I, http2: bool, making: Making) -> Result<Connected, ConnectErrorKind>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let life = Life::new(making.terms, self.home.clone());
        if http2 {
            let connection = Http2Connection::handshake(io, self.vacancy.clone(), life, making.open).await;
            connection.map(Connected::Http2).map_err(ConnectErrorKind::Http2)
        } else {
            let counter = self.http1_open.clone();
            let connection = Http1Connection::handshake(io, counter, life, making.open).await;
            connection.map(Connected::Http1).map_err(ConnectErrorKind::Http1)
        }
    }
}

/// All that it takes to reach a target, whatever is spoken then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opening<'a> {
    pub(crate) target: &'a Target,
    pub(crate) tls: &'a UpstreamTls,
    pub(crate) spoken: Spoken,
    pub(crate) identity: Option<&'a Arc<IdentitySource>>,
    pub(crate) network: &'a Network,
    pub(crate) keep_alive: Option<&'a TcpKeepAlive>,
}

impl Opening<'_> {
    /// Opens within `timeout`.
    pub(crate) async fn within(self, timeout: Duration) -> Result<Carrier, ConnectError> {
        tokio::time::timeout(timeout, self.open())
            .await
            .unwrap_or(Err(ConnectErrorKind::Timeout(timeout)))
            .map_err(|kind| ConnectError { endpoint: self.target.to_string(), kind })
    }

    async fn open(self) -> Result<Carrier, ConnectErrorKind> {
        let socket = self.target.socket(self.network).await.map_err(ConnectErrorKind::Tcp)?;
        socket.set_nodelay().map_err(ConnectErrorKind::Tcp)?;
        let liveness = match self.spoken {
            Spoken::Http(_) => Liveness::Reader,
            // Some protocols of the application's own hold their senders up by not reading, for minutes.
            Spoken::Bytes => Liveness::Host,
        };
        socket.expect(liveness).map_err(ConnectErrorKind::Tcp)?;
        if let Some(keep_alive) = self.keep_alive {
            socket.set_keep_alive(keep_alive).map_err(ConnectErrorKind::Tcp)?;
        }
        let (connector, name) = match self.tls {
            UpstreamTls::Plaintext => return Ok(Carrier::Plain(socket)),
            UpstreamTls::MeshMtls { identities, sni } => {
                let identity = self.identity.ok_or(ConnectErrorKind::NoIdentity)?;
                tls::connector(identity, identities, sni, self.spoken)
                    .map_err(ConnectErrorKind::Configuration)?
            }
            UpstreamTls::Outside(outside) => outside_tls::connector(outside, self.spoken).await?,
        };
        let tls = connector.connect(name, socket).await.map_err(|error| self.no_tls(error))?;
        Ok(Carrier::Tls(Box::new(tls)))
    }

    fn no_tls(&self, error: io::Error) -> ConnectErrorKind {
        let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        match (alert, self.spoken) {
            (Some(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)), spoken) => {
                ConnectErrorKind::Protocol(match spoken {
                    Spoken::Http(_) => "takes bytes and no requests; connect with a MeshConnector",
                    Spoken::Bytes => {
                        "takes requests and no bytes; call it with a MeshClient, or serve there with `bind_opaque`"
                    }
                })
            }
            _ => no_tls(error),
        }
    }
}

impl ConnectError {
    /// A retry hides a failed connect from everybody. That somebody else answers at an endpoint must not stay hidden.
    pub(crate) fn report(&self, tls: &UpstreamTls) {
        let meant = match (&self.kind, tls) {
            (ConnectErrorKind::Refused(_), UpstreamTls::MeshMtls { sni, .. }) => sni,
            (ConnectErrorKind::Untrusted(_), UpstreamTls::Outside(tls)) => &tls.sni,
            _ => return,
        };
        tracing::warn!(%meant, "connection refused: {self}");
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
