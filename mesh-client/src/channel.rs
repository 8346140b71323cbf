//! [`MeshChannel`]: one destination, for clients that are made for one, such as tonic's.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::uri::Authority;
use http::{Request, Response};
use http_body::Body;
use mesh_core::Mesh;
use mesh_core::canonical::{HostPort, NotAHost};
use tower::Service;

use crate::body::{BoxError, ResponseBody};
use crate::client::ResponseFuture;
use crate::outbound::Outbound;

/// A way to one host; takes the place of `tonic::transport::Channel` in any generated client. Cheap to clone, and it shares its
/// connections with all other clients of the same [`Mesh`].
///
/// Failures are responses, as [`MeshClient`](crate::MeshClient) says; tonic makes them a `Status`.
#[derive(Debug, Clone)]
pub struct MeshChannel {
    outbound: Outbound,
    destination: Arc<Result<Destination, NotAHost>>,
}

/// What a channel's requests are dialled to.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    pub(crate) host: HostPort,
    /// The same as a URI says it.
    pub(crate) authority: Authority,
}

impl MeshChannel {
    /// A channel to `host`, such as `reviews:9080` (port 80 where it has none). Nothing is connected yet. A text that is no
    /// host fails each call by name.
    pub fn new(mesh: &Mesh, host: impl AsRef<str>) -> Self {
        Self { outbound: Outbound::new(mesh), destination: Arc::new(Destination::parse(host.as_ref())) }
    }
}

impl Destination {
    fn parse(host: &str) -> Result<Self, NotAHost> {
        let host = HostPort::parse(host, DEFAULT_PORT)?;
        let authority = Authority::try_from(host.as_str())
            .map_err(|_| NotAHost { text: host.as_str().to_owned(), reason: "a URI cannot hold it" })?;
        Ok(Self { host, authority })
    }
}

impl<B> Service<Request<B>> for MeshChannel
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ResponseFuture {
        ResponseFuture::of(self.outbound.clone().call(Some(self.destination.clone()), request))
    }
}

/// Of plain HTTP.
const DEFAULT_PORT: u16 = 80;
