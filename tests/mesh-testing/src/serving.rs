//! An application of a member, behind the mesh's own server, and the count of what reached it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Request;
use mesh_core::Mesh;
use mesh_server::{Counters, Server};
use tokio_util::task::AbortOnDropHandle;
use tower::util::MapRequestLayer;

/// Serves until it is dropped.
pub(crate) struct Serving {
    pub(crate) counters: Arc<Counters>,
    received: Arc<AtomicU64>,
    _task: AbortOnDropHandle<()>,
}

impl Serving {
    pub(crate) async fn start(mesh: &Mesh, address: SocketAddr, app: Router) -> io::Result<Self> {
        let server = Server::builder(mesh).bind(address).await?;
        let (counters, received) = (server.counters(), Arc::<AtomicU64>::default());
        let counted = received.clone();
        // Inside of the policy: what it turns away has not reached the application.
        let app = app.layer(MapRequestLayer::new(move |request: Request| {
            counted.fetch_add(1, Ordering::Relaxed);
            request
        }));
        let task = tokio::spawn(async move {
            if let Err(error) = server.serve_with_shutdown(app, std::future::pending()).await {
                tracing::error!(%address, %error, "the service has ended");
            }
        });
        Ok(Self { counters, received, _task: AbortOnDropHandle::new(task) })
    }

    /// How many requests reached the application.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}
