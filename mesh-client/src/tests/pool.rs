//! How many connections there are, and what becomes of them.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore};

use super::peer::{Manner, Peer};
use super::*;

fn close_all(cluster: &Cluster) {
    for endpoint in &cluster.endpoints {
        endpoint.state.transport.get().expect("a pool").close();
    }
}

#[tokio::test]
async fn callers_that_come_at_once_share_one_connect_and_one_connection() {
    let peer = Peer::start(Manner::Echo).await;
    let outbound = Setup::http2([peer.address]).outbound();
    let responses = join_all((0..50).map(|_| send(&outbound, get("/")))).await;
    assert!(responses.iter().all(|response| response.status() == 200));
    drop(responses);
    assert_eq!(peer.connections(), 1);
}

#[tokio::test]
async fn a_further_connection_is_made_when_one_is_out_of_streams() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::with_streams(Manner::Wait(gate.clone()), 2).await;
    let outbound = Setup::http2([peer.address]).outbound();
    let (responses, ()) = tokio::join!(join_all((0..5).map(|_| send(&outbound, get("/")))), async {
        peer.until_requests(5).await;
        gate.add_permits(5);
    });
    assert!(responses.iter().all(|response| response.status() == 200));
    assert_eq!(peer.connections(), 3);
}

#[tokio::test]
async fn beyond_the_connections_that_may_be_requests_wait_for_a_stream() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::with_streams(Manner::Wait(gate.clone()), 1).await;
    let outbound = Setup::http2([peer.address]).outbound();
    let (responses, ()) = tokio::join!(
        join_all((0..40).map(|_| async { text(send(&outbound, get("/")).await).await })),
        async {
            peer.until_requests(8).await;
            gate.add_permits(40);
        }
    );
    assert!(responses.iter().all(|body| body == "waited"));
    assert_eq!(peer.connections(), 8);
}

#[tokio::test]
async fn an_endpoint_that_leaves_finishes_what_it_has_and_closes() {
    let gate = Arc::new(Semaphore::new(0));
    let peer = Peer::start(Manner::Wait(gate.clone())).await;
    let setup = Setup::http2([peer.address]);
    let cluster = setup.cluster();
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    let outbound = outbound(Parts { snapshot: snapshot(routes, Some(cluster.clone())), ..Parts::default() });
    let (response, ()) = tokio::join!(send(&outbound, get("/")), async {
        peer.until_requests(1).await;
        close_all(&cluster);
        gate.add_permits(1);
    });
    assert_eq!(text(response).await, "waited");
    peer.until_open(0).await;
    // A request that still holds the old snapshot is served all the same.
    gate.add_permits(1);
    assert_eq!(text(send(&outbound, get("/")).await).await, "waited");
    assert_eq!(peer.connections(), 2);
}

#[tokio::test]
async fn a_caller_that_gives_up_resets_its_stream_and_leaves_the_connection() {
    let given_up = Arc::new(Notify::new());
    let peer = Peer::start(Manner::Silent(given_up.clone())).await;
    let setup = Setup::http2([peer.address]);
    let cluster = setup.cluster();
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    let outbound = outbound(Parts { snapshot: snapshot(routes, Some(cluster.clone())), ..Parts::default() });
    for _ in 0..2 {
        let seen = peer.requests();
        tokio::select! {
            _ = send(&outbound, get("/")) => panic!("the peer never answers"),
            () = peer.until_requests(seen + 1) => {}
        }
        given_up.notified().await;
    }
    assert_eq!(peer.connections(), 1);
    assert_eq!(cluster.endpoints[0].state.in_flight.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_connect_goes_on_when_the_request_that_asked_for_it_is_given_up() {
    let peer = Peer::start(Manner::Echo).await;
    let outbound = Setup::http2([peer.address]).outbound();
    // One poll starts the connect; then the request is gone.
    let abandoned = Box::pin(send(&outbound, get("/")));
    assert!(futures_util::FutureExt::now_or_never(abandoned).is_none());
    while peer.connections() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(send(&outbound, get("/")).await.status(), 200);
    assert_eq!(peer.connections(), 1);
}

/// A mesh whose one cluster has these of the setup's endpoints, and what changes them.
struct Changing {
    setup: Setup,
    states: mesh_core::balance::EndpointStates,
}

impl Changing {
    fn to(&mut self, addresses: &[SocketAddr]) -> Snapshot {
        let cluster = self.setup.cluster();
        let chosen = cluster.endpoints.iter().map(|endpoint| endpoint.spec.clone());
        let chosen: Vec<_> = chosen.filter(|spec| addresses.contains(&spec.address)).collect();
        let (state, endpoints) = self.states.join(&cluster.spec, &chosen);
        let cluster = Arc::new(Cluster::new(cluster.spec.clone(), endpoints, state));
        snapshot(vec![route(RouteMatch::everything(), self.setup.forward())], Some(cluster))
    }
}

#[tokio::test]
async fn an_endpoint_that_joins_is_connected_to_before_it_is_asked() {
    let peers = [Peer::start(Manner::Echo).await, Peer::start(Manner::Echo).await];
    let addresses = [peers[0].address, peers[1].address];
    let mut changing = Changing { setup: Setup::http2(addresses), states: Default::default() };
    let (mesh, publisher) =
        Mesh::from_parts(Parts { snapshot: changing.to(&addresses[..1]), ..Parts::default() });
    let outbound = Outbound::new(&mesh);
    assert_eq!(send(&outbound, get("/")).await.status(), 200);
    publisher.publish(changing.to(&addresses));
    // Nobody waits for it: as long as its connection is not there, the other one is asked.
    while peers[1].connections() == 0 {
        assert_eq!(peers[1].requests(), 0);
        assert_eq!(send(&outbound, get("/")).await.status(), 200);
    }
    while peers[1].requests() == 0 {
        assert_eq!(send(&outbound, get("/")).await.status(), 200);
    }
    assert_eq!((peers[0].connections(), peers[1].connections()), (1, 1));
}

#[tokio::test]
async fn a_fleet_that_joins_gets_few_connections() {
    let peers = join_all((0..100).map(|_| Peer::start(Manner::Echo))).await;
    let addresses: Vec<_> = peers.iter().map(|peer| peer.address).collect();
    let mut changing = Changing { setup: Setup::http2(addresses.clone()), states: Default::default() };
    let (mesh, _publisher) =
        Mesh::from_parts(Parts { snapshot: changing.to(&addresses[..1]), ..Parts::default() });
    let outbound = Outbound::new(&mesh);
    let unused = changing.to(&addresses[..2]);
    assert_eq!(send(&outbound, get("/")).await.status(), 200);
    drop(unused);
    changing.to(&addresses);
    let connected = || peers.iter().filter(|peer| peer.connections() > 0).count();
    let start = std::time::Instant::now();
    while connected() < 64 {
        assert!(start.elapsed() < Duration::from_secs(10), "{} are connected", connected());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // All connects have begun by then.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(connected(), 64);
    assert_eq!(peers[1].connections(), 0, "it joined a cluster that nobody used, and is no newcomer now");
}

#[test]
fn a_connect_that_ends_with_its_runtime_is_made_on_another() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (other, first) = (runtime(), runtime());
    let peer = other.block_on(Peer::start(Manner::Echo));
    let outbound = Setup::http2([peer.address]).outbound();
    // One poll begins the connect, which nobody drives to its end.
    first.block_on(async {
        assert!(futures_util::FutureExt::now_or_never(Box::pin(send(&outbound, get("/")))).is_none());
    });
    drop(first);
    other.block_on(async {
        let answer = tokio::time::timeout(Duration::from_secs(10), send(&outbound, get("/"))).await;
        assert_eq!(answer.expect("no wait for what never ends").status(), 200);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_come_and_go_under_load_cost_no_request() {
    let peers = [Peer::start(Manner::Echo).await, Peer::start(Manner::Echo).await];
    // Without retries, so that nothing hides what a removal breaks.
    let setup = Setup { retries: 0, ..Setup::http2(peers.iter().map(|peer| peer.address)) };
    let spec = setup.cluster().spec.clone();
    let specs: Vec<_> = setup.cluster().endpoints.iter().map(|endpoint| endpoint.spec.clone()).collect();
    let mut states = mesh_core::balance::EndpointStates::default();
    let mut joined = |specs: &[EndpointSpec]| {
        let (state, endpoints) = states.join(&spec, specs);
        let cluster = Arc::new(Cluster::new(spec.clone(), endpoints, state));
        snapshot(vec![route(RouteMatch::everything(), setup.forward())], Some(cluster))
    };
    let (mesh, publisher) = Mesh::from_parts(Parts { snapshot: joined(&specs), ..Parts::default() });
    let outbound = Outbound::new(&mesh);
    let ended = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let load = (0..8).map(|_| {
        let (outbound, ended) = (outbound.clone(), ended.clone());
        tokio::spawn(async move {
            let mut count = 0;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let response = send(&outbound, get("/")).await;
                assert_eq!(response.status(), 200, "{:?}", response.extensions().get::<ClientError>());
                count += 1;
            }
            count
        })
    });
    let load: Vec<_> = load.collect();
    for round in 0..50 {
        let seen = peers[0].requests() + peers[1].requests();
        while peers[0].requests() + peers[1].requests() < seen + 20 {
            tokio::task::yield_now().await;
        }
        publisher.publish(joined(if round % 2 == 0 { &specs[1..] } else { &specs }));
    }
    ended.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent: u32 = join_all(load).await.into_iter().map(Result::unwrap).sum();
    assert_eq!(sent, peers[0].requests() + peers[1].requests());
    assert!(peers[0].connections() > 1, "it was closed and connected to anew");
}
