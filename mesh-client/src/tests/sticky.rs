//! Sticky splits on a socket: which version answers, and what the caller is told to come back with.

use mesh_core::identity::IdentitySource;
use mesh_core::route::{KeySource, SessionLifetime, Split};

use super::identity::Authority;
use super::peer::{Manner, Peer};
use super::*;

/// Both versions are the same server, told apart by a header that their destination sets.
async fn versions(on: &str) -> Outbound {
    let peer = Peer::start(Manner::TellHeaders).await;
    versions_at(&peer, on, None)
}

/// The same, at a server that is there, for a caller of this identity.
fn versions_at(peer: &Peer, on: &str, identity: Option<Arc<IdentitySource>>) -> Outbound {
    let setup = Setup::http2([peer.address]);
    let destination = |version: &'static str| {
        let set = vec![("version".parse().unwrap(), version.parse().unwrap())];
        WeightedDestination {
            cluster: version.into(),
            cluster_index: 0,
            weight: 50,
            authority: None,
            request_headers: HeaderOperations { set, ..HeaderOperations::default() },
            response_headers: HeaderOperations::default(),
        }
    };
    let split = Split::new(vec![destination("v1"), destination("v2")]);
    let RouteAction::Forward(forward) = setup.forward() else { panic!("it forwards") };
    let forward = Forward { split: split.sticking_to(on.parse().unwrap(), "route"), ..forward };
    let routes = vec![route(RouteMatch::everything(), RouteAction::Forward(forward))];
    outbound(Parts { identity, snapshot: snapshot(routes, Some(setup.cluster())), ..Parts::default() })
}

/// Two servers of one version, between which a session is kept.
async fn endpoints(on: &str) -> (Outbound, [Peer; 2]) {
    let peers = [Peer::start(Manner::TellHeaders).await, Peer::start(Manner::TellHeaders).await];
    let setup = Setup::http2(peers.each_ref().map(|peer| peer.address));
    let RouteAction::Forward(forward) = setup.forward() else { panic!("it forwards") };
    let lifetime = SessionLifetime::default();
    let split = forward.split.sticking_to(on.parse().unwrap(), "route").keeping_endpoints(lifetime);
    let routes = vec![route(RouteMatch::everything(), RouteAction::Forward(Forward { split, ..forward }))];
    (outbound(Parts { snapshot: snapshot(routes, Some(setup.cluster())), ..Parts::default() }), peers)
}

/// The version that answered, and the cookie that came with it.
async fn ask(
    outbound: &Outbound,
    header: Option<(&'static str, &str)>,
    seed: u64,
) -> (String, Option<String>) {
    let mut request = get("/");
    if let Some((name, value)) = header {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let response = outbound.clone().call_with(None, request, fastrand::Rng::with_seed(seed)).await;
    let cookie = response.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned());
    let text = text(response).await;
    (text.lines().find(|line| line.starts_with("version: ")).unwrap().to_owned(), cookie)
}

#[tokio::test]
async fn a_caller_is_told_the_cookie_by_which_it_meets_the_same_version_again() {
    let outbound = versions("cookie:uid").await;
    let mut met = std::collections::BTreeSet::new();
    for seed in 0..16 {
        let (version, told) = ask(&outbound, None, seed).await;
        let told = told.expect("a cookie");
        let pair = told.strip_suffix("; Path=/; HttpOnly").expect("the attributes");
        for seed in 0..4 {
            assert_eq!(ask(&outbound, Some(("cookie", pair)), seed).await, (version.clone(), None));
        }
        met.insert(version);
    }
    assert_eq!(met.len(), 2, "both versions are drawn");
}

#[tokio::test]
async fn a_header_decides_alone_and_without_it_every_request_is_drawn() {
    let outbound = versions("header:x-user").await;
    let first = ask(&outbound, Some(("x-user", "ada")), 0).await;
    let mut drawn = std::collections::BTreeSet::new();
    for seed in 1..16 {
        assert_eq!(ask(&outbound, Some(("x-user", "ada")), seed).await, first);
        drawn.insert(ask(&outbound, None, seed).await);
    }
    assert_eq!(first.1, None);
    assert_eq!(drawn.len(), 2);
}

#[tokio::test]
async fn a_session_comes_back_to_the_endpoint_that_answered_it_first() {
    for (on, answer, request) in
        [("cookie:uid", "set-cookie", "cookie"), ("header:x-session", "x-session", "x-session")]
    {
        let (outbound, peers) = endpoints(on).await;
        let send = async |token: Option<&str>, seed| {
            let mut head = get("/");
            token
                .into_iter()
                .for_each(|token| drop(head.headers_mut().insert(request, token.parse().unwrap())));
            let response = outbound.clone().call_with(None, head, fastrand::Rng::with_seed(seed)).await;
            assert_eq!(response.status(), 200);
            response.headers().get(answer).map(|told| told.to_str().unwrap().to_owned())
        };
        let told = send(None, 0).await.expect("a token");
        let token = told.strip_suffix("; Path=/; HttpOnly").unwrap_or(&told);
        let met = peers.iter().position(|peer| peer.requests() == 1).expect("somebody answered");
        for seed in 0..20 {
            assert_eq!(send(Some(token), seed).await, None, "it is where it was");
        }
        assert_eq!([peers[met].requests(), peers[1 - met].requests()], [21, 0]);
        // Another endpoint's number, or none of ours, begins anew and is told so.
        for strange in
            ["uid=0123456789abcdef.0123456789abcdef", "0123456789abcdef.0123456789abcdef", "uid=x", "x"]
        {
            assert!(send(Some(strange), 1).await.is_some(), "{strange}");
        }
    }
}

#[tokio::test]
async fn a_session_whose_endpoint_is_gone_moves_and_is_told_so() {
    let gone = deserted();
    let peer = Peer::start(Manner::TellHeaders).await;
    let setup = Setup::http2([gone, peer.address]);
    let RouteAction::Forward(forward) = setup.forward() else { panic!("it forwards") };
    let split = forward.split.sticking_to("header:x-session".parse().unwrap(), "route");
    let split = split.keeping_endpoints(SessionLifetime::default());
    let mut token = http::HeaderMap::new();
    let headers = http::HeaderMap::new();
    let source = KeySource { headers: &headers, identity: None, unix_seconds: None };
    split.choose(&source, Some(0.5)).unwrap().session.unwrap().tell(gone, &mut token);
    let routes = vec![route(RouteMatch::everything(), RouteAction::Forward(Forward { split, ..forward }))];
    let outbound = outbound(Parts { snapshot: snapshot(routes, Some(setup.cluster())), ..Parts::default() });
    let mut request = get("/");
    request.headers_mut().extend(token.clone());
    let response = send(&outbound, request).await;
    assert_eq!(response.status(), 200);
    assert_ne!(response.headers()["x-session"], token["x-session"]);
}

#[tokio::test]
async fn a_calling_workload_meets_one_version_and_others_the_other() {
    let (authority, peer) = (Authority::new(), Peer::start(Manner::TellHeaders).await);
    let mut met = std::collections::BTreeSet::new();
    for caller in 0..12 {
        let source = authority.source(&format!("spiffe://cluster.local/ns/default/sa/caller-{caller}"));
        let outbound = versions_at(&peer, "identity", Some(source));
        let first = ask(&outbound, None, 0).await;
        for seed in 1..6 {
            assert_eq!(ask(&outbound, None, seed).await, first, "caller-{caller}");
        }
        met.insert(first);
    }
    assert_eq!(met.len(), 2);
}
