//! The way to the control plane: one of several addresses, TLS that proves its identity, and a connection whose death is noticed.
//!
//! Every gRPC client in the mesh (certificates, configuration, registration, administration) goes through here.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::{address::ControlPlaneAddress, pin::verify_pinned, string::JoinString};
use crate::identity::{
    ALPN_HTTP2, ExpectedPeer, IdentitySource, PeerRefusal, ServerVerifier, anonymous_client_config,
    client_config,
};

/// Connects to the control plane. Each connection begins at the next address and tries all of them once.
#[derive(Clone)]
pub struct ControlPlaneConnector {
    addresses: Arc<[ControlPlaneAddress]>,
    next: Arc<AtomicUsize>,
    tls: TlsConnector,
}

impl ControlPlaneConnector {
    /// For a member of the mesh: shows the SVID that `source` holds at the time, and insists on the control plane's identity.
    ///
    /// # Errors
    /// When there is no address.
    pub fn new(
        addresses: impl Into<Arc<[ControlPlaneAddress]>>,
        source: &Arc<IdentitySource>,
    ) -> Result<Self, NoAddress> {
        Self::with_config(addresses.into(), &client_config(source, ExpectedPeer::ControlPlane))
    }

    /// For a process that has no identity yet: knows the control plane by the root that the join string pins.
    ///
    /// # Errors
    /// When there is no address.
    pub fn joining(join: &JoinString) -> Result<Self, NoAddress> {
        let (pinned, trust_domain) = (join.root, join.trust_domain.clone());
        let verifier = ServerVerifier::new(Box::new(move |leaf, intermediates, now| {
            verify_pinned(pinned, &trust_domain, leaf, intermediates, now)
        }));
        Self::with_config(join.addresses.as_slice().into(), &anonymous_client_config(Arc::new(verifier)))
    }

    /// A gRPC channel that connects when it is first used, and again whenever the connection is lost.
    ///
    /// A peer that has vanished without a word is noticed within 10 seconds, in the middle of a silent stream as well.
    /// It has to be called within a tokio runtime.
    pub fn channel(&self) -> Channel {
        Endpoint::from_static("http://control-plane")
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(self.clone())
    }

    /// Connects to the first address that answers as it should.
    ///
    /// # Errors
    /// Tells for every address why not.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>, ConnectError> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut attempts = Vec::new();
        for offset in 0..self.addresses.len() {
            let address = &self.addresses[start.wrapping_add(offset) % self.addresses.len()];
            match timeout(ATTEMPT_TIMEOUT, self.attempt(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) => attempts.push(Attempt { address: address.clone(), source }),
                Err(_) => {
                    attempts
                        .push(Attempt { address: address.clone(), source: io::ErrorKind::TimedOut.into() });
                }
            }
        }
        Err(ConnectError { attempts })
    }

    async fn attempt(&self, address: &ControlPlaneAddress) -> io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect((address.host(), address.port())).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(address.server_name(), stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(io::Error::other("the peer does not speak HTTP/2"));
        }
        Ok(stream)
    }

    fn with_config(addresses: Arc<[ControlPlaneAddress]>, config: &ClientConfig) -> Result<Self, NoAddress> {
        if addresses.is_empty() {
            return Err(NoAddress);
        }
        let mut config = config.clone();
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Self { addresses, next: Arc::default(), tls: Arc::new(config).into() })
    }
}

impl fmt::Debug for ControlPlaneConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlaneConnector").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// The URI is not looked at: which address is next is decided here.
impl tower::Service<Uri> for ControlPlaneConnector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect().await.map(TokioIo::new) })
    }
}

/// There is no address to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no address of the control plane is given")]
pub struct NoAddress;

/// No address of the control plane could be used. In words it is the addresses, each with why not: whoever meets it knows what he
/// tried to do, and says so.
#[derive(Debug)]
pub struct ConnectError {
    /// One for each address, in the order in which they were tried.
    pub attempts: Vec<Attempt>,
}

/// An address and why it could not be used.
#[derive(Debug)]
pub struct Attempt {
    /// Where.
    pub address: ControlPlaneAddress,
    /// Why not; a [`PeerRefusal`] may be behind it.
    pub source: io::Error,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Attempt { address, source }) in self.attempts.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            match PeerRefusal::find(source) {
                Some(refusal) => write!(f, "{separator}{address}: {refusal}")?,
                None => write!(f, "{separator}{address}: {source}")?,
            }
        }
        Ok(())
    }
}

/// A refusal says more than a refused connection, so it is what the error comes from.
impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let refused = self.attempts.iter().find(|attempt| PeerRefusal::find(&attempt.source).is_some());
        refused.or(self.attempts.last()).map(|attempt| &attempt.source as &(dyn std::error::Error + 'static))
    }
}

/// What an error of a call comes from, in words: tonic says "transport error" and keeps what happened in the sources; a
/// connector's own error, which names every address, says it best.
pub fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while !error.is::<ConnectError>()
        && let Some(source) = error.source()
    {
        error = source;
    }
    match error.downcast_ref::<Status>() {
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }
}

const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
