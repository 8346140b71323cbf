//! The seam between requests and what carries them: a connection takes a request's head and body and yields a response.
//!
//! Everything above (routing, retries, pooling) sees a [`Stream`] and a [`Failure`] and nothing of a protocol, so that either
//! carrier can be exchanged alone. HTTP/2 runs on the `h2` crate itself: a request is handed to the connection's state in
//! the caller's own task, where hyper's client would pass it through a channel to another task and back. HTTP/1.1 runs on
//! hyper.

mod carrier;
mod connect;
mod held;
mod http1;
mod http2;
mod keep_alive;
mod life;
mod outside_tls;
mod pump;
mod silence;
mod tls;

use std::sync::Arc;

use futures_util::future::Either;
use http::Response;
use mesh_core::resource::{ClusterSpec, EndpointSpec, UpstreamProtocol, UpstreamTls};

use crate::body::{RequestBody, ResponseBody};
use crate::upgrade::Upgrade;

pub(crate) use carrier::Carrier;
pub use connect::{ConnectError, ConnectErrorKind};
pub(crate) use connect::{Connected, Connector, Opening, Target};
pub(crate) use http1::{Http1Connection, Http1Stream};
pub(crate) use http2::{Http2Connection, Http2Stream, Vacancy};
pub(crate) use life::{Home, Life, Making, Open};
pub use outside_tls::Untrusted;
pub(crate) use pump::Pump;

/// What is spoken on a connection once it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// Requests.
    Http(UpstreamProtocol),
    /// Whatever the application likes.
    Bytes,
}

/// How an endpoint is spoken to. It never changes for an endpoint's runtime state: where configuration changes it, the
/// endpoint begins anew, and old connections close.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// Transport security.
    pub(crate) tls: UpstreamTls,
    /// The HTTP version.
    pub(crate) protocol: UpstreamProtocol,
}

impl Upstream {
    /// As the cluster says of its endpoint.
    pub(crate) fn of(cluster: &ClusterSpec, endpoint: &EndpointSpec) -> Self {
        Self::new(tls_towards(cluster, endpoint).clone(), cluster.protocol)
    }

    /// In plaintext there is nothing to negotiate a version with: it is 1.1 unless 2 is known to be spoken.
    pub(crate) fn new(tls: UpstreamTls, protocol: UpstreamProtocol) -> Self {
        let protocol = match (&tls, protocol) {
            (UpstreamTls::Plaintext, UpstreamProtocol::Auto) => UpstreamProtocol::Http1,
            (_, protocol) => protocol,
        };
        Self { tls, protocol }
    }
}

/// The security of whatever goes to an endpoint, requests or bytes: as its cluster says; where that is the mesh's own TLS, an
/// endpoint outside the mesh speaks plaintext.
pub(crate) fn tls_towards<'c>(cluster: &'c ClusterSpec, endpoint: &EndpointSpec) -> &'c UpstreamTls {
    match &cluster.tls {
        UpstreamTls::MeshMtls { .. } if !endpoint.mesh_mtls => &UpstreamTls::Plaintext,
        tls => tls,
    }
}

/// A request as connections take it.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) head: http::request::Parts,
    pub(crate) body: RequestBody,
    /// What passes of what its headers ask for.
    pub(crate) upgrade: Upgrade,
}

impl Outgoing {
    /// A request that asks for no upgrade.
    pub(crate) fn new(head: http::request::Parts, body: RequestBody) -> Self {
        Self { head, body, upgrade: Upgrade::Nothing }
    }

    /// Takes the request out of its place, where an empty one remains.
    pub(crate) fn take(&mut self) -> Self {
        let (head, ()) = http::Request::new(()).into_parts();
        let mut taken = std::mem::replace(self, Self::new(head, RequestBody::Empty));
        if let RequestBody::Kept(replay) = &mut taken.body {
            replay.take_over();
        }
        taken
    }

    /// A second one that says the same, where that costs no copy of the body.
    pub(crate) fn replay(&self) -> Option<Self> {
        let body = self.body.replay()?;
        Some(Self { head: self.copy_head(), body, upgrade: self.upgrade })
    }

    /// The head again, without the extensions, which do not travel.
    pub(crate) fn copy_head(&self) -> http::request::Parts {
        let (mut head, ()) = http::Request::new(()).into_parts();
        head.method = self.head.method.clone();
        head.uri = self.head.uri.clone();
        head.version = self.head.version;
        head.headers = self.head.headers.clone();
        head
    }
}

/// The right to send one request on a connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// One among many on a connection.
    Http2(Http2Stream),
    /// A connection to itself.
    Http1(Http1Stream),
}

impl Stream {
    /// Sends a request; the future waits for the response's head. Dropping it takes the request back, as far as it still can be.
    pub(crate) fn exchange(
        self,
        request: Outgoing,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Failure>> {
        match self {
            Self::Http2(stream) => Either::Left(stream.exchange(request)),
            Self::Http1(stream) => Either::Right(stream.exchange(request)),
        }
    }
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What happened.
    pub(crate) kind: FailureKind,
    /// In words, for people.
    pub(crate) cause: Arc<str>,
    /// The request, where nothing of it has been sent or read.
    pub(crate) unsent: Option<Box<Outgoing>>,
}

/// What happened to a request on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The peer said that it did not look at the request (`REFUSED_STREAM`).
    Refused,
    /// The peer goes away, and said that it did not look at the request (`GOAWAY`).
    Left,
    /// The connection was gone before the request was written.
    Unsent,
    /// The peer ended this request alone.
    Reset,
    /// The connection broke.
    Terminated,
    /// What the peer sent breaks the protocol's rules, or passes a limit.
    Garbled,
    /// The caller's own body failed.
    CallerBody,
    /// The request breaks the protocol's rules.
    Unsendable,
}

impl Failure {
    pub(crate) fn new(kind: FailureKind, cause: impl std::fmt::Display) -> Self {
        Self { kind, cause: cause.to_string().into(), unsent: None }
    }
}
