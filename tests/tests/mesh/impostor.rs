//! Somebody else answers where a service should: refused by its identity, named, and never sent a request.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_client::{ClientError, ConnectErrorKind, MeshChannel, MeshClient};
use mesh_core::Mesh;
use mesh_server::Event;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use mesh_tests::{ControlPlane, Served, log};
use tower::ServiceExt;

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";
const RATINGS: &str = "spiffe://cluster.local/ns/default/sa/ratings";
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn another_services_svid_is_refused_by_name_while_good_endpoints_answer() {
    log::listen();
    let control_plane = ControlPlane::start();
    let ratings = control_plane.serve("ratings:9080", "v1", "ratings").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    point_reviews_at(&control_plane, &ratings, "reviews");

    refused(&caller, &ratings, &[REVIEWS, RATINGS]).await;
    let status = channel(&caller).unary(Message::default()).await.expect_err("an impostor");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    assert_eq!(ratings.echo.requests(), 0, "the impostor was asked");

    let reviews = control_plane.serve("reviews:9080", "v1", "reviews").await;
    eventually_answers(&caller, "reviews").await;
    let before = ratings.counters.count(Event::FailedHandshake);
    let mut calls = 0;
    // Until the impostor has been drawn and dialled again, and has cost nobody an answer.
    while calls < 200 || ratings.counters.count(Event::FailedHandshake) == before {
        assert_eq!(call(&caller, "reviews").await.expect("another endpoint"), "reviews");
        calls += 1;
    }
    assert_eq!(ratings.echo.requests(), 0, "the impostor was asked");
    assert!(reviews.echo.requests() >= calls);

    assert_eq!(call(&caller, "ratings").await.expect("as itself it is welcome"), "ratings");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_connection_is_given_up_when_its_server_is_no_longer_the_one_meant() {
    log::listen();
    let control_plane = ControlPlane::start();
    let ratings = control_plane.serve("ratings:9080", "v1", "ratings").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    point_reviews_at(&control_plane, &ratings, "ratings");
    eventually_answers(&caller, "ratings").await;

    point_reviews_at(&control_plane, &ratings, "reviews");
    let start = std::time::Instant::now();
    while call(&caller, "reviews").await.is_ok() {
        assert!(start.elapsed() < SOON, "the old connection is still used");
    }
    let answered = ratings.echo.requests();
    refused(&caller, &ratings, &[REVIEWS, RATINGS]).await;
    assert_eq!(ratings.echo.requests(), answered, "the impostor was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_mesh_at_our_endpoint_is_refused() {
    log::listen();
    let control_plane = ControlPlane::start();
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    // The first bears the very name that is meant, under a root of its own.
    for (trust_domain, words) in [
        ("cluster.local", [REVIEWS, "not vouched for"]),
        ("other.example", ["trust domain cluster.local", "spiffe://other.example/ns/default/sa/reviews"]),
    ] {
        let elsewhere = ControlPlane::of_trust_domain(trust_domain);
        let server = elsewhere.serve("reviews:9080", "v1", trust_domain).await;
        let own = elsewhere.join(&["--service-account", "caller"]).await;
        eventually_answers(&own, trust_domain).await;
        let answered = server.echo.requests();

        point_reviews_at(&control_plane, &server, "reviews");
        refused(&caller, &server, &words).await;
        assert_eq!(server.echo.requests(), answered, "a server of {trust_domain} was asked");
    }
}

/// Says that a workload with this service account serves `reviews` where `served` listens.
fn point_reviews_at(control_plane: &ControlPlane, served: &Served, service_account: &str) {
    let (ip, port) = (served.address.ip(), served.address.port());
    control_plane.apply(
        "reviews.yaml",
        &format!(
            "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: reviews}}
spec:
  hosts: [reviews.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports:
  - {{number: 9080, name: http, protocol: HTTP}}
  workloadSelector:
    labels: {{app: reviews}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: elsewhere}}
spec:
  address: {ip}
  ports: {{http: {port}}}
  labels: {{app: reviews}}
  serviceAccount: {service_account}
"
        ),
    );
}

/// A call to `reviews` ends in a 503 that names the reason, and so does a line for the operator.
async fn refused(caller: &Mesh, server: &Served, words: &[&str]) {
    let address = server.address.to_string();
    let start = std::time::Instant::now();
    let error = loop {
        match call(caller, "reviews").await {
            // The endpoint of the document before this one may be known for a moment yet.
            Err(error) if error.to_string().contains(&address) => break error,
            outcome => assert!(start.elapsed() < SOON, "{outcome:?}"),
        }
    };
    let ClientError::Connect(connect) = &error else { panic!("{error:?}") };
    assert!(matches!(connect.kind, ConnectErrorKind::Refused(_)), "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is missing: {error}");
    }
    let mut expected = vec!["WARN", "connection refused", "reviews.default.svc.cluster.local", &address];
    expected.extend(words);
    log::line_with(&expected);
}

async fn eventually_answers(caller: &Mesh, name: &str) {
    let start = std::time::Instant::now();
    while call(caller, "reviews").await.ok().as_deref() != Some(name) {
        assert!(start.elapsed() < SOON, "{name} does not answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Who answers for `service`, or why nobody does.
async fn call(caller: &Mesh, service: &str) -> Result<String, ClientError> {
    let request = Request::get(format!("http://{service}:9080/")).body(Empty::<Bytes>::new());
    let answer = MeshClient::new(caller).oneshot(request.expect("a URI")).await.expect("never fails");
    if let Some(error) = answer.extensions().get::<ClientError>() {
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{error}");
        return Err(error.clone());
    }
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    Ok(String::from_utf8(body.into()).expect("a name"))
}

fn channel(caller: &Mesh) -> EchoClient<MeshChannel> {
    EchoClient::new(MeshChannel::new(caller, "reviews:9080"))
}
