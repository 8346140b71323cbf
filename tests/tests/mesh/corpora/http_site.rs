//! A real server of the mesh for raw bytes, whose application counts the requests that came to it in full.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use http_body_util::BodyExt;
use mesh_server::Server;
use mesh_tests::{ControlPlane, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long a server is waited for that may be waiting for more.
const FIRST_ANSWER: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct HttpSite {
    address: SocketAddr,
    whole: Arc<AtomicUsize>,
    _control_plane: ControlPlane,
}

/// What came of some bytes.
pub(super) struct Came {
    /// Requests whose head and body came to the application in full.
    pub(super) whole: usize,
    pub(super) answer: Vec<u8>,
}

impl HttpSite {
    pub(super) async fn start() -> Self {
        let control_plane = ControlPlane::start();
        let mesh = control_plane.join(&["--service", "echo:9080"]).await;
        let whole: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&whole);
        let app = Router::new().fallback(move |request: Request| async move {
            if request.into_body().collect().await.is_ok() {
                counted.fetch_add(1, Ordering::SeqCst);
            }
        });
        let server = Server::builder(&mesh).bind("127.0.0.1:0").await.expect("a free port");
        let address = server.address();
        tokio::spawn(server.serve_with_shutdown(app, std::future::pending()));
        wait::until("the server listens", Duration::from_secs(20), || {
            std::net::TcpStream::connect(address).ok()
        });
        Self { address, whole, _control_plane: control_plane }
    }

    /// Sends bytes, and their end once the server has answered or has had the time to; none where it neither answers nor closes.
    pub(super) async fn exchange(&self, bytes: &[u8]) -> Option<Came> {
        let before = self.whole.load(Ordering::SeqCst);
        let mut socket = TcpStream::connect(self.address).await.expect("somebody listens");
        let mut answer = Vec::new();
        let talk = async {
            // A server that is told of the end gives up what it is at, so the end must not come first.
            socket.write_all(bytes).await?;
            let _ = timeout(FIRST_ANSWER, socket.read_buf(&mut answer)).await;
            socket.shutdown().await?;
            socket.read_to_end(&mut answer).await
        };
        // An error is a connection that was reset, which is an end too.
        let _ = timeout(PATIENCE, talk).await.ok()?;
        Some(Came { whole: self.whole.load(Ordering::SeqCst) - before, answer })
    }
}
