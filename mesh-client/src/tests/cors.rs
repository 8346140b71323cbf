//! CORS: what browsers are told in the destination's place.

use mesh_core::matcher::{Pattern, Text};
use mesh_core::route::CorsPolicy;

use super::peer::{Manner, Peer};
use super::*;

fn asked(method: http::Method, pairs: &[(&'static str, &str)]) -> Request<http_body_util::Empty<Bytes>> {
    let mut request = get("/");
    *request.method_mut() = method;
    for (name, value) in pairs {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

fn outbound_for(addresses: Vec<SocketAddr>) -> Outbound {
    let setup = Setup { addresses, ..Setup::http2([]) };
    let mut rule = route(RouteMatch::everything(), setup.forward());
    let origin = Text { text: "https://shop".into(), ignore_case: false };
    rule.filters.cors = Some(CorsPolicy {
        allow_origins: vec![Pattern::Exact(origin)],
        allow_methods: Some("PUT".parse().unwrap()),
        ..CorsPolicy::default()
    });
    let snapshot = snapshot(vec![rule], Some(setup.cluster()));
    outbound(Parts { snapshot, ..Parts::default() })
}

#[tokio::test]
async fn a_preflight_is_answered_and_asks_nobody() {
    let peer = Peer::start(Manner::Echo).await;
    let outbound = outbound_for(vec![peer.address]);
    let preflight = |origin| [("origin", origin), ("access-control-request-method", "PUT")];
    let response = send(&outbound, asked(http::Method::OPTIONS, &preflight("https://shop"))).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["access-control-allow-origin"], "https://shop");
    assert_eq!(response.headers()["access-control-allow-methods"], "PUT");
    let response = send(&outbound, asked(http::Method::OPTIONS, &preflight("https://else"))).await;
    assert_eq!((response.status().as_u16(), response.headers().len()), (200, 0));
    assert_eq!(peer.requests(), 0);
}

#[tokio::test]
async fn a_response_says_who_may_read_it_even_where_the_mesh_made_it() {
    let peer = Peer::start(Manner::Echo).await;
    let check = async |addresses: Vec<SocketAddr>, origin: &str, status: u16, told: bool| {
        let response = send(&outbound_for(addresses), asked(http::Method::GET, &[("origin", origin)])).await;
        let allowed = response.headers().contains_key("access-control-allow-origin");
        assert_eq!((response.status().as_u16(), allowed), (status, told));
    };
    check(vec![peer.address], "https://shop", 200, true).await;
    check(vec![peer.address], "https://else", 200, false).await;
    check(vec![], "https://shop", 503, true).await;
}
