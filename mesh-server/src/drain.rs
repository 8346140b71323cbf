//! Open connections, owned: each is told to finish when the server drains, and ends at the latest with its owner. One that was
//! upgraded cannot be told, for the server does not speak its protocol: it has until the drain's deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryFutureExt;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time;
use tower::ServiceExt;

use crate::connection::{Conn, Protocol};
use crate::layer::MeshService;
use crate::protocol::{FIRST_REQUEST_TIMEOUT, Http};
use crate::refusal;
use crate::upgrade::{Hold, Tethered};

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

/// What the requests of a connection tell the task that drives it.
struct Requests {
    /// There has been one, or the handshake promises it.
    seen: AtomicBool,
    /// One was refused for its connection's sake: no further one shall come by it.
    last: Notify,
    /// One of them may end HTTP on the connection.
    hold: Arc<Hold>,
}

/// One connection to its end, or to that of whoever took it over.
async fn drive(conn: Conn, service: MeshService<axum::Router>, http: Http, draining: watch::Receiver<bool>) {
    let (conn, tether) = Tethered::new(conn);
    speak(conn, tether.hold(), service, http, draining).await;
    tether.closed().await;
}

/// HTTP on one connection.
async fn speak(
    conn: Tethered<Conn>,
    hold: Arc<Hold>,
    service: MeshService<axum::Router>,
    http: Http,
    mut draining: watch::Receiver<bool>,
) {
    let peer = conn.io().peer().clone();
    let protocol = conn.io().protocol();
    let seen = AtomicBool::new(protocol != Protocol::Unknown);
    let requests = Arc::new(Requests { seen, last: Notify::new(), hold });
    let answer = {
        let (peer, requests) = (peer.clone(), Arc::clone(&requests));
        service_fn(move |mut request: Request<Incoming>| {
            requests.seen.store(true, Ordering::Relaxed);
            request.extensions_mut().insert(peer.clone());
            // The one erasure of the foreign body: hyper's becomes axum's.
            let answer = service.clone().oneshot(request.map(axum::body::Body::new));
            let requests = Arc::clone(&requests);
            answer.inspect_ok(move |response| {
                if response.extensions().get() == Some(&refusal::Connection::Ends) {
                    requests.last.notify_one();
                }
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    requests.hold.hand_over();
                }
            })
        })
    };
    let connection = http.of(protocol).serve_connection_with_upgrades(TokioIo::new(conn), answer);
    let mut connection = std::pin::pin!(connection);
    let mut first_request = std::pin::pin!(time::sleep(FIRST_REQUEST_TIMEOUT));
    let mut ending = std::pin::pin!(async {
        tokio::select! {
            // An error says that the owner is gone, who has ended this task by then.
            _ = draining.wait_for(|draining| *draining) => {}
            () = requests.last.notified() => {}
        }
    });
    let (mut told, mut checked) = (false, false);
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(peer = %peer.address(), error, "connection ended early");
                }
                return;
            }
            () = &mut ending, if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut first_request, if !checked => {
                checked = true;
                if !requests.seen.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}
