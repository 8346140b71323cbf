//! Open connections, owned: each is told to finish when the server drains, and ends at the latest with its owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time;
use tower::ServiceExt;

use crate::connection::{Conn, Protocol};
use crate::layer::MeshService;
use crate::protocol::{FIRST_REQUEST_TIMEOUT, Http};

/// Every connection of a server; dropping it ends them all at once.
#[derive(Debug)]
pub(crate) struct Connections {
    tasks: JoinSet<()>,
    draining: watch::Sender<bool>,
    http: Http,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self { tasks: JoinSet::new(), draining: watch::Sender::new(false), http: Http::new() }
    }

    /// Serves one more connection, in a task of its own.
    pub(crate) fn serve(&mut self, conn: Conn, service: MeshService<axum::Router>) {
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(drive(conn, service, self.http.clone(), self.draining.subscribe()));
    }

    /// Tells every peer to go elsewhere with its next request (GOAWAY; `connection: close`) and waits for those under
    /// way, at most `deadline`. Answers how many connections had to be broken.
    pub(crate) async fn drain(&mut self, deadline: Duration) -> usize {
        self.draining.send_replace(true);
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if time::timeout(deadline, finished).await.is_ok() {
            return 0;
        }
        let left = self.tasks.len();
        self.tasks.shutdown().await;
        left
    }
}

/// One connection to its end.
async fn drive(
    conn: Conn,
    service: MeshService<axum::Router>,
    http: Http,
    mut draining: watch::Receiver<bool>,
) {
    let peer = conn.peer().clone();
    let protocol = conn.protocol();
    let requested = Arc::new(AtomicBool::new(protocol != Protocol::Unknown));
    let answer = {
        let (peer, requested) = (peer.clone(), Arc::clone(&requested));
        service_fn(move |mut request: Request<Incoming>| {
            requested.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer.clone());
            // The one erasure of the foreign body: hyper's becomes axum's.
            service.clone().oneshot(request.map(axum::body::Body::new))
        })
    };
    let connection = http.of(protocol).serve_connection_with_upgrades(TokioIo::new(conn), answer);
    let mut connection = std::pin::pin!(connection);
    let mut first_request = std::pin::pin!(time::sleep(FIRST_REQUEST_TIMEOUT));
    let (mut told, mut checked) = (false, false);
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(peer = %peer.address(), error, "connection ended early");
                }
                return;
            }
            // An error says that the owner is gone, who has ended this task by then.
            _ = draining.wait_for(|draining| *draining), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut first_request, if !checked => {
                checked = true;
                if !requested.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}
