//! What a VirtualService's rule does besides routing, over real sockets: who is asked, and how often, is what the receivers count.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Empty;
use mesh_client::{MeshChannel, MeshClient, ResponseBody};
use mesh_core::Mesh;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use mesh_tests::{ControlPlane, Echo};
use tower::ServiceExt;

/// Calls begun this long after `apply` returned follow it.
const SETTLED: Duration = Duration::from_secs(1);
const CALLS: u32 = 1_000;
const SIGMA_MAX: f64 = 4.0;

const FAULTS: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{uri: {prefix: /slow}}]
    fault: {delay: {fixedDelay: 400ms, percentage: {value: 100}}}
    timeout: 300ms
    route: [{destination: {host: echo}}]
  - match: [{uri: {prefix: /some}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 12.5}}}
    route: [{destination: {host: echo}}]
  - match: [{uri: {prefix: /echo.v1.Echo}}]
    fault: {abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}
    route: [{destination: {host: echo}}]
  - match: [{uri: {prefix: /none}}]
    fault: {abort: {httpStatus: 418}}
    route: [{destination: {host: echo}}]
  - route: [{destination: {host: echo}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn faults_strike_as_often_as_they_are_said_to() {
    let control_plane = ControlPlane::start();
    let echo = control_plane.serve("echo:9080", "v1", "v1").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    apply(&control_plane, &caller, FAULTS).await;

    let start = Instant::now();
    assert_eq!(get(&caller, "/slow").await.status(), StatusCode::OK, "the delay is outside the timeout");
    assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());

    let before = echo.echo.requests();
    let mut aborted = 0;
    for _ in 0..CALLS {
        aborted += u32::from(get(&caller, "/some").await.status() == StatusCode::IM_A_TEAPOT);
    }
    within_sigma(aborted, 0.125);
    assert_eq!(echo.echo.requests() - before, u64::from(CALLS - aborted), "who is aborted asks nobody");

    for _ in 0..20 {
        assert_eq!(get(&caller, "/none").await.status(), StatusCode::OK, "a share that is not said is none");
    }
    let mut grpc = EchoClient::new(MeshChannel::new(&caller, "echo:9080"));
    let status = grpc.unary(Message::default()).await.expect_err("every call is aborted");
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
}

const MIRRORS: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{uri: {prefix: /all}}]
    mirror: {host: shadow}
    route: [{destination: {host: echo}}]
  - match: [{uri: {prefix: /some}}]
    mirrors: [{destination: {host: shadow}, percentage: {value: 12.5}}]
    route: [{destination: {host: echo}}]
  - route: [{destination: {host: echo}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn copies_go_to_the_mirror_as_often_as_they_are_said_to() {
    let control_plane = ControlPlane::start();
    let echo = control_plane.serve("echo:9080", "v1", "v1").await;
    let shadow = control_plane.serve("shadow:9080", "v1", "v1").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    apply(&control_plane, &caller, MIRRORS).await;

    let before = echo.echo.requests();
    for _ in 0..100 {
        assert_eq!(get(&caller, "/all").await.status(), StatusCode::OK);
    }
    copied(&shadow.echo, 100).await;
    assert_eq!(echo.echo.requests() - before, 100);
    assert_eq!(shadow.echo.hosts().into_iter().collect::<Vec<_>>(), [("echo-shadow:9080".to_owned(), 100)]);
    assert!(!echo.echo.hosts().contains_key("echo-shadow:9080"), "{:?}", echo.echo.hosts());

    for _ in 0..CALLS {
        assert_eq!(get(&caller, "/some").await.status(), StatusCode::OK);
    }
    tokio::time::sleep(SETTLED).await;
    within_sigma(u32::try_from(shadow.echo.requests() - 100).expect("few"), 0.125);
}

/// Waits until so many copies have come.
async fn copied(shadow: &Echo, count: u64) {
    let start = Instant::now();
    while shadow.requests() < count {
        assert!(start.elapsed() < Duration::from_secs(10), "{} of {count} came", shadow.requests());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

const CORS: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{uri: {prefix: /ignored}}]
    corsPolicy: {allowOrigins: [{exact: 'https://shop'}], unmatchedPreflights: IGNORE}
    route: [{destination: {host: echo}}]
  - corsPolicy:
      allowOrigins: [{exact: 'https://shop'}, {regex: 'https://.*[.]example[.]com'}]
      allowMethods: [GET, PUT]
      allowHeaders: [x-a, x-b]
      exposeHeaders: [x-c]
      maxAge: 24h
      allowCredentials: true
    route: [{destination: {host: echo}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_who_may_call() {
    let control_plane = ControlPlane::start();
    let echo = control_plane.serve("echo:9080", "v1", "v1").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    apply(&control_plane, &caller, CORS).await;

    let before = echo.echo.requests();
    let preflight = [("origin", "https://a.example.com"), ("access-control-request-method", "PUT")];
    let told = ask(&caller, Method::OPTIONS, "/", &preflight).await;
    let header =
        |name: &str| told.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("none");
    assert_eq!(told.status(), StatusCode::OK);
    assert_eq!(header("access-control-allow-origin"), "https://a.example.com");
    assert_eq!(header("access-control-allow-methods"), "GET,PUT");
    assert_eq!(header("access-control-allow-headers"), "x-a,x-b");
    assert_eq!(header("access-control-max-age"), "86400");
    assert_eq!(header("access-control-allow-credentials"), "true");
    assert_eq!(echo.echo.requests(), before, "a preflight asks nobody");

    let foreign = [("origin", "https://else"), ("access-control-request-method", "PUT")];
    let told = ask(&caller, Method::OPTIONS, "/ignored", &foreign).await;
    assert_eq!((told.status(), echo.echo.requests()), (StatusCode::OK, before));
    let forwarded = ask(&caller, Method::OPTIONS, "/", &foreign).await;
    assert_eq!(forwarded.status(), StatusCode::METHOD_NOT_ALLOWED, "the service itself answers");

    let read = ask(&caller, Method::GET, "/", &[("origin", "https://shop")]).await;
    assert_eq!(read.headers()["access-control-expose-headers"], "x-c");
    let unread = ask(&caller, Method::GET, "/", &[("origin", "https://else")]).await;
    assert!(!unread.headers().contains_key("access-control-allow-origin"));
}

fn within_sigma(seen: u32, share: f64) {
    let calls = f64::from(CALLS);
    let off = (f64::from(seen) - calls * share) / (calls * share * (1.0 - share)).sqrt();
    assert!(off.abs() < SIGMA_MAX, "{seen} of {CALLS} are {off} sigma from {share}");
}

/// Applies documents, once the service answers at all.
async fn apply(control_plane: &ControlPlane, caller: &Mesh, documents: &str) {
    let start = Instant::now();
    while get(caller, "/").await.status() != StatusCode::OK {
        assert!(start.elapsed() < Duration::from_secs(20), "the service never answers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    control_plane.apply("actions.yaml", documents);
    tokio::time::sleep(SETTLED).await;
}

async fn get(caller: &Mesh, path: &str) -> Response<ResponseBody> {
    ask(caller, Method::GET, path, &[]).await
}

async fn ask(caller: &Mesh, method: Method, path: &str, headers: &[(&str, &str)]) -> Response<ResponseBody> {
    let request = Request::builder().method(method).uri(format!("http://echo:9080{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = MeshClient::new(caller).oneshot(request).await;
    response
}
