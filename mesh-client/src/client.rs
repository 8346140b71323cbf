//! [`MeshClient`]: HTTP requests to whatever host their URI names.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use mesh_core::Mesh;
use tower::Service;

use crate::body::{BoxError, ResponseBody};
use crate::outbound::Outbound;

/// A client for all hosts, inside the mesh and out; cheap to clone, and all clients of one [`Mesh`] share its connections.
///
/// The URI says what is dialled (`http://reviews:9080/…`, port 80 where it has none). A `host` header decides instead where it
/// names a host of the mesh on that port, as it does behind a sidecar.
///
/// The service itself never fails: what goes wrong becomes a response, as behind a sidecar (503, 504, 404 …; for gRPC
/// trailers-only), which carries the [`ClientError`](crate::ClientError) in its extensions. It is always ready: what it holds
/// back, it bounds per endpoint.
///
/// Requests made while another one is served take over its deadline, trace and propagated headers
/// ([`RequestContext`](mesh_core::context::RequestContext)).
#[derive(Debug, Clone)]
pub struct MeshClient {
    outbound: Outbound,
}

/// A response that is being waited for.
///
/// It is boxed, the one time on the request path: the type of the stack's future cannot be named on stable Rust.
pub struct ResponseFuture(Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send + 'static>>);

impl MeshClient {
    /// A client for `mesh`'s hosts and those outside.
    pub fn new(mesh: &Mesh) -> Self {
        Self { outbound: Outbound::new(mesh) }
    }
}

impl<B> Service<Request<B>> for MeshClient
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
        ResponseFuture::of(self.outbound.clone().call(None, request))
    }
}

impl ResponseFuture {
    pub(crate) fn of(response: impl Future<Output = Response<ResponseBody>> + Send + 'static) -> Self {
        Self(Box::pin(response))
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx).map(Ok)
    }
}

impl std::fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
