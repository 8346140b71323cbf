//! Who is at the other end of a connection: proved once by the handshake, read by policy and by handlers.
//!
//! Only the listener can make a [`Peer`], so a request that carries one did come in through it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::request::Parts;
use http::{Extensions, StatusCode};
use mesh_core::authz::{InboundFacts, InboundHttp};
use mesh_core::resource::MtlsMode;

use crate::listener::Site;

/// The facts of the connection that a request came on; cheap to clone.
///
/// ```
/// use mesh_server::Peer;
///
/// async fn whoami(peer: Peer) -> String {
///     peer.spiffe_id().unwrap_or("somebody outside the mesh").to_owned()
/// }
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::get(whoami));
/// ```
#[derive(Debug, Clone)]
pub struct Peer(Arc<Facts>);

/// How a connection reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Mutual TLS: the peer proved its SPIFFE ID.
    Mtls,
    /// Bytes as they came; nobody proved anything.
    Plaintext,
}

impl Transport {
    /// Whether a connection of this kind is let in under `mode`: a new one by its handshake, an open one with each request.
    pub(crate) fn fits(self, mode: MtlsMode) -> bool {
        match mode {
            MtlsMode::Permissive => true,
            MtlsMode::Strict => self == Self::Mtls,
            // Mutual TLS is not terminated then, so what it proved counts no more.
            MtlsMode::Disable => self == Self::Plaintext,
        }
    }
}

/// What a TLS handshake said.
#[derive(Debug)]
pub(crate) struct Proved {
    /// The peer's.
    pub(crate) spiffe_id: Arc<str>,
    /// The server name that the peer asked for.
    pub(crate) server_name: Option<Box<str>>,
}

#[derive(Debug)]
struct Facts {
    spiffe_id: Option<Arc<str>>,
    server_name: Option<Box<str>>,
    remote: SocketAddr,
    local: SocketAddr,
    site: Arc<Site>,
}

impl Peer {
    pub(crate) fn new(
        proved: Option<Proved>,
        remote: SocketAddr,
        local: SocketAddr,
        site: Arc<Site>,
    ) -> Self {
        let (spiffe_id, server_name) = match proved {
            Some(Proved { spiffe_id, server_name }) => (Some(spiffe_id), server_name),
            None => (None, None),
        };
        Self(Arc::new(Facts { spiffe_id, server_name, remote, local, site }))
    }

    /// The SPIFFE ID that the handshake proved, such as `spiffe://cluster.local/ns/default/sa/productpage`.
    pub fn spiffe_id(&self) -> Option<&str> {
        self.0.spiffe_id.as_deref()
    }

    /// The same without scheme, as policies name it: `cluster.local/ns/default/sa/productpage`.
    pub fn principal(&self) -> Option<&str> {
        let id = self.spiffe_id()?;
        Some(id.strip_prefix("spiffe://").unwrap_or(id))
    }

    /// The address at the other end of the TCP connection.
    pub fn address(&self) -> SocketAddr {
        self.0.remote
    }

    /// The address at our end.
    pub fn local_address(&self) -> SocketAddr {
        self.0.local
    }

    /// How the connection reached us.
    pub fn transport(&self) -> Transport {
        if self.0.spiffe_id.is_some() { Transport::Mtls } else { Transport::Plaintext }
    }

    /// What a policy sees of the connection, and of a request on it.
    pub(crate) fn facts<'a>(&'a self, http: Option<InboundHttp<'a>>) -> InboundFacts<'a> {
        InboundFacts {
            principal: self.principal(),
            source_ip: Some(self.address().ip().to_canonical()),
            destination_ip: Some(self.local_address().ip().to_canonical()),
            destination_port: self.site().port,
            server_name: self.0.server_name.as_deref().unwrap_or_default(),
            http,
        }
    }

    pub(crate) fn shared_spiffe_id(&self) -> Option<Arc<str>> {
        self.0.spiffe_id.clone()
    }

    pub(crate) fn site(&self) -> &Arc<Site> {
        &self.0.site
    }

    /// The facts as the listener or axum's own make-service left them on a request.
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        extensions
            .get::<Self>()
            .or_else(|| extensions.get::<axum::extract::ConnectInfo<Self>>().map(|info| &info.0))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Self::of(&parts.extensions)
            .cloned()
            .ok_or((StatusCode::INTERNAL_SERVER_ERROR, "this request did not come through the mesh"))
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Infallible> {
        Ok(Self::of(&parts.extensions).cloned())
    }
}
