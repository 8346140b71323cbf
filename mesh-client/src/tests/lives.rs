//! How long connections live, against servers that count.

use std::sync::atomic::Ordering;
use std::time::Instant;

use futures_util::future::join_all;
use mesh_core::resource::ConnectionTerms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

use super::counting::{Counting, PROTOCOLS, until};
use super::limits::{opaque, started};
use super::*;
use crate::OpaqueOver;

fn living(server: &Counting, protocol: UpstreamProtocol, terms: ConnectionTerms) -> Setup {
    let pool = ConnectionPool { terms, ..ConnectionPool::DEFAULT };
    Setup { pool, protocol, retries: 0, ..Setup::http2([server.address]) }
}

/// Eight callers for a while; none of their requests may fail.
async fn load(outbound: &Outbound, time: Duration) -> u32 {
    let start = Instant::now();
    let callers = (0..8).map(|_| {
        let outbound = outbound.clone();
        tokio::spawn(async move {
            let mut sent = 0;
            while start.elapsed() < time {
                let response = send(&outbound, get("/")).await;
                assert_eq!(response.status(), 200, "{:?}", response.extensions().get::<ClientError>());
                assert_eq!(text(response).await, "told");
                sent += 1;
            }
            sent
        })
    });
    join_all(callers).await.into_iter().map(Result::unwrap).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_carries_so_many_requests_and_its_end_fails_none() {
    for protocol in PROTOCOLS {
        for requests_max in [1, 7] {
            let server = Counting::open(200).await;
            let terms = ConnectionTerms { requests_max, ..ConnectionTerms::DEFAULT };
            let (outbound, _) = started(&living(&server, protocol, terms));
            let sent = load(&outbound, Duration::from_millis(300)).await;
            assert_eq!(sent, server.requests());
            assert!(server.connections() >= sent.div_ceil(requests_max), "{protocol:?} {requests_max}");
            if requests_max == 1 {
                until("all are closed", || server.counted.open.load(Ordering::SeqCst) == 0).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_leaves_at_its_age_and_fails_no_request() {
    for protocol in PROTOCOLS {
        let server = Counting::open(200).await;
        let terms = ConnectionTerms { age_max: Some(Duration::from_millis(50)), ..ConnectionTerms::DEFAULT };
        let (outbound, _) = started(&living(&server, protocol, terms));
        let sent = load(&outbound, Duration::from_millis(600)).await;
        assert_eq!(sent, server.requests());
        assert!(server.connections() >= 4, "{} connections", server.connections());
        until("the last one is closed, though nobody calls", || {
            server.counted.open.load(Ordering::SeqCst) == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    for protocol in PROTOCOLS {
        let server = Counting::open(200).await;
        let terms =
            ConnectionTerms { idle_timeout: Some(Duration::from_millis(300)), ..ConnectionTerms::DEFAULT };
        let (outbound, state) = started(&living(&server, protocol, terms));
        for _ in 0..30 {
            assert_eq!(text(send(&outbound, get("/")).await).await, "told");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(server.connections(), 1, "{protocol:?}");
        until("it is closed", || server.counted.open.load(Ordering::SeqCst) == 0).await;
        until("its place is free", || state.usage.connections.now() == 0).await;
        assert_eq!(text(send(&outbound, get("/")).await).await, "told");
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn so_many_streams_share_a_connection() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Counting::start(200, gate.clone()).await;
    let terms = ConnectionTerms { streams_max: 2, ..ConnectionTerms::DEFAULT };
    let (outbound, _) = started(&living(&server, UpstreamProtocol::Http2, terms));
    let (responses, ()) = tokio::join!(join_all((0..6).map(|_| send(&outbound, get("/")))), async {
        until("six are there", || server.requests() == 6).await;
        gate.add_permits(1);
    });
    assert!(responses.iter().all(|response| response.status() == 200));
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_connection_of_bytes_ends_when_it_is_idle_or_old() {
    let ended = async |terms: ConnectionTerms, expected: OpaqueOver| {
        let (connector, state) = opaque(ConnectionPool { terms, ..ConnectionPool::DEFAULT }).await;
        let mut stream = connector.connect(HOST).await.unwrap();
        let mut byte = [0];
        for _ in 0..5 {
            stream.write_all(b"x").await.unwrap();
            stream.read_exact(&mut byte).await.unwrap();
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        let error = stream.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        let over = error.get_ref().and_then(|error| error.downcast_ref::<OpaqueOver>());
        assert_eq!(over, Some(&expected));
        assert_eq!(state.usage.connections.now(), 0, "it is closed");
        assert!(stream.write_all(b"x").await.is_err());
    };
    let (short, long) = (Duration::from_millis(150), Duration::from_millis(600));
    let terms =
        |idle, age| ConnectionTerms { opaque_idle_timeout: idle, age_max: age, ..ConnectionTerms::DEFAULT };
    ended(terms(Some(short), None), OpaqueOver::Idle(short)).await;
    ended(terms(None, Some(long)), OpaqueOver::Age(long)).await;
}
