//! A server of HTTP/1.1 and HTTP/2 that counts its connections and requests.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::*;

/// What a server counts.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) connections: AtomicU32,
    /// Of the connections, those that are open.
    pub(super) open: AtomicU32,
    pub(super) requests: AtomicU32,
    /// Of the requests, those that are not answered.
    pub(super) now: AtomicU32,
    most: AtomicU32,
}

#[derive(Debug, Clone)]
pub(super) struct Counting {
    pub(super) address: SocketAddr,
    pub(super) counted: Arc<Counted>,
}

/// One up while it is there.
struct Up<'c>(&'c AtomicU32);

impl<'c> Up<'c> {
    fn new(count: &'c AtomicU32) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Counting {
    /// Speaks HTTP/1.1 and HTTP/2, and answers a request with that status once the gate lets it.
    pub(super) async fn start(status: u16, gate: Arc<Semaphore>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), counted: Arc::default() };
        let counted = server.counted.clone();
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                counted.connections.fetch_add(1, Ordering::SeqCst);
                let (counted, gate) = (counted.clone(), gate.clone());
                tokio::spawn(async move {
                    let _open = Up::new(&counted.open);
                    let service = service_fn(|_: Request<Incoming>| {
                        let (counted, gate) = (counted.clone(), gate.clone());
                        async move {
                            counted.requests.fetch_add(1, Ordering::SeqCst);
                            let _now = Up::new(&counted.now);
                            counted.most.fetch_max(counted.now.load(Ordering::SeqCst), Ordering::SeqCst);
                            let _passed = gate.acquire().await.unwrap();
                            let mut response = Response::new(Full::new(Bytes::from_static(b"told")));
                            *response.status_mut() = StatusCode::from_u16(status).unwrap();
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(io), service).await;
                });
            }
        });
        server
    }

    /// One that lets everything pass.
    pub(super) async fn open(status: u16) -> Self {
        Self::start(status, Arc::new(Semaphore::new(Semaphore::MAX_PERMITS))).await
    }

    pub(super) fn requests(&self) -> u32 {
        self.counted.requests.load(Ordering::SeqCst)
    }

    pub(super) fn connections(&self) -> u32 {
        self.counted.connections.load(Ordering::SeqCst)
    }

    pub(super) fn most(&self) -> u32 {
        self.counted.most.load(Ordering::SeqCst)
    }
}

/// Waits for a fact, but not for ever.
pub(super) async fn until(what: &str, fact: impl Fn() -> bool) {
    let start = Instant::now();
    while !fact() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// However busy the machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// What servers speak.
pub(super) const PROTOCOLS: [UpstreamProtocol; 2] = [UpstreamProtocol::Http1, UpstreamProtocol::Http2];
