//! External authorization over real sockets: a member of the mesh says which requests go on, under STRICT mTLS.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request as Received;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_client::{ClientError, MeshChannel, MeshClient};
use mesh_core::Mesh;
use mesh_server::{Peer, Server};
use mesh_tests::ControlPlane;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use tokio::task::JoinHandle;
use tonic::Code;
use tower::ServiceExt;

/// How long a change may take to reach a caller on a busy machine.
const START: Duration = Duration::from_secs(30);

const DOCUMENTS: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: guarded}
spec:
  parentRefs: [{group: '', kind: Service, name: front}]
  rules:
  - filters:
    - type: ExternalAuth
      externalAuth:
        protocol: HTTP
        backendRef: {name: auth, port: 9000}
        http: {path: /check, allowedResponseHeaders: [x-user]}
    backendRefs: [{name: front, port: 9080}]
";

/// The callers that the authorization service has seen, by what their certificates proved, and what they asked about.
type Seen = Arc<Mutex<Vec<(Option<String>, String)>>>;

#[tokio::test(flavor = "multi_thread")]
async fn a_member_says_which_requests_go_on() {
    let control_plane = ControlPlane::start();
    let front = control_plane.serve("front:9080", "v1", "front").await;
    let seen = Seen::default();
    let service = authorize(&control_plane, seen.clone()).await;
    control_plane.apply("guarded.yaml", DOCUMENTS);
    let caller = control_plane.join(&["--service-account", "caller"]).await;

    until(&caller, None, StatusCode::UNAUTHORIZED).await;
    let (head, body) = get(&caller, None).await;
    assert_eq!((&head.headers["www-authenticate"], &*body), (&"Bearer".parse().unwrap(), "who are you?"));
    assert!(matches!(head.extensions.get(), Some(ClientError::Denied { .. })));

    let before = front.echo.requests();
    let (head, body) = get(&caller, Some("Bearer jason")).await;
    assert_eq!((head.status, &*body), (StatusCode::OK, "front"));
    let (head, _) = get(&caller, Some("Bearer else")).await;
    assert_eq!((head.status, front.echo.requests() - before), (StatusCode::UNAUTHORIZED, 1));
    let last = seen.lock().unwrap().last().cloned().expect("it was asked");
    let (principal, path) = last;
    assert_eq!(path, "/check/a?b=c");
    assert!(principal.is_some_and(|principal| principal.ends_with("/ns/default/sa/caller")), "by mutual TLS");

    let mut grpc = EchoClient::new(MeshChannel::new(&caller, "front:9080"));
    let denied = grpc.unary(Message::default()).await.expect_err("it names nobody");
    assert_eq!((denied.code(), denied.message()), (Code::Unauthenticated, "who are you?"));
    let mut call = tonic::Request::new(Message::default());
    call.metadata_mut().insert("authorization", "Bearer jason".parse().unwrap());
    assert_eq!(grpc.unary(call).await.expect("an answer").get_ref().text, "front");

    service.abort();
    until(&caller, Some("Bearer jason"), StatusCode::FORBIDDEN).await;
    let served = front.echo.requests();
    let (head, body) = get(&caller, Some("Bearer jason")).await;
    assert!(matches!(head.extensions.get(), Some(ClientError::NotAuthorized { .. })), "{body}");
    assert!(body.contains("HTTPRoute/default/guarded rules[0]"), "{body}");
    assert_eq!(front.echo.requests(), served, "without the service nothing passes");
}

const FOR_ENVOY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: guarded}
spec:
  parentRefs: [{group: '', kind: Service, name: echo}]
  rules:
  - matches: [{path: {value: /guarded}}]
    filters: [{type: ExternalAuth, externalAuth: {protocol: GRPC, backendRef: {name: echo, port: 9080}}}]
    backendRefs: [{name: echo, port: 9080}]
  - backendRefs: [{name: echo, port: 9080}]
";

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_lets_nothing_pass_unasked() {
    let control_plane = ControlPlane::start();
    let echo = control_plane.serve("echo:9080", "v1", "v1").await;
    control_plane.apply("guarded.yaml", FOR_ENVOY);
    let (envoy, address) = super::envoy::envoy(&control_plane);
    let start = Instant::now();
    while super::envoy::get(address, "/", &[]).await.status != 200 {
        assert!(start.elapsed() < START, "{}", envoy.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let before = echo.echo.requests();
    assert_eq!(super::envoy::get(address, "/guarded/a", &[]).await.status, 403);
    assert_eq!(echo.echo.requests(), before);
}

/// Serves an authorization service that knows one user.
async fn authorize(control_plane: &ControlPlane, seen: Seen) -> JoinHandle<()> {
    let mesh = control_plane.join(&["--service", "auth:9000", "--service-account", "auth"]).await;
    let server = Server::builder(&mesh).bind("127.0.0.1:0").await.expect("a free port");
    let app = Router::new().fallback(move |peer: Peer, request: Received| {
        let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        seen.lock().unwrap().push((peer.principal().map(str::to_owned), path));
        let knows = request.headers().get("authorization").is_some_and(|value| value == "Bearer jason");
        std::future::ready(match knows {
            true => [("x-user", "jason")].into_response(),
            false => {
                let asks = [("www-authenticate", "Bearer")];
                (StatusCode::UNAUTHORIZED, asks, "who are you?").into_response()
            }
        })
    });
    tokio::spawn(
        async move { server.serve_with_shutdown(app, std::future::pending()).await.expect("serves") },
    )
}

async fn get(caller: &Mesh, authorization: Option<&str>) -> (http::response::Parts, String) {
    let request = Request::get("http://front:9080/a?b=c");
    let request = authorization.iter().fold(request, |request, said| request.header("authorization", *said));
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = MeshClient::new(caller).oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    (head, String::from_utf8(body.into()).expect("text"))
}

/// Waits until a request is answered so.
async fn until(caller: &Mesh, authorization: Option<&str>, status: StatusCode) {
    let start = Instant::now();
    loop {
        let (head, body) = get(caller, authorization).await;
        if head.status == status {
            return;
        }
        assert!(start.elapsed() < START, "{} instead of {status}: {body}", head.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
