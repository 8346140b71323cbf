//! Consistent hashing on sockets: which of several endpoints answers, and what a caller is told to come back with.

use std::collections::BTreeSet;

use mesh_core::route::{HashCookie, HashKey, HashPolicy, HashTableKind, SessionLifetime};

use super::peer::{Manner, Peer};
use super::*;

const RING: HashTableKind = HashTableKind::Ring { points_min: 1024 };
const MAGLEV: HashTableKind = HashTableKind::Maglev { entries: 65_537 };

fn header() -> HashKey {
    HashKey::header("x-user").unwrap()
}

fn cookie(ttl: Option<Duration>) -> HashKey {
    HashKey::cookie(HashCookie { name: "uid".into(), ttl, ..HashCookie::default() }).unwrap()
}

/// The setup's cluster, hashing.
fn hashing(setup: &Setup, key: HashKey, table: HashTableKind) -> Arc<Cluster> {
    let cluster = setup.cluster();
    let balancer = BalancerPolicy::Hash(Arc::new(HashPolicy { key, table }));
    let spec = ClusterSpec { balancer, ..(*cluster.spec).clone() };
    Arc::new(Cluster::new(Arc::new(spec), cluster.endpoints.to_vec(), Arc::default()))
}

struct Three {
    peers: [Peer; 3],
    outbound: Outbound,
    asked: [u32; 3],
}

impl Three {
    async fn start(key: HashKey, table: HashTableKind) -> Self {
        Self::with(key, table, |forward| forward).await
    }

    async fn with(key: HashKey, table: HashTableKind, change: impl FnOnce(Forward) -> Forward) -> Self {
        let start = || Peer::start(Manner::TellHeaders);
        let peers = [start().await, start().await, start().await];
        let setup = Setup::http2(peers.each_ref().map(|peer| peer.address));
        let RouteAction::Forward(forward) = setup.forward() else { panic!("it forwards") };
        let routes = vec![route(RouteMatch::everything(), RouteAction::Forward(change(forward)))];
        let snapshot = snapshot(routes, Some(hashing(&setup, key, table)));
        Self { peers, outbound: outbound(Parts { snapshot, ..Parts::default() }), asked: [0; 3] }
    }

    /// Who answered, and the cookies that came with it.
    async fn ask(
        &mut self,
        path: &str,
        header: Option<(&'static str, &str)>,
        seed: u64,
    ) -> (usize, Vec<String>) {
        let mut request = get(path);
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let response = self.outbound.clone().call_with(None, request, fastrand::Rng::with_seed(seed)).await;
        assert_eq!(response.status(), 200);
        let told = response.headers().get_all("set-cookie").iter();
        let told = told.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
        let asked = self.peers.each_ref().map(Peer::requests);
        let who = (0..3).find(|at| asked[*at] != self.asked[*at]).expect("somebody answered");
        self.asked = asked;
        (who, told)
    }
}

#[tokio::test]
async fn a_key_meets_one_endpoint_and_a_request_without_it_any() {
    for table in [RING, MAGLEV] {
        let mut three = Three::start(header(), table).await;
        let mut met = BTreeSet::new();
        for user in 0..24 {
            let user = format!("user-{user}");
            let first = three.ask("/", Some(("x-user", &user)), 0).await;
            for seed in 1..4 {
                assert_eq!(three.ask("/a?b", Some(("x-user", &user)), seed).await, first, "{user}");
            }
            met.insert(first);
        }
        assert_eq!(met, BTreeSet::from([0, 1, 2].map(|who| (who, Vec::new()))));
        let mut drawn = BTreeSet::new();
        for seed in 0..24 {
            drawn.insert(three.ask("/", None, seed).await.0);
        }
        // By latency one of three may be passed over for a while.
        assert!(drawn.len() > 1, "{drawn:?}");
    }
}

#[tokio::test]
async fn a_query_parameter_and_the_callers_address_are_keys_too() {
    let mut by_query = Three::start(HashKey::query("user").unwrap(), RING).await;
    let mut met = BTreeSet::new();
    for user in 0..24 {
        let path = format!("/?x=1&user={user}");
        let first = by_query.ask(&path, None, 0).await;
        assert_eq!(by_query.ask(&path, None, 1).await, first);
        met.insert(first.0);
    }
    assert_eq!(met.len(), 3);
    let mut by_address = Three::start(HashKey::SourceAddress, RING).await;
    let first = by_address.ask("/", None, 0).await;
    for seed in 1..12 {
        assert_eq!(by_address.ask("/", Some(("x-user", "ada")), seed).await, first);
    }
}

#[tokio::test]
async fn a_cookie_is_told_once_and_leads_back() {
    let mut three = Three::start(cookie(Some(Duration::from_secs(60))), MAGLEV).await;
    let mut met = BTreeSet::new();
    for seed in 0..24 {
        let (who, told) = three.ask("/", None, seed).await;
        let [told] = &told[..] else { panic!("{told:?}") };
        let pair = told.strip_suffix("; Max-Age=60; HttpOnly").expect("the attributes");
        for seed in 0..3 {
            assert_eq!(three.ask("/", Some(("cookie", pair)), seed).await, (who, Vec::new()));
        }
        met.insert(who);
    }
    assert_eq!(met.len(), 3, "cookies lead everywhere");
}

#[tokio::test]
async fn a_cookie_without_a_time_to_live_is_never_made() {
    let mut three = Three::start(cookie(None), RING).await;
    let first = three.ask("/", Some(("cookie", "uid=mine")), 0).await;
    let mut drawn = BTreeSet::new();
    for seed in 0..24 {
        assert_eq!(three.ask("/", Some(("cookie", "uid=mine")), seed).await, first);
        let (who, told) = three.ask("/", None, seed).await;
        assert!(told.is_empty(), "{told:?}");
        drawn.insert(who);
    }
    // By latency one of three may be passed over for a while.
    assert!(drawn.len() > 1, "{drawn:?}");
}

#[tokio::test]
async fn a_session_goes_before_the_hash() {
    let keeping = |forward: Forward| {
        let split = forward.split.sticking_to("cookie:session".parse().unwrap(), "route");
        Forward { split: split.keeping_endpoints(SessionLifetime::default()), ..forward }
    };
    let mut three = Three::with(cookie(Some(Duration::ZERO)), RING, keeping).await;
    let mut met = BTreeSet::new();
    for seed in 0..24 {
        let (who, told) = three.ask("/", None, seed).await;
        let [told] = &told[..] else { panic!("{told:?}") };
        let session = told.strip_suffix("; Path=/; HttpOnly").expect("a session's cookie");
        let both = format!("{session}; uid=mine");
        assert_eq!(three.ask("/", Some(("cookie", &both)), seed).await, (who, Vec::new()));
        met.insert(who);
    }
    assert_eq!(met.len(), 3, "the hash has one key, and sessions are at all three");
}

#[tokio::test]
async fn a_key_whose_endpoint_is_gone_has_another_of_its_own() {
    let peers = [Peer::start(Manner::TellHeaders).await, Peer::start(Manner::TellHeaders).await];
    let setup = Setup::http2([deserted(), peers[0].address, peers[1].address]);
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    let snapshot = snapshot(routes, Some(hashing(&setup, header(), RING)));
    let outbound = outbound(Parts { snapshot, ..Parts::default() });
    let mut before = [0, 0];
    let mut met = BTreeSet::new();
    for user in 0..24 {
        for visits in 1..=3 {
            let mut request = get("/");
            request.headers_mut().insert("x-user", user.into());
            assert_eq!(send(&outbound, request).await.status(), 200);
            let asked = peers.each_ref().map(Peer::requests);
            if visits == 3 {
                let counts = [asked[0] - before[0], asked[1] - before[1]];
                assert!(counts.contains(&3), "user {user} was at both: {counts:?}");
                met.insert(counts);
                before = asked;
            }
        }
    }
    assert_eq!(met.len(), 2);
}
