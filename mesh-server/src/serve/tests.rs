//! Whole servers over real sockets: ours, and axum's and tonic's own with our listener and layer.

mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::authz::Policy;
use mesh_core::resource::MtlsMode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::Layer;

use super::{Server, ServerBuilder};
use crate::testing::TestMesh;
use crate::{Counters, Event, MeshLayer, MeshListener, Peer};

/// A server of ours that runs until it is told to end.
struct Running {
    address: SocketAddr,
    counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start(mesh: &TestMesh, builder: ServerBuilder, app: Router) -> Running {
    let server = builder.drain_notice(Duration::ZERO).bind("127.0.0.1:0").await.unwrap();
    let (address, counters) = (server.address(), server.counters());
    mesh.configure(address, MtlsMode::Permissive, Policy::default());
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(server.serve_with_shutdown(app, async {
        let _ = stopped.await;
    }));
    listening_at(address).await;
    Running { address, counters, stop, task }
}

async fn listening_at(address: SocketAddr) {
    while TcpStream::connect(address).await.is_err() {
        tokio::task::yield_now().await;
    }
}

async fn http2(mesh: &TestMesh, address: SocketAddr) -> http2::SendRequest<Body> {
    let stream = mesh.connect(address, "productpage").await;
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    http2_over(stream).await.0
}

fn request(path: &str) -> Request<Body> {
    Request::get(format!("http://reviews:9080{path}")).body(Body::empty()).unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Says who called, from where.
async fn caller(peer: Peer, ConnectInfo(address): ConnectInfo<SocketAddr>) -> String {
    format!("{} {}", peer.principal().unwrap_or("nobody"), address == peer.address())
}

fn app() -> Router {
    async fn panics() {
        panic!("as a handler may");
    }
    Router::new().route("/", get(caller)).route("/panics", get(panics))
}

/// An app whose `/slow` tells that it has begun, and ends when it is told to.
fn slow_app() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, finish) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = {
        let (begun, finish) = (Arc::clone(&begun), Arc::clone(&finish));
        move || async move {
            begun.notify_one();
            finish.notified().await;
            "done"
        }
    };
    (Router::new().route("/slow", get(slow)), begun, finish)
}

#[tokio::test]
async fn both_versions_are_served_with_and_without_an_identity() {
    let mesh = TestMesh::new();
    let running = start(&mesh, Server::builder(&mesh.mesh), app()).await;
    let response = http2(&mesh, running.address).await.send_request(request("/")).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_2);
    assert_eq!(text(response).await, "cluster.local/ns/default/sa/productpage true");

    let (mut sender, _) = plain_http1(running.address).await;
    let response = sender.send_request(for_reviews()).await.unwrap();
    assert_eq!(response.version(), Version::HTTP_11);
    assert_eq!(text(response).await, "nobody true");
}

/// A plaintext connection of HTTP/1.1, and when it ends.
async fn plain_http1(address: SocketAddr) -> (http1::SendRequest<Body>, JoinHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(async { connection.await.unwrap() }))
}

/// A connection of HTTP/2, and when it ends.
async fn http2_over<S>(stream: S) -> (http2::SendRequest<Body>, JoinHandle<()>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    (sender, tokio::spawn(async { connection.await.unwrap() }))
}

fn for_reviews() -> Request<Body> {
    Request::get("/").header("host", "reviews").body(Body::empty()).unwrap()
}

/// The caller learns no more than of any other denial; the decision's number leads the operator to the reason.
async fn assert_denied(response: Response<Incoming>) {
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["x-mesh-decision"].len(), 16);
    assert_eq!(text(response).await, "RBAC: access denied");
}

#[tokio::test]
async fn strict_ends_an_open_plaintext_connection_of_http1() {
    let mesh = TestMesh::new();
    let running = start(&mesh, Server::builder(&mesh.mesh), app()).await;
    let (mut sender, ended) = plain_http1(running.address).await;
    assert_eq!(text(sender.send_request(for_reviews()).await.unwrap()).await, "nobody true");

    mesh.configure(running.address, MtlsMode::Strict, Policy::default());
    let response = sender.send_request(for_reviews()).await.unwrap();
    assert_eq!(response.headers()["connection"], "close");
    assert_denied(response).await;
    timeout(WAIT, ended).await.expect("the connection is closed").unwrap();
    assert_eq!(running.counters.count(Event::DeniedRequest), 1);
}

#[tokio::test]
async fn strict_ends_an_open_plaintext_connection_of_http2() {
    let mesh = TestMesh::new();
    let (slow, begun, finish) = slow_app();
    let running = start(&mesh, Server::builder(&mesh.mesh), slow.merge(app())).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let (mut sender, ended) = http2_over(stream).await;
    let under_way = tokio::spawn(sender.send_request(request("/slow")));
    begun.notified().await;

    mesh.configure(running.address, MtlsMode::Strict, Policy::default());
    assert_denied(sender.send_request(request("/")).await.unwrap()).await;
    let told = async {
        while sender.send_request(request("/")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, told).await.expect("GOAWAY");
    // What was let in before is finished.
    finish.notify_one();
    assert_eq!(text(under_way.await.unwrap().unwrap()).await, "done");
    timeout(WAIT, ended).await.expect("GOAWAY ends the connection").unwrap();
}

/// Istio's listener does not terminate the mesh's TLS then: nobody is somebody on a connection that could not be made anew.
#[tokio::test]
async fn disable_ends_an_open_connection_of_mutual_tls() {
    let mesh = TestMesh::new();
    let running = start(&mesh, Server::builder(&mesh.mesh), app()).await;
    let (mut sender, ended) = http2_over(mesh.connect(running.address, "productpage").await).await;
    assert_eq!(sender.send_request(request("/")).await.unwrap().status(), StatusCode::OK);

    mesh.configure(running.address, MtlsMode::Disable, Policy::default());
    assert_denied(sender.send_request(request("/")).await.unwrap()).await;
    timeout(WAIT, ended).await.expect("the connection is closed").unwrap();
    let (mut plain, _) = plain_http1(running.address).await;
    assert_eq!(plain.send_request(for_reviews()).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_new_mode_leaves_the_connections_that_fit_it() {
    let mesh = TestMesh::new();
    let running = start(&mesh, Server::builder(&mesh.mesh), app()).await;
    let (mut mutual, _) = http2_over(mesh.connect(running.address, "productpage").await).await;
    let (mut plain, _) = plain_http1(running.address).await;
    assert_eq!(plain.send_request(for_reviews()).await.unwrap().status(), StatusCode::OK);
    mesh.configure(running.address, MtlsMode::Strict, Policy::default());
    assert_eq!(mutual.send_request(request("/")).await.unwrap().status(), StatusCode::OK);
    mesh.configure(running.address, MtlsMode::Disable, Policy::default());
    assert_eq!(plain.send_request(for_reviews()).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_panic_leaves_the_connection_as_it_was() {
    let mesh = TestMesh::new();
    let running = start(&mesh, Server::builder(&mesh.mesh), app()).await;
    let mut sender = http2(&mesh, running.address).await;
    let response = sender.send_request(request("/panics")).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(running.counters.count(Event::Panic), 1);
    let response = sender.send_request(request("/")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn draining_finishes_what_is_under_way_and_takes_no_more() {
    let mesh = TestMesh::new();
    let (app, begun, finish) = slow_app();
    let running = start(&mesh, Server::builder(&mesh.mesh), app).await;
    let mut sender = http2(&mesh, running.address).await;
    let under_way = tokio::spawn(sender.send_request(request("/slow")));
    begun.notified().await;

    running.stop.send(()).unwrap();
    let refused = async {
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, refused).await.expect("no new connections");
    let told = async {
        while sender.send_request(request("/")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, told).await.expect("GOAWAY on the open connection");
    assert!(!running.task.is_finished());

    finish.notify_one();
    assert_eq!(text(under_way.await.unwrap().unwrap()).await, "done");
    timeout(WAIT, running.task).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn the_drain_deadline_cuts_what_never_ends() {
    let mesh = TestMesh::new();
    let (app, begun, _finish) = slow_app();
    let builder = Server::builder(&mesh.mesh).drain_deadline(Duration::from_millis(20));
    let running = start(&mesh, builder, app).await;
    let mut sender = http2(&mesh, running.address).await;
    let under_way = tokio::spawn(sender.send_request(request("/slow")));
    begun.notified().await;
    running.stop.send(()).unwrap();
    timeout(WAIT, running.task).await.expect("the deadline holds").unwrap().unwrap();
    assert!(under_way.await.unwrap().is_err());
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_drain() {
    let mesh = TestMesh::new();
    let running = start(&mesh, Server::builder(&mesh.mesh), app()).await;
    let _idle = http2(&mesh, running.address).await;
    let _silent = TcpStream::connect(running.address).await.unwrap();
    running.stop.send(()).unwrap();
    timeout(WAIT, running.task).await.expect("idle peers are sent away").unwrap().unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_an_error_of_serve() {
    let mesh = TestMesh::new();
    let running = start(&mesh, Server::builder(&mesh.mesh), app()).await;
    let second = Server::builder(&mesh.mesh).bind(running.address).await;
    let outcome = match second {
        Ok(server) => server.serve_with_shutdown(app(), std::future::pending()).await,
        Err(error) => Err(error),
    };
    assert_eq!(outcome.unwrap_err().kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn axums_own_server_takes_listener_and_layer() {
    let mesh = TestMesh::new();
    let listener = MeshListener::bind(&mesh.mesh, "127.0.0.1:0").await.unwrap();
    let address = listener.address();
    mesh.configure(address, MtlsMode::Strict, Policy::default());
    let app = MeshLayer::new(&mesh.mesh).layer(app());
    let server = tokio::spawn(axum::serve(listener, app.into_make_service()).into_future());
    listening_at(address).await;
    let response = http2(&mesh, address).await.send_request(request("/")).await.unwrap();
    assert_eq!(text(response).await, "cluster.local/ns/default/sa/productpage true");
    server.abort();
}

#[tokio::test]
async fn a_foreign_server_refuses_on_open_connections_too() {
    let mesh = TestMesh::new();
    let listener = MeshListener::bind(&mesh.mesh, "127.0.0.1:0").await.unwrap();
    let address = listener.address();
    mesh.configure(address, MtlsMode::Permissive, Policy::default());
    let app = MeshLayer::new(&mesh.mesh).layer(app());
    let server = tokio::spawn(axum::serve(listener, app.into_make_service()).into_future());
    listening_at(address).await;
    let (mut one, ended) = plain_http1(address).await;
    let (mut two, _) = http2_over(TcpStream::connect(address).await.unwrap()).await;
    assert_eq!(one.send_request(for_reviews()).await.unwrap().status(), StatusCode::OK);
    assert_eq!(two.send_request(request("/")).await.unwrap().status(), StatusCode::OK);

    mesh.configure(address, MtlsMode::Strict, Policy::default());
    assert_denied(one.send_request(for_reviews()).await.unwrap()).await;
    timeout(WAIT, ended).await.expect("the connection is closed").unwrap();
    for _ in 0..2 {
        assert_denied(two.send_request(request("/")).await.unwrap()).await;
    }
    server.abort();
}

#[tokio::test]
async fn tonics_own_server_takes_listener_and_layer() {
    let mesh = TestMesh::new();
    let listener = MeshListener::bind(&mesh.mesh, "127.0.0.1:0").await.unwrap();
    let address = listener.address();
    mesh.configure(address, MtlsMode::Strict, Policy::default());
    let routes = tonic::service::Routes::from(app());
    let layered = tonic::transport::Server::builder().layer(MeshLayer::new(&mesh.mesh));
    let server = tokio::spawn(layered.serve_with_incoming(routes, listener));
    listening_at(address).await;
    let response = http2(&mesh, address).await.send_request(request("/")).await.unwrap();
    assert_eq!(text(response).await, "cluster.local/ns/default/sa/productpage true");
    server.abort();
}

const WAIT: Duration = Duration::from_secs(10);
