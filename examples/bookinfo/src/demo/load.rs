//! Callers outside the mesh, like a browser: they ask productpage for the reviews and note which version answered.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What has been seen so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) v1: u64,
    pub(super) v2: u64,
    pub(super) failed: u64,
    pub(super) problem: Option<String>,
}

impl Counts {
    /// All requests.
    pub(super) fn requests(&self) -> u64 {
        self.v1 + self.v2 + self.failed
    }

    /// What has come since `before`.
    pub(super) fn since(&self, before: &Counts) -> Counts {
        Counts { v1: self.v1 - before.v1, v2: self.v2 - before.v2, ..self.clone() }
    }

    /// The last failure.
    pub(super) fn problem(&self) -> &str {
        self.problem.as_deref().unwrap_or("none")
    }
}

/// Callers at work.
pub(super) struct Load {
    shared: Arc<Shared>,
    callers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    counting: AtomicBool,
    stop: AtomicBool,
    v1: AtomicU64,
    v2: AtomicU64,
    failed: AtomicU64,
    problem: Mutex<Option<String>>,
}

impl Load {
    /// Starts `callers` of them, each with a connection of its own.
    pub(super) fn start(productpage: SocketAddr, callers: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let callers = (0..callers).map(|_| tokio::spawn(call(productpage, shared.clone()))).collect();
        Self { shared, callers }
    }

    /// Waits until a first answer has come; failures before it are the fleet's start and are not counted.
    pub(super) async fn until_answered(&self, limit: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while !self.shared.counting.load(Ordering::Relaxed) {
            if start.elapsed() > limit {
                bail!("the last answer: {}", self.counts().problem());
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// What has been seen so far.
    pub(super) fn counts(&self) -> Counts {
        Counts {
            v1: self.shared.v1.load(Ordering::Relaxed),
            v2: self.shared.v2.load(Ordering::Relaxed),
            failed: self.shared.failed.load(Ordering::Relaxed),
            problem: self.shared.problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Ends the callers, each after the answer it waits for.
    pub(super) async fn stop(self) -> Counts {
        self.shared.stop.store(true, Ordering::Relaxed);
        let counts = Self { shared: self.shared, callers: Vec::new() };
        for caller in self.callers {
            // A caller that panicked has shown itself on the terminal.
            let _ = caller.await;
        }
        counts.counts()
    }
}

async fn call(productpage: SocketAddr, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::Relaxed) {
        if let Err(problem) = converse(productpage, &shared).await {
            *shared.problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(format!("{problem:#}"));
            if shared.counting.load(Ordering::Relaxed) {
                shared.failed.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Asks over one connection until told to stop.
async fn converse(productpage: SocketAddr, shared: &Shared) -> anyhow::Result<()> {
    let tcp = TcpStream::connect(productpage).await.context("productpage cannot be reached")?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(driver);
    while !shared.stop.load(Ordering::Relaxed) {
        let request =
            http::Request::get("/api/v1/products/0/reviews").header("host", productpage.to_string());
        let answer = sender.send_request(request.body(Empty::<bytes::Bytes>::new())?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        ensure!(status.is_success(), "{status}: {text}");
        let version = if text.contains("reviews-v2") { &shared.v2 } else { &shared.v1 };
        version.fetch_add(1, Ordering::Relaxed);
        shared.counting.store(true, Ordering::Relaxed);
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

/// Between two requests of a caller: enough to move the bars, not so much as to heat the machine.
const PACE: Duration = Duration::from_millis(5);
const PAUSE: Duration = Duration::from_millis(100);
