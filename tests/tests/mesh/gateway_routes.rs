//! HTTPRoutes and GRPCRoutes of a Service over real sockets: what the backend gets, and what the caller gets back.

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request as Received;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_client::{MeshChannel, MeshClient};
use mesh_core::Mesh;
use mesh_server::Server;
use mesh_tests::ControlPlane;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::Code;
use tower::ServiceExt;

/// How long a change may take to reach a caller on a busy machine.
const START: Duration = Duration::from_secs(30);

const FILTERS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: filters}
spec:
  parentRefs: [{group: '', kind: Service, name: front, port: 9080}]
  rules:
  - matches: [{path: {value: /headers}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: X-Set, value: 100%}], add: [{name: X-Add, value: two}], remove: [x-gone]}
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: X-Answer, value: 'yes'}], remove: [x-server]}
    backendRefs:
    - name: back
      port: 9080
      filters:
      - type: RequestHeaderModifier
        requestHeaderModifier: {add: [{name: x-add, value: three}]}
      - type: URLRewrite
        urlRewrite: {hostname: other.example}
  - matches: [{path: {value: /strip/}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
    backendRefs: [{name: back, port: 9080}]
  - matches: [{path: {value: /old}}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /new/}}}]
    backendRefs: [{name: back, port: 9080}]
  - matches: [{path: {value: /full}}]
    backendRefs:
    - {name: back, port: 9080, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /a/b}}}]}
  - matches: [{path: {value: /moved}}]
    filters:
    - type: RequestRedirect
      requestRedirect: {hostname: b.example, port: 8443, scheme: https, statusCode: 308, path: {type: ReplacePrefixMatch, replacePrefixMatch: /here}}
  - matches: [{path: {value: /secure}}]
    filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]
  - matches: [{path: {value: /copied}}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: copies, port: 9080}, percent: 100}}]
    backendRefs: [{name: back, port: 9080}]
  - matches: [{path: {value: /limited}}]
    timeouts: {request: 300ms}
    backendRefs: [{name: back, port: 9080}]
  - matches: [{path: {value: /each}}]
    timeouts: {request: 0s, backendRequest: 300ms}
    backendRefs: [{name: back, port: 9080}]
";

#[tokio::test(flavor = "multi_thread")]
async fn filters_and_timeouts_do_on_sockets_what_they_say() {
    let control_plane = ControlPlane::start();
    let mut backends = JoinSet::new();
    let _front = control_plane.serve("front:9080", "v1", "front").await;
    let copies = control_plane.serve("copies:9080", "v1", "copies").await;
    teller(&control_plane, &mut backends, &["--service", "back:9080"]).await;
    control_plane.apply("filters.yaml", FILTERS);
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    reached(&caller, "/old", StatusCode::OK).await;

    let answer = get(&caller, "/headers", &[("x-add", "one"), ("x-set", "old"), ("x-gone", "1")]).await;
    assert_eq!(answer.told["host"], "other.example");
    assert_eq!(answer.told["headers"]["x-set"], "100%");
    assert_eq!(answer.told["headers"]["x-add"], "one,two,three", "the rule's first, then the backend's");
    assert_eq!(answer.told["headers"]["x-gone"], Value::Null);
    assert_eq!(
        (&answer.headers["x-answer"], answer.headers.get("x-server")),
        (&"yes".parse().unwrap(), None)
    );

    let path =
        async |from: &str, to: &str| assert_eq!(get(&caller, from, &[]).await.told["path"], to, "{from}");
    path("/strip", "/").await;
    path("/strip/", "/").await;
    path("/strip/a?q=1", "/a?q=1").await;
    path("/old", "/new").await;
    path("/old/a", "/new/a").await;
    path("/full/x/y?q=1", "/a/b?q=1").await;
    assert_eq!(get(&caller, "/older", &[]).await.status, StatusCode::NOT_FOUND, "a prefix is whole segments");

    let redirect = async |from: &str, status: u16, to: &str| {
        let answer = get(&caller, from, &[]).await;
        assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (status, &to.parse().unwrap()));
    };
    redirect("/moved/x?q=1", 308, "https://b.example:8443/here/x?q=1").await;
    redirect("/secure", 302, "https://front:443/secure").await;

    assert_eq!(get(&caller, "/copied", &[]).await.told["path"], "/copied", "the backend itself answers");
    let start = Instant::now();
    while copies.echo.requests() != 1 {
        assert!(start.elapsed() < START, "{} copies came", copies.echo.requests());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    for limited in ["/limited", "/each"] {
        assert_eq!(get(&caller, limited, &[]).await.status, StatusCode::OK);
        let start = Instant::now();
        assert_eq!(get(&caller, limited, &[("x-never", "1")]).await.status, StatusCode::GATEWAY_TIMEOUT);
        assert!(start.elapsed() >= Duration::from_millis(300), "{limited}: {:?}", start.elapsed());
    }
}

const CROSSING: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: crossing}
spec:
  parentRefs: [{group: '', kind: Service, name: front}]
  rules:
  - backendRefs: [{name: data, namespace: store, port: 9080}]
";
const GRANT: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: front, namespace: store}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: '', kind: Service, name: data}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_of_another_namespace_is_reached_while_it_is_granted() {
    let control_plane = ControlPlane::start();
    let mut backends = JoinSet::new();
    let _front = control_plane.serve("front:9080", "v1", "front").await;
    teller(&control_plane, &mut backends, &["--namespace", "store", "--service", "data:9080"]).await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    let file = control_plane.scratch().join("crossing.yaml");
    std::fs::write(&file, CROSSING).expect("a temporary file");
    let said = control_plane.mesh(&["apply", "-f", file.to_str().expect("temporary paths are UTF-8")]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stderr.contains("no ReferenceGrant of store lets HTTPRoutes of default"), "{}", said.stderr);
    reached(&caller, "/", StatusCode::INTERNAL_SERVER_ERROR).await;
    control_plane.apply("grant.yaml", GRANT);
    reached(&caller, "/", StatusCode::OK).await;
    let said = control_plane.mesh(&["delete", "ReferenceGrant/store/front"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    reached(&caller, "/", StatusCode::INTERNAL_SERVER_ERROR).await;
}

const CALLS: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{group: '', kind: Service, name: calls}]
  rules:
  - matches: [{method: {service: echo.v1.Echo, method: Both}}]
    backendRefs: [{name: streams, port: 9080}]
  - matches: [{method: {type: RegularExpression, service: 'echo\\.v[0-9]+\\.Echo', method: Un.*}, headers: [{name: x-user, value: jason}]}]
    filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-way, value: jason}]}}]
    backendRefs: [{name: streams, port: 9080}]
  - matches: [{method: {service: echo.v1.Echo, method: Unary}, headers: [{name: x-lost, value: '1'}]}]
    backendRefs: [{name: calls, port: 1}]
  - matches: [{method: {service: echo.v1.Echo, method: Unary}, headers: [{name: x-known, value: '1'}]}]
    backendRefs: [{name: calls, port: 9080}]
";

#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_go_by_service_method_and_metadata() {
    let control_plane = ControlPlane::start();
    let _calls = control_plane.serve("calls:9080", "v1", "calls").await;
    let _streams = control_plane.serve("streams:9080", "v1", "streams").await;
    control_plane.apply("calls.yaml", CALLS);
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    let mut client = EchoClient::new(MeshChannel::new(&caller, "calls:9080"));
    let mut unary = async |name: &'static str| {
        let mut request = tonic::Request::new(Message::default());
        request.metadata_mut().insert(name, if name == "x-user" { "jason" } else { "1" }.parse().unwrap());
        client.unary(request).await
    };
    let start = Instant::now();
    while unary("x-known").await.is_err() {
        assert!(start.elapsed() < START, "the service never answered");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(unary("x-known").await.unwrap().get_ref().text, "calls");
    let jason = unary("x-user").await.expect("an answer");
    assert_eq!(jason.get_ref().text, "streams");
    assert_eq!(jason.metadata().get("x-way").map(|way| way.as_encoded_bytes()), Some(&b"jason"[..]));
    assert_eq!(unary("x-other").await.expect_err("no rule").code(), Code::Unimplemented);
    assert_eq!(unary("x-lost").await.expect_err("no backend").code(), Code::Unavailable);
    let mut client = EchoClient::new(MeshChannel::new(&caller, "calls:9080"));
    let stream = tokio_stream::iter([Message::default()]);
    let mut answers = client.both(stream).await.expect("a stream").into_inner();
    assert_eq!(answers.message().await.expect("a message").expect("one").text, "streams");
}

/// What a caller gets; `told` is what the backend says that it got.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    told: Value,
}

async fn get(caller: &Mesh, path: &str, headers: &[(&str, &str)]) -> Answer {
    let request = Request::get(format!("http://front:9080{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = MeshClient::new(caller).oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let told = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Answer { status: head.status, headers: head.headers, told }
}

/// Waits until the front answers so, which is when the documents have arrived.
async fn reached(caller: &Mesh, path: &str, status: StatusCode) {
    let start = Instant::now();
    loop {
        let answer = get(caller, path, &[]).await;
        // The front itself answers with no JSON.
        if answer.status == status && (status != StatusCode::OK || answer.told.is_object()) {
            return;
        }
        assert!(start.elapsed() < START, "{path}: {} instead of {status}", answer.status);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Serves a backend that tells what it got, and keeps quiet where it is asked to.
async fn teller(control_plane: &ControlPlane, tasks: &mut JoinSet<()>, token: &[&str]) {
    let mesh = control_plane.join(token).await;
    let server = Server::builder(&mesh).bind("127.0.0.1:0").await.expect("a free port");
    let app = Router::new().fallback(tell);
    tasks
        .spawn(async move { server.serve_with_shutdown(app, std::future::pending()).await.expect("serves") });
}

async fn tell(request: Received) -> ([(&'static str, &'static str); 1], String) {
    if request.headers().contains_key("x-never") {
        std::future::pending::<()>().await;
    }
    let names = request.headers().keys();
    let headers: serde_json::Map<String, Value> = names
        .map(|name| {
            let values = request.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
            (name.to_string(), json!(values.collect::<Vec<_>>().join(",")))
        })
        .collect();
    let host = request.uri().host().or(request.headers().get("host").and_then(|host| host.to_str().ok()));
    let path = request.uri().path_and_query().map(ToString::to_string);
    ([("x-server", "teller")], json!({"host": host, "path": path, "headers": headers}).to_string())
}
