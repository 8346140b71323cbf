//! WebSocket handshakes: the policy's as every request, then the application's, and the server's again when it drains.

use hyper::upgrade::Upgraded;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::*;
use crate::testing::deny_all;

/// Echoes whatever comes on a connection that it takes over, and tells how that ended.
fn echo_app() -> (Router, mpsc::UnboundedReceiver<std::io::Result<()>>) {
    let (ended, endings) = mpsc::unbounded_channel();
    let echo = move |mut request: Request<Body>| {
        let upgraded = hyper::upgrade::on(&mut request);
        let ended = ended.clone();
        tokio::spawn(async move {
            let Ok(upgraded) = upgraded.await else { return };
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            let _ = ended.send(tokio::io::copy(&mut read, &mut write).await.map(drop));
        });
        async {
            let headers = [("connection", "upgrade"), ("upgrade", "websocket")];
            (StatusCode::SWITCHING_PROTOCOLS, headers, ())
        }
    };
    (Router::new().route("/", get(echo)), endings)
}

async fn ask(address: SocketAddr) -> Response<Incoming> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(TcpStream::connect(address).await.unwrap())).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/").header("host", "reviews:9080").header("connection", "upgrade");
    sender.send_request(request.header("upgrade", "websocket").body(Body::empty()).unwrap()).await.unwrap()
}

async fn switched(address: SocketAddr) -> TokioIo<Upgraded> {
    let response = ask(address).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

async fn echoes(stream: &mut TokioIo<Upgraded>) {
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}

#[tokio::test]
async fn a_handshake_is_judged_as_any_request() {
    let mesh = TestMesh::new();
    let (app, mut endings) = echo_app();
    let running = start(&mesh, Server::builder(&mesh.mesh), app).await;
    echoes(&mut switched(running.address).await).await;
    endings.recv().await.unwrap().expect("the caller closed it");
    mesh.configure(running.address, MtlsMode::Permissive, deny_all());
    let response = ask(running.address).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(hyper::upgrade::on(response).await.is_err());
    assert_eq!(running.counters.count(Event::DeniedRequest), 1);
    assert!(endings.try_recv().is_err(), "the application was not asked");
}

#[tokio::test]
async fn a_drain_waits_for_upgraded_connections() {
    let mesh = TestMesh::new();
    let (app, mut endings) = echo_app();
    let running = start(&mesh, Server::builder(&mesh.mesh), app).await;
    let mut stream = switched(running.address).await;
    running.stop.send(()).unwrap();
    let refused = async {
        while TcpStream::connect(running.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, refused).await.expect("no new connections");
    echoes(&mut stream).await;
    assert!(!running.task.is_finished());
    drop(stream);
    timeout(WAIT, running.task).await.expect("nothing is left to wait for").unwrap().unwrap();
    endings.recv().await.unwrap().expect("the caller closed it");
}

#[tokio::test]
async fn the_drain_deadline_cuts_upgraded_connections() {
    let mesh = TestMesh::new();
    let (app, mut endings) = echo_app();
    let builder = Server::builder(&mesh.mesh).drain_deadline(Duration::from_millis(20));
    let running = start(&mesh, builder, app).await;
    let mut stream = switched(running.address).await;
    echoes(&mut stream).await;
    running.stop.send(()).unwrap();
    timeout(WAIT, running.task).await.expect("the deadline holds").unwrap().unwrap();
    let ended = timeout(WAIT, endings.recv()).await.expect("the application is told").unwrap();
    assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    let mut rest = Vec::new();
    // An end or a reset: either way there is no more.
    let _ = timeout(WAIT, stream.read_to_end(&mut rest)).await.expect("the connection is closed");
    assert!(rest.is_empty());
}

#[tokio::test]
async fn an_application_that_switches_unasked_keeps_no_connection() {
    let mesh = TestMesh::new();
    let app = Router::new().route("/", get(|| async { StatusCode::SWITCHING_PROTOCOLS }));
    let running = start(&mesh, Server::builder(&mesh.mesh), app).await;
    let (mut sender, ended) = plain_http1(running.address).await;
    assert_eq!(sender.send_request(for_reviews()).await.unwrap().status(), StatusCode::SWITCHING_PROTOCOLS);
    timeout(WAIT, ended).await.expect("the connection is closed").unwrap();
    running.stop.send(()).unwrap();
    timeout(WAIT, running.task).await.expect("nothing is left to wait for").unwrap().unwrap();
}
