//! Circuit breakers and retry budgets, against servers that count.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use futures_util::future::join_all;
use mesh_core::resource::{CircuitBreaker, ConnectionTerms, RetryBudget};
use mesh_core::status::ResponseFlag;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::counting::{Counting, PATIENCE, PROTOCOLS, until};
use super::*;
use crate::MeshConnector;
use crate::error::Limit;

/// "At once": nobody is asked for it, and nothing is waited for.
const AT_ONCE: Duration = Duration::from_millis(500);

fn limited(server: &Counting, protocol: UpstreamProtocol, breaker: CircuitBreaker) -> Setup {
    let pool = ConnectionPool { breaker, ..ConnectionPool::DEFAULT };
    Setup { pool, protocol, ..Setup::http2([server.address]) }
}

/// A cluster's outbound side and its counts.
pub(super) fn started(setup: &Setup) -> (Outbound, Arc<ClusterState>) {
    let cluster = setup.cluster();
    let state = cluster.endpoints[0].state.cluster().clone();
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    (outbound(Parts { snapshot: snapshot(routes, Some(cluster)), ..Parts::default() }), state)
}

fn counts(state: &ClusterState) -> [u32; 3] {
    [&state.usage.requests, &state.usage.pending, &state.usage.retries].map(mesh_core::balance::Count::now)
}

/// Sends so many at once; of those beyond the limit, checks that they were answered at once and by name.
async fn refused(outbound: &Outbound, count: usize, limit: Limit) {
    let start = Instant::now();
    let responses = join_all((0..count).map(|_| send(outbound, get("/")))).await;
    assert!(start.elapsed() < AT_ONCE, "{count} took {:?}", start.elapsed());
    for response in responses {
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-envoy-overloaded"]),
            (503, &"true".parse().unwrap())
        );
        let error = error(&response);
        assert!(matches!(&error, ClientError::Overflow { limit: one, .. } if *one == limit), "{error}");
        assert_eq!(error.flag(), Some(ResponseFlag::UO));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_the_requests_that_may_be_callers_are_answered_at_once() {
    for protocol in PROTOCOLS {
        let gate = Arc::new(Semaphore::new(0));
        let server = Counting::start(200, gate.clone()).await;
        let breaker = CircuitBreaker { requests_max: 10, ..CircuitBreaker::UNLIMITED };
        let (outbound, state) = started(&limited(&server, protocol, breaker));
        let held: Vec<_> = (0..10)
            .map(|_| {
                let outbound = outbound.clone();
                tokio::spawn(async move { text(send(&outbound, get("/")).await).await })
            })
            .collect();
        until("ten are there", || server.requests() == 10).await;
        refused(&outbound, 500, Limit::Requests(10)).await;
        assert_eq!((server.requests(), counts(&state)), (10, [10, 0, 0]), "nothing has queued up");
        gate.add_permits(1);
        assert!(join_all(held).await.into_iter().all(|body| body.unwrap() == "told"));
        assert_eq!(counts(&state), [0; 3]);
        assert_eq!(text(send(&outbound, get("/")).await).await, "told");
        let record = outbound.state.records.of(&CLUSTER.into());
        assert_eq!(record.counts(ResponseFlag::UO)[2], 500);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_come_at_once_never_pass_a_limit_together() {
    for protocol in PROTOCOLS {
        let server = Counting::open(200).await;
        let breaker = CircuitBreaker { requests_max: 3, ..CircuitBreaker::UNLIMITED };
        let (outbound, state) = started(&limited(&server, protocol, breaker));
        let callers = (0..16).map(|_| {
            let outbound = outbound.clone();
            tokio::spawn(async move {
                let mut answered = 0;
                for _ in 0..50 {
                    let response = send(&outbound, get("/")).await;
                    answered += u32::from(response.status() == 200);
                    text(response).await;
                }
                answered
            })
        });
        let answered: u32 = join_all(callers).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(answered, server.requests());
        assert!((1..=3).contains(&server.most()), "{} at a time", server.most());
        assert_eq!(counts(&state), [0; 3]);
    }
}

#[tokio::test]
async fn whoever_gives_up_gives_its_place_back() {
    for protocol in PROTOCOLS {
        let gate = Arc::new(Semaphore::new(0));
        let server = Counting::start(200, gate.clone()).await;
        let breaker = CircuitBreaker {
            connections_max: 1,
            requests_max: 2,
            pending_max: 1,
            ..CircuitBreaker::UNLIMITED
        };
        let terms = ConnectionTerms { streams_max: 1, ..ConnectionTerms::DEFAULT };
        let pool = ConnectionPool { breaker, terms, ..ConnectionPool::DEFAULT };
        let (outbound, state) = started(&Setup { pool, protocol, ..Setup::http2([server.address]) });
        for round in 1..=20 {
            let (mut first, mut second) =
                (Box::pin(send(&outbound, get("/"))), Box::pin(send(&outbound, get("/"))));
            tokio::select! {
                _ = &mut first => panic!("nobody answers"),
                () = until("one is there", || server.requests() == round) => {}
            }
            assert!(futures_util::poll!(&mut second).is_pending());
            assert_eq!(counts(&state), [2, 1, 0], "one waits for the connection of the other");
            refused(&outbound, 3, Limit::Requests(2)).await;
            drop((first, second));
            assert_eq!(counts(&state), [0; 3]);
            until("the stream is given up", || server.counted.now.load(Ordering::SeqCst) == 0).await;
        }
        gate.add_permits(1);
        assert_eq!(text(send(&outbound, get("/")).await).await, "told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_wait_for_a_connection_than_may() {
    for protocol in PROTOCOLS {
        let gate = Arc::new(Semaphore::new(0));
        let server = Counting::start(200, gate.clone()).await;
        let breaker = CircuitBreaker { connections_max: 1, pending_max: 2, ..CircuitBreaker::UNLIMITED };
        let terms = ConnectionTerms { streams_max: 1, ..ConnectionTerms::DEFAULT };
        let pool = ConnectionPool { breaker, terms, ..ConnectionPool::DEFAULT };
        let (outbound, state) = started(&Setup { pool, protocol, ..Setup::http2([server.address]) });
        let call = || {
            let outbound = outbound.clone();
            tokio::spawn(async move { text(send(&outbound, get("/")).await).await })
        };
        let first = call();
        until("one is there", || server.requests() == 1).await;
        let waiting = [call(), call()];
        until("two wait", || state.usage.pending.now() == 2).await;
        refused(&outbound, 200, Limit::Pending(2)).await;
        gate.add_permits(1);
        for one in [first].into_iter().chain(waiting) {
            assert_eq!(one.await.unwrap(), "told");
        }
        assert_eq!((server.connections(), server.requests(), counts(&state)), (1, 3, [0; 3]), "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_no_more_connections_than_may_be_and_each_endpoint_has_one() {
    for protocol in PROTOCOLS {
        let servers = [Counting::open(200).await, Counting::open(200).await];
        let breaker = CircuitBreaker { connections_max: 3, ..CircuitBreaker::UNLIMITED };
        // Each answer ends its connection, so that places pass from hand to hand.
        let terms = ConnectionTerms { requests_max: 1, ..ConnectionTerms::DEFAULT };
        let pool = ConnectionPool { breaker, terms, ..ConnectionPool::DEFAULT };
        let setup =
            Setup { pool, protocol, retries: 0, ..Setup::http2(servers.iter().map(|one| one.address)) };
        let (outbound, state) = started(&setup);
        let most = AtomicU32::new(0);
        let load = join_all((0..8).map(|_| async {
            for _ in 0..25 {
                most.fetch_max(state.usage.connections.now(), Ordering::Relaxed);
                assert_eq!(text(send(&outbound, get("/")).await).await, "told");
            }
        }));
        tokio::time::timeout(PATIENCE, load).await.expect("nobody waits for ever");
        assert_eq!(servers[0].requests() + servers[1].requests(), 200);
        assert!(servers[0].connections() + servers[1].connections() >= 200);
        // Beyond the limit there is the first one of an endpoint.
        assert!((2..=4).contains(&most.load(Ordering::Relaxed)), "{}", most.load(Ordering::Relaxed));
        drop(outbound);
        until("all are closed", || state.usage.connections.now() == 0).await;
    }
}

#[tokio::test]
async fn a_cluster_of_which_everything_fails_bears_a_tenth_more_and_says_why() {
    let server = Counting::open(503).await;
    let setup = Setup { retry_on: &[RetryCondition::ServerError], ..Setup::http2([server.address]) };
    let (outbound, state) = started(&setup);
    let (mut attempts_left, mut no_budget) = (0, 0);
    for _ in 0..400 {
        let response = send(&outbound, get("/")).await;
        assert_eq!(response.status(), 503);
        match response.extensions().get::<ResponseFlag>() {
            Some(ResponseFlag::URX) => attempts_left += 1,
            Some(ResponseFlag::UO) => no_budget += 1,
            other => panic!("{other:?}"),
        }
        text(response).await;
    }
    let retries = server.requests() - 400;
    assert!((30..=50).contains(&retries), "{retries} retries of 400 requests");
    assert_eq!(attempts_left + no_budget, 400);
    let record = outbound.state.records.of(&CLUSTER.into());
    assert_eq!(record.counts(ResponseFlag::URX), [400, u64::from(retries), attempts_left]);
    assert_eq!(record.counts(ResponseFlag::UO)[2], no_budget);
    assert_eq!(counts(&state), [0; 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_charged_before_the_wait_and_a_caller_that_gives_up_pays_back_its_place() {
    let server = Counting::open(503).await;
    let budget = RetryBudget { millionths: 0, retries_min: 2, interval: Duration::ZERO };
    let breaker = CircuitBreaker { retry_budget: Some(budget), ..CircuitBreaker::UNLIMITED };
    let setup = Setup {
        retry_on: &[RetryCondition::ServerError],
        ..limited(&server, UpstreamProtocol::Http2, breaker)
    };
    let (outbound, state) = started(&setup);
    let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(send(&outbound, get("/")))).collect();
    // Each has been answered once and waits, for at least 12 ms.
    let all = async {
        while state.usage.retries.now() < 2 {
            for one in &mut waiting {
                assert!(futures_util::poll!(one).is_pending());
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("both are to be tried again");
    let third = send(&outbound, get("/")).await;
    assert_eq!(third.extensions().get::<ResponseFlag>(), Some(&ResponseFlag::UO));
    drop(waiting);
    assert_eq!(counts(&state)[2], 0);
    let fourth = send(&outbound, get("/")).await;
    assert_eq!(fourth.extensions().get::<ResponseFlag>(), Some(&ResponseFlag::URX));
}

/// A server of bytes that says nothing by itself.
async fn bytes() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = io.split();
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
            });
        }
    });
    address
}

/// A connector to a cluster of bytes, and the cluster's counts.
pub(super) async fn opaque(pool: ConnectionPool) -> (MeshConnector, Arc<ClusterState>) {
    let setup = Setup { pool, ..Setup::http2([bytes().await]) };
    let cluster = setup.cluster();
    let state = cluster.endpoints[0].state.cluster().clone();
    (super::opaque::connector_to(cluster), state)
}

#[tokio::test]
async fn connections_of_bytes_have_a_limit_and_give_their_places_back() {
    let breaker = CircuitBreaker { connections_max: 2, ..CircuitBreaker::UNLIMITED };
    let (connector, state) = opaque(ConnectionPool { breaker, ..ConnectionPool::DEFAULT }).await;
    let held = join_all((0..2).map(|_| connector.connect(HOST))).await;
    assert!(held.iter().all(Result::is_ok));
    let start = Instant::now();
    for _ in 0..50 {
        let error = connector.connect(HOST).await.unwrap_err().error;
        assert!(matches!(error, ClientError::Overflow { limit: Limit::Connections(2), .. }), "{error}");
        assert_eq!((error.flag(), error.status().as_u16()), (Some(ResponseFlag::UO), 503));
    }
    assert!(start.elapsed() < AT_ONCE);
    drop(held);
    assert_eq!(state.usage.connections.now(), 0);
    assert!(connector.connect(HOST).await.is_ok());
}
