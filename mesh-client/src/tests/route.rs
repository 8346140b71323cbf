//! What the mesh answers itself, and which host's rules are asked.

use mesh_core::matcher::Text;
use mesh_core::mesh::Settings;
use mesh_core::route::{DirectResponse, PathMatch, Redirect};
use tokio::time::Instant;

use super::peer::{Manner, Peer};
use super::*;
use crate::deadline::GRPC_TIMEOUT;

fn at(path: &str, action: RouteAction) -> Route {
    let path = PathMatch::Exact(Text { text: path.into(), ignore_case: false });
    route(RouteMatch { path, headers: Vec::new(), query: Vec::new() }, action)
}

#[tokio::test]
async fn the_mesh_answers_where_no_endpoint_can() {
    let redirect = Redirect {
        status: StatusCode::FOUND,
        scheme: None,
        host: Some("other".into()),
        port: None,
        path: None,
    };
    let direct =
        DirectResponse { status: StatusCode::IM_A_TEAPOT, body: Bytes::from_static(b"short and stout") };
    let routes = vec![
        at("/forward", Setup::http2([]).forward()),
        at("/redirect", RouteAction::Redirect(redirect)),
        at("/direct", RouteAction::DirectResponse(direct)),
    ];
    let empty = Setup::http2([]).cluster();
    let outbound = outbound(Parts { snapshot: snapshot(routes, Some(empty)), ..Parts::default() });

    let response = send(&outbound, get("/none")).await;
    assert_eq!((response.status().as_u16(), error(&response).flag().unwrap().as_str()), (404, "NR"));
    let response = send(&outbound, get("/forward")).await;
    assert_eq!((response.status().as_u16(), error(&response).flag().unwrap().as_str()), (503, "UH"));
    let response = send(&outbound, get("/redirect")).await;
    assert_eq!(response.status(), 302);
    assert!(response.headers()["location"].to_str().unwrap().starts_with("http://other"));
    let response = send(&outbound, get("/direct")).await;
    assert_eq!(response.status(), 418);
    assert_eq!(text(response).await, "short and stout");
    let response = send(&outbound, get("/x/../direct")).await;
    assert_eq!(response.status(), 418, "rules see the canonical path");
    let response = send(&outbound, get("/%00")).await;
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn a_cluster_that_does_not_exist_is_said_to() {
    let routes = vec![at("/", Setup::http2([]).forward())];
    let outbound = outbound(Parts { snapshot: snapshot(routes, None), ..Parts::default() });
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 503);
    assert!(error(&response).to_string().contains(CLUSTER));
}

#[tokio::test]
async fn a_host_header_that_names_a_mesh_host_decides_and_is_sent_on() {
    let peer = Peer::start(Manner::TellHeaders).await;
    let setup = Setup::http2([peer.address]);
    let mut snapshot = snapshot(vec![at("/", setup.forward())], Some(setup.cluster()));
    snapshot.hosts.insert("gateway:9080".into(), HostState::Absent);
    let settings = Settings { resolve_wait: Duration::from_millis(20), ..Settings::default() };
    let outbound = outbound(Parts { snapshot, settings, ..Parts::default() });
    let request = |uri: &str, host: Option<&str>| {
        let request = Request::get(uri).body(http_body_util::Empty::<Bytes>::new()).unwrap();
        host.into_iter().fold(request, |mut request, host| {
            request.headers_mut().insert("host", host.parse().unwrap());
            request
        })
    };
    let response = send(&outbound, request("http://gateway:9080/", Some("reviews"))).await;
    assert!(text(response).await.contains(":authority: reviews\n"));
    let response = send(&outbound, request("http://REVIEWS:9080/", None)).await;
    assert_eq!(response.status(), 200);
    let response = send(&outbound, request("https://reviews:9080/", None)).await;
    assert_eq!(response.status(), 502);
}

#[tokio::test]
async fn a_host_whose_configuration_never_comes_fails_by_name_at_its_deadline() {
    let settings = Settings { resolve_wait: Duration::from_millis(20), ..Settings::default() };
    let outbound = outbound(Parts { settings, ..Parts::default() });
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 503);
    let error = error(&response);
    assert!(matches!(error, ClientError::Resolve(_)), "{error}");
    assert!(error.to_string().contains(HOST), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_first_call_waits_for_configuration_until_its_deadline_and_no_longer() {
    let check = async |grpc_timeout: Option<&str>, host: Option<&str>, expected: Duration| {
        let settings = Settings { resolve_wait: Duration::from_secs(1), ..Settings::default() };
        let (mesh, publisher) = Mesh::from_parts(Parts { settings, ..Parts::default() });
        let mut request = get("/");
        let said = [(GRPC_TIMEOUT, grpc_timeout), (http::header::HOST, host)];
        for (name, value) in said.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let start = Instant::now();
        let call = tokio::spawn(async move { send(&Outbound::new(&mesh), request).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        // The host that the header names turns out to be none of the mesh's; the dialled one never comes.
        let hosts = [("other:9080".into(), HostState::Absent)].into();
        publisher.publish(Snapshot { hosts, ..Snapshot::default() });
        let response = call.await.unwrap();
        let waited = start.elapsed();
        let named = error(&response).to_string();
        assert!(named.contains("reviews:9080: configuration did not arrive"), "{named}");
        let late = expected + Duration::from_millis(10);
        assert!(waited >= expected && waited < late, "{grpc_timeout:?} {host:?}: {waited:?}");
    };
    check(None, None, Duration::from_secs(1)).await;
    check(Some("300m"), None, Duration::from_millis(300)).await;
    check(Some("5S"), None, Duration::from_secs(1)).await;
    check(None, Some("other"), Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_cluster_whose_name_leads_nowhere_says_why() {
    let setup = Setup::http2([]);
    let cluster = Arc::into_inner(setup.cluster()).expect("nobody else has it");
    let cluster = cluster.unresolved(Some("api.example: unknown".into()));
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    let snapshot = snapshot(routes, Some(Arc::new(cluster)));
    let response = send(&outbound(Parts { snapshot, ..Parts::default() }), get("/")).await;
    assert_eq!(response.status(), 503);
    assert!(error(&response).to_string().contains("api.example: unknown"), "{}", error(&response));
}
