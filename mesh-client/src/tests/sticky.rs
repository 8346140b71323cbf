//! Sticky splits on a socket: which version answers, and what the caller is told to come back with.

use mesh_core::route::Split;

use super::peer::{Manner, Peer};
use super::*;

/// Both versions are the same server, told apart by a header that their destination sets.
async fn versions(on: &str) -> Outbound {
    let peer = Peer::start(Manner::TellHeaders).await;
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
    outbound(Parts { snapshot: snapshot(routes, Some(setup.cluster())), ..Parts::default() })
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
