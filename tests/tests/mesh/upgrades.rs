//! WebSockets through the mesh: routed, divided, encrypted and judged as the request that asks for them.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message as Frame, WebSocket, WebSocketUpgrade};
use axum::routing::get;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use mesh_client::{MeshClient, ResponseBody};
use mesh_core::Mesh;
use mesh_server::{Peer, Server};
use mesh_tests::{ControlPlane, wait};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tower::ServiceExt;

const DOCUMENTS: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec:
  mtls: {mode: STRICT}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: members-only}
spec:
  action: DENY
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/guest]}}]
    to: [{operation: {methods: [GET], paths: [/chat]}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: chat}
spec:
  host: chat
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: chat}
spec:
  hosts: [chat]
  http:
  - match: [{headers: {upgrade: {exact: websocket}, tester: {exact: ada}}}]
    route: [{destination: {host: chat, subset: v2}}]
  - route: [{destination: {host: chat, subset: v1}}]
";
const SETTLED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn websockets_are_routed_encrypted_and_judged_as_requests() {
    let control_plane = ControlPlane::start();
    let (one, two) = (Chat::serve(&control_plane, "v1").await, Chat::serve(&control_plane, "v2").await);
    wait::until("documents without findings", SETTLED, || {
        std::fs::write(control_plane.scratch().join("chat.yaml"), DOCUMENTS).expect("a temporary file");
        let file = control_plane.scratch().join("chat.yaml");
        let said = control_plane.mesh(&["apply", "-f", file.to_str().expect("UTF-8")]);
        (said.code == Some(0)).then_some(())
    });
    let member = MeshClient::new(&control_plane.join(&["--service-account", "member"]).await);
    let guest = MeshClient::new(&control_plane.join(&["--service-account", "guest"]).await);
    until_judged(&guest).await;

    let mut everybody = open(&member, &[]).await;
    let mut tester = open(&member, &[("tester", "ada")]).await;
    let greeting = |version: &str| Message::text(format!("{version} cluster.local/ns/default/sa/member"));
    assert_eq!(next(&mut everybody).await, greeting("v1"));
    assert_eq!(next(&mut tester).await, greeting("v2"));
    for stream in [&mut everybody, &mut tester] {
        for size in [1, 125, 70_000, 1_000_000] {
            let frame = Message::binary(vec![b'x'; size]);
            stream.send(frame.clone()).await.expect("a frame is sent");
            assert_eq!(next(stream).await, frame);
        }
    }
    let plain = ask(&member, &[], false).await;
    assert!(plain.status().is_client_error(), "axum wants an upgrade there, and none was asked for");
    let denied = ask(&guest, &[], true).await;
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    assert!(hyper::upgrade::on(denied).await.is_err(), "and no upgrade");

    // Told to end, a server waits for who is still speaking.
    let draining = tokio::spawn(two.stop());
    tester.send(Message::text("last words")).await.expect("a frame is sent");
    assert_eq!(next(&mut tester).await, Message::text("last words"));
    tester.close(None).await.expect("a closing frame is sent");
    assert!(matches!(next(&mut tester).await, Message::Close(_)), "the application says goodbye");
    drop(tester);
    draining.await.expect("a drained server ends");
    drop(everybody);
    one.stop().await;
}

/// A server of WebSockets that says its version and its caller, then echoes.
struct Chat {
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Chat {
    async fn serve(control_plane: &ControlPlane, version: &'static str) -> Self {
        let label = format!("version={version}");
        let mesh: Mesh = control_plane.join(&["--service", "chat:9080", "--label", &label]).await;
        let chat = move |upgrade: WebSocketUpgrade, peer: Peer| async move {
            let greeting = format!("{version} {}", peer.principal().unwrap_or("nobody"));
            upgrade.on_upgrade(|socket| echo(socket, greeting))
        };
        let app = Router::new().route("/chat", get(chat));
        let free: SocketAddr = ([127, 0, 0, 1], 0).into();
        let server = Server::builder(&mesh).bind(free).await.expect("a free port");
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve_with_shutdown(app, async {
            // A dropped sender means the same as a sent word: stop.
            let _ = stopped.await;
        }));
        Self { stop, task }
    }

    async fn stop(self) {
        drop(self.stop);
        let ended = tokio::time::timeout(SETTLED, self.task).await.expect("it waits for nobody any more");
        ended.expect("the server does not panic").expect("the server ends well");
    }
}

async fn echo(mut socket: WebSocket, greeting: String) {
    let mut answer = Some(Frame::text(greeting));
    while let Some(frame) = answer {
        // A goodbye is answered by reading on; a caller who has gone wants no answer.
        if !matches!(frame, Frame::Close(_)) && socket.send(frame).await.is_err() {
            return;
        }
        answer = socket.recv().await.and_then(Result::ok);
    }
}

async fn ask(client: &MeshClient, headers: &[(&str, &str)], upgrade: bool) -> Response<ResponseBody> {
    let mut request = Request::get("http://chat:9080/chat");
    for &(name, value) in headers {
        request = request.header(name, value);
    }
    if upgrade {
        let key = generate_key();
        request = request.header("connection", "Upgrade").header("upgrade", "websocket");
        request = request.header("sec-websocket-version", "13").header("sec-websocket-key", &key);
        let response = send(client, request).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            assert_eq!(response.headers()["sec-websocket-accept"], derive_accept_key(key.as_bytes()));
        }
        return response;
    }
    send(client, request).await
}

async fn send(client: &MeshClient, request: http::request::Builder) -> Response<ResponseBody> {
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = client.clone().oneshot(request).await;
    response
}

async fn open(client: &MeshClient, headers: &[(&str, &str)]) -> WebSocketStream<TokioIo<Upgraded>> {
    let response = ask(client, headers, true).await;
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS, "{:?}", response.extensions());
    let upgraded = hyper::upgrade::on(response).await.expect("the connection");
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

async fn next(stream: &mut WebSocketStream<TokioIo<Upgraded>>) -> Message {
    let next = tokio::time::timeout(SETTLED, stream.next()).await.expect("a frame in time");
    next.expect("a frame").expect("a whole frame")
}

/// Until policy and endpoints are everywhere.
async fn until_judged(guest: &MeshClient) {
    let start = std::time::Instant::now();
    for tester in ["ada", "nobody"] {
        while ask(guest, &[("tester", tester)], true).await.status() != StatusCode::FORBIDDEN {
            assert!(start.elapsed() < SETTLED, "the guest is not denied");
            tokio::task::yield_now().await;
        }
    }
}
