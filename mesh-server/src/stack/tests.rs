//! The stack through its layer, request by request, on connections whose facts are made by hand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::routing::get;
use futures_util::FutureExt;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use mesh_core::authz::Policy;
use mesh_core::context::RequestContext;
use mesh_core::resource::MtlsMode;
use tonic::server::NamedService;
use tower::{Layer, Service, ServiceExt};

use crate::listener::{Event, Site};
use crate::peer::{Peer, Proved};
use crate::refusal::DECISION;
use crate::testing::{TestMesh, deny_all, spiffe_id};
use crate::{App, MeshLayer};

/// A connection of `productpage` to a listener that lets everybody in.
struct Fixture {
    mesh: TestMesh,
    site: Arc<Site>,
}

impl Fixture {
    fn new() -> Self {
        let mesh = TestMesh::new();
        let site = Arc::new(Site::new(&mesh.mesh, LOCAL));
        let fixture = Self { mesh, site };
        fixture.configure(Policy::default());
        fixture
    }

    fn configure(&self, policy: Policy) {
        self.mesh.configure(LOCAL, MtlsMode::Strict, policy);
    }

    fn request(&self, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::get(path).header("host", "reviews:9080");
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let proved = Some(Proved { spiffe_id: spiffe_id("productpage").into(), server_name: None });
        request.extensions_mut().insert(Peer::new(proved, REMOTE, LOCAL, Arc::clone(&self.site)));
        request
    }

    async fn call(&self, app: impl App, request: Request) -> (Response<()>, String) {
        let service = MeshLayer::new(&self.mesh.mesh).layer(app.into_router());
        let (parts, body) = service.oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(parts, ()), String::from_utf8(body.to_vec()).unwrap())
    }
}

fn app() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

#[tokio::test]
async fn handlers_find_the_peer_in_every_way_they_know() {
    async fn seen(peer: Peer, ConnectInfo(address): ConnectInfo<SocketAddr>, request: Request) -> String {
        let context = RequestContext::current().expect("a handler runs under its request's context");
        assert_eq!(context.peer.as_deref(), peer.spiffe_id());
        assert!(request.extensions().get::<Peer>().is_some());
        format!("{} {address}", peer.principal().unwrap())
    }
    let fixture = Fixture::new();
    let app = Router::new().route("/", get(seen));
    let (response, body) = fixture.call(app, fixture.request("/", &[])).await;
    assert_eq!(response.status(), StatusCode::OK, "{body}");
    assert_eq!(body, format!("cluster.local/ns/default/sa/productpage {REMOTE}"));
}

/// A tonic service as generated code is one, that answers with what tonic says of its caller.
#[derive(Clone)]
struct WhoCalls;

impl NamedService for WhoCalls {
    const NAME: &'static str = "test.WhoCalls";
}

impl Service<http::Request<tonic::body::Body>> for WhoCalls {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let address = tonic::Request::from_http(request).remote_addr();
        let body = tonic::body::Body::new(format!("{address:?}"));
        std::future::ready(Ok(Response::new(body)))
    }
}

#[tokio::test]
async fn tonic_goes_on_telling_the_remote_address() {
    let fixture = Fixture::new();
    let routes = tonic::service::Routes::new(WhoCalls);
    let (_, body) = fixture.call(routes, fixture.request("/test.WhoCalls/Ask", GRPC)).await;
    assert_eq!(body, format!("{:?}", Some(REMOTE)));
}

#[tokio::test]
async fn a_denial_is_a_response_with_a_number_for_the_operator() {
    let fixture = Fixture::new();
    fixture.configure(deny_all());
    let (response, body) = fixture.call(app(), fixture.request("/", &[])).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(body, "RBAC: access denied");
    assert_eq!(response.headers()[DECISION].len(), 16);

    let (response, body) = fixture.call(app(), fixture.request("/", GRPC)).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["grpc-status"], "7");
    assert_eq!(response.headers()["grpc-message"], "RBAC: access denied");
    assert_eq!(body, "");
    assert_eq!(fixture.site.counters.count(Event::DeniedRequest), 2);
}

#[tokio::test]
async fn the_next_request_of_an_open_connection_meets_the_new_policy() {
    let fixture = Fixture::new();
    assert_eq!(fixture.call(app(), fixture.request("/", &[])).await.0.status(), StatusCode::OK);
    fixture.configure(deny_all());
    assert_eq!(fixture.call(app(), fixture.request("/", &[])).await.0.status(), StatusCode::FORBIDDEN);
    fixture.mesh.withdraw();
    let (response, _) = fixture.call(app(), fixture.request("/", &[])).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_panic_ends_one_request() {
    async fn panics() {
        panic!("as a handler may");
    }
    let fixture = Fixture::new();
    let app = app().route("/panics", get(panics));
    let (response, _) = fixture.call(app.clone(), fixture.request("/panics", &[])).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let (response, _) = fixture.call(app.clone(), fixture.request("/panics", GRPC)).await;
    assert_eq!(response.headers()["grpc-status"], "13");
    assert_eq!(fixture.site.counters.count(Event::Panic), 2);
    assert_eq!(fixture.call(app, fixture.request("/", &[])).await.1, "hello");
}

#[tokio::test]
async fn a_layer_inside_a_router_refuses() {
    let fixture = Fixture::new();
    let layer = MeshLayer::new(&fixture.mesh.mesh);
    let inside = app().layer(layer.clone());
    let nested = Router::new().nest_service("/api", layer.layer(app()));
    let fallback = Router::new().fallback_service(layer.layer(app()));
    for (router, path) in [(inside, "/"), (nested, "/api/"), (fallback, "/")] {
        let response = router.oneshot(fixture.request(path, &[])).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn a_request_without_connection_facts_is_refused() {
    let fixture = Fixture::new();
    let mut request = fixture.request("/", &[]);
    request.extensions_mut().clear();
    let (response, _) = fixture.call(app(), request).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[tokio::test]
async fn the_application_sees_the_canonical_request() {
    async fn seen(request: Request) -> String {
        format!("{} {}", request.uri(), request.headers().contains_key("x-mesh-peer"))
    }
    let fixture = Fixture::new();
    let app = Router::new().fallback(seen);
    let forged = [("x-mesh-peer", "somebody else")];
    let (_, body) = fixture.call(app.clone(), fixture.request("/a/../b?c", &forged)).await;
    assert_eq!(body, "/b?c false");
    let (response, _) = fixture.call(app, fixture.request("/%00", &[])).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_ends_the_request() {
    let fixture = Fixture::new();
    let app = Router::new().route("/", get(std::future::pending::<()>));
    let request = fixture.request("/", &[("grpc-timeout", "1S"), GRPC[0]]);
    let (response, _) = fixture.call(app.clone(), request).await;
    assert_eq!(response.headers()["grpc-status"], "4");
    let request = fixture.request("/", &[("x-envoy-expected-rq-timeout-ms", "250")]);
    assert_eq!(fixture.call(app, request).await.0.status(), StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test]
async fn the_service_polled_ready_takes_the_request() {
    let fixture = Fixture::new();
    let (service, mut handle) = tower_test::mock::pair::<Request, Response<Body>>();
    let mut service = MeshLayer::new(&fixture.mesh.mesh).layer(service);
    handle.allow(0);
    let waited =
        tokio::time::timeout(Duration::from_millis(1), ServiceExt::<Request>::ready(&mut service)).await;
    assert!(waited.is_err(), "back-pressure is passed on");

    handle.allow(1);
    ServiceExt::<Request>::ready(&mut service).await.unwrap();
    // A clone that was never ready would panic here: the mock insists.
    let answer = tokio::spawn(service.call(fixture.request("/", &[])));
    handle.next_request().await.unwrap().1.send_response(Response::new(Body::from("hello")));
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
}

/// ARCHITECTURE.md lists them: the box of the future, the shared context, and two boxes and one growth of the map for
/// the extensions (the map itself and `Peer` are the connection's).
#[test]
fn a_guarded_request_allocates_what_is_listed() {
    let fixture = Fixture::new();
    let bare =
        tower::service_fn(|_: Request| std::future::ready(Ok::<_, Infallible>(Response::new(Body::empty()))));
    let mut guarded = MeshLayer::new(&fixture.mesh.mesh).layer(bare);
    let count = |call: &mut dyn FnMut(Request)| {
        let request = fixture.request("/reviews/0", &[("traceparent-like", "nothing to inherit")]);
        allocation_counter::measure(|| call(request)).count_total
    };
    let without = count(&mut |request| drop(bare.clone().call(request)));
    let with = count(&mut |request| {
        let response = guarded.call(request).now_or_never();
        assert_eq!(response.expect("nothing to wait for").unwrap().status(), StatusCode::OK);
    });
    assert_eq!(with - without, 5);
}

const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9080);
const REMOTE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 4711);
const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
