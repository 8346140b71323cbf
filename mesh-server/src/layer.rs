//! The inbound stack as a tower layer, for those who keep their own `axum::serve` or `tonic::transport::Server`.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::ServiceExt;
use axum::extract::connect_info::IntoMakeServiceWithConnectInfo;
use http::{Request, Response};
use mesh_core::Mesh;
use tower::{Layer, Service};

use crate::guards::Guards;
use crate::peer::Peer;
use crate::refusal::RefusalBody;
use crate::stack;

/// Wraps a **finished** application; see [`MeshListener`](crate::MeshListener) for the whole.
///
/// Inside a router it would miss the routes merged later and judge paths that routing has already changed. It notices
/// that, refuses every request, and logs the line to write instead.
///
/// Policy and mode of this moment hold for each request. On a connection that a new mode would not let in every request is
/// denied; HTTP/1.1 is closed by that, HTTP/2 only by [`Server`](crate::Server), since a layer cannot send a GOAWAY.
#[derive(Debug, Clone)]
pub struct MeshLayer(());

/// An application behind [`MeshLayer`].
#[derive(Debug, Clone)]
pub struct MeshService<S> {
    application: S,
}

impl MeshLayer {
    /// The layer for services that listen in this mesh. From now on its listeners accept.
    pub fn new(mesh: &Mesh) -> Self {
        Guards::of(mesh).made();
        Self(())
    }
}

impl<S> Layer<S> for MeshLayer {
    type Service = MeshService<S>;

    fn layer(&self, application: S) -> MeshService<S> {
        MeshService { application }
    }
}

impl<S> MeshService<S> {
    /// What `axum::serve` takes, with the connection's facts for the layer and for handlers.
    pub fn into_make_service(self) -> IntoMakeServiceWithConnectInfo<Self, Peer>
    where
        Self: Service<axum::extract::Request>,
    {
        ServiceExt::<axum::extract::Request>::into_make_service_with_connect_info(self)
    }
}

impl<S, B, R> Service<Request<B>> for MeshService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: RefusalBody + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    /// The one box of the stack: a trait's future must have a name, those of its stages have none.
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.application.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled ready goes with the request, its clone waits to be polled.
        let waiting = self.application.clone();
        let ready = mem::replace(&mut self.application, waiting);
        Box::pin(stack::run(ready, request))
    }
}
