//! What a service of which everything fails has to bear, at the end of a chain of callers that all try again.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

use super::*;

const REQUESTS: u32 = 1_000;
const CALLERS: u32 = 8;
/// What a budget holds beyond the tenth.
const FLOOR: u32 = 10;

/// A service that asks the next one, or fails while it is told to.
struct Tier {
    address: SocketAddr,
    requests: Arc<AtomicU32>,
}

impl Tier {
    async fn start(next: Option<Outbound>, fails: Arc<AtomicBool>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tier = Self { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let requests = tier.requests.clone();
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                let (requests, next, fails) = (requests.clone(), next.clone(), fails.clone());
                let service = service_fn(move |_: Request<Incoming>| {
                    requests.fetch_add(1, Ordering::SeqCst);
                    let (next, fails) = (next.clone(), fails.clone());
                    async move {
                        let status = match &next {
                            Some(next) => send(next, get("/")).await.status(),
                            None if fails.load(Ordering::SeqCst) => StatusCode::SERVICE_UNAVAILABLE,
                            None => StatusCode::OK,
                        };
                        let mut response = Response::new(Full::new(Bytes::new()));
                        *response.status_mut() = status;
                        Ok::<_, Infallible>(response)
                    }
                });
                tokio::spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(io), service).await;
                });
            }
        });
        tier
    }

    /// Somebody who calls it, and tries what fails again.
    fn caller(&self) -> Outbound {
        Setup { retry_on: &[RetryCondition::ServerError], ..Setup::http2([self.address]) }.outbound()
    }

    fn requests(&self) -> u32 {
        self.requests.load(Ordering::SeqCst)
    }
}

/// How many of so many requests succeed.
async fn succeed(outbound: &Outbound, requests: u32) -> u32 {
    let callers = (0..CALLERS).map(|_| {
        let outbound = outbound.clone();
        tokio::spawn(async move {
            let mut succeeded = 0;
            for _ in 0..requests / CALLERS {
                succeeded += u32::from(send(&outbound, get("/")).await.status() == 200);
            }
            succeeded
        })
    });
    join_all(callers).await.into_iter().map(Result::unwrap).sum()
}

async fn recovers(outbound: &Outbound, fails: &AtomicBool) {
    fails.store(false, Ordering::SeqCst);
    let recovered = Instant::now();
    while succeed(outbound, 200).await < 198 {}
    assert!(recovered.elapsed() <= Duration::from_secs(2), "{:?}", recovered.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_tier_of_which_everything_fails_bears_a_tenth_more_and_recovers_at_once() {
    let fails = Arc::new(AtomicBool::new(true));
    let tier = Tier::start(None, fails.clone()).await;
    let caller = tier.caller();
    assert_eq!(succeed(&caller, REQUESTS).await, 0);
    let borne = tier.requests();
    println!("{borne} of {REQUESTS} requests reach one tier");
    assert!(borne <= REQUESTS * 110 / 100 + FLOOR, "{borne}");
    recovers(&caller, &fails).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_tiers_of_which_everything_fails_bear_a_third_more_and_recover_at_once() {
    let fails = Arc::new(AtomicBool::new(true));
    let last = Tier::start(None, fails.clone()).await;
    let middle = Tier::start(Some(last.caller()), fails.clone()).await;
    let first = Tier::start(Some(middle.caller()), fails.clone()).await;
    let caller = first.caller();
    assert_eq!(succeed(&caller, REQUESTS).await, 0);
    let borne = [&first, &middle, &last].map(Tier::requests);
    println!("{borne:?} of {REQUESTS} requests reach three tiers");
    assert!(borne[0] <= REQUESTS * 110 / 100 + FLOOR, "{borne:?}");
    assert!(borne[1] <= REQUESTS * 121 / 100 + 2 * FLOOR + FLOOR / 10, "{borne:?}");
    assert!(borne[2] <= REQUESTS * 133 / 100 + 3 * FLOOR + FLOOR * 4 / 10, "{borne:?}");
    recovers(&caller, &fails).await;
}
