//! With no document at all there is a mesh; two commands then write the documents that most people want.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_server::Server;
use mesh_tests::{ControlPlane, Echo, Served};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tower::ServiceExt;

const CALLS: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn two_commands_and_no_document_divide_traffic_and_let_callers_in() {
    let control_plane = ControlPlane::start();
    let v1 = control_plane.serve("reviews:9080", "v1", "v1").await;
    let productpage = control_plane.join(&["--service-account", "productpage"]).await;
    let stranger = control_plane.join(&["--service-account", "stranger"]).await;
    answers(&productpage).await;

    let early = control_plane.mesh(&["split", "reviews", "v1=100", "v2=1"]);
    assert_eq!(early.code, Some(3), "{}", early.stderr);
    assert!(
        early.stderr.contains("no instance of reviews.default.svc.cluster.local has joined"),
        "{}",
        early.stderr
    );
    let v2 = control_plane.serve("reviews:9080", "v2", "v2").await;
    let said = control_plane.split("reviews", &["v1=70", "v2=30"]);
    assert!(said.contains("weight: 30"), "the documents are printed:\n{said}");
    settled().await;
    let (before_v1, before_v2) = (v1.echo.requests(), v2.echo.requests());
    for _ in 0..CALLS {
        assert_eq!(call(&productpage, Method::GET, "/reviews/0").await.0, StatusCode::OK);
    }
    let (by_v1, by_v2) = (v1.echo.requests() - before_v1, v2.echo.requests() - before_v2);
    assert_eq!(by_v1 + by_v2, CALLS as u64);
    let sigma = (CALLS as f64 * 0.3 * 0.7).sqrt();
    assert!((by_v2 as f64 - CALLS as f64 * 0.3).abs() < 4.0 * sigma, "{by_v2} of {CALLS}");

    let allow = ["allow", "productpage", "reviews", "GET", "/reviews/*"];
    assert!(control_plane.mesh(&allow).success().contains("created"));
    assert!(control_plane.mesh(&allow).success().contains("unchanged"), "said twice it is still one rule");
    settled().await;
    let check = async |caller: &Mesh, method: Method, path: &str, expected: StatusCode| {
        let (status, body) = call(caller, method.clone(), path).await;
        assert_eq!(status, expected, "{method} {path}: {body}");
    };
    check(&productpage, Method::GET, "/reviews/0", StatusCode::OK).await;
    check(&productpage, Method::POST, "/reviews/0", StatusCode::FORBIDDEN).await;
    check(&productpage, Method::GET, "/admin", StatusCode::FORBIDDEN).await;
    check(&stranger, Method::GET, "/reviews/0", StatusCode::FORBIDDEN).await;

    control_plane.mesh(&["allow", "stranger", "reviews", "*", "*"]).success();
    settled().await;
    check(&stranger, Method::POST, "/admin", StatusCode::OK).await;
    check(&productpage, Method::GET, "/admin", StatusCode::FORBIDDEN).await;

    control_plane.mesh(&["split", "reviews", "v9=1"]);
    settled().await;
    let (status, body) = call(&productpage, Method::GET, "/reviews/0").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    let rule = "VirtualService/default/reviews http[0] (mesh-split.yaml:";
    assert!(body.contains(rule), "the caller's engineer is told which rule sent it there: {body}");
}

/// Whoever serves a service is guarded by a rule for it, whatever its token calls `app`, and whichever of the token's services it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_holds_for_whoever_serves_the_service() {
    let control_plane = ControlPlane::start();
    control_plane.token(&["--service", "reviews:9080"]);
    let facts = control_plane.join(&["--service", "details:9080", "--label", "app=facts"]).await;
    let facts = Served::start(&facts, Echo::new("facts")).await;
    let both = control_plane.join(&["--service", "catalog:9080", "--service", "ratings:9081"]).await;
    let ratings =
        Server::builder(&both).service("ratings:9081").bind("127.0.0.1:0").await.expect("a free port");
    let ratings_address = ratings.address();
    let ratings =
        tokio::spawn(ratings.serve_with_shutdown(Echo::new("ratings").routes(), std::future::pending()));
    for (service, address) in [("details", facts.address), ("ratings", ratings_address)] {
        until(address, "200").await;
        let said = control_plane.mesh(&["allow", "reviews", service, "GET", "/never"]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", said.stdout);
        until(address, "403").await;
    }
    ratings.abort();
}

/// What names nobody is a finding, with the names that there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_typing_error_is_no_success() {
    let control_plane = ControlPlane::start();
    control_plane.token(&["--service-account", "productpage"]);
    let _reviews = control_plane.serve("reviews:9080", "v1", "v1").await;
    control_plane.split("reviews", &["v1=1"]);
    let check = |words: &[&str], expected: &[&str]| {
        let said = control_plane.mesh(words);
        assert_eq!(said.code, Some(3), "{words:?}: {}{}", said.stdout, said.stderr);
        for part in expected {
            assert!(said.stderr.contains(part), "{words:?}: {}", said.stderr);
        }
    };
    let known = "known are reviews.default.svc.cluster.local";
    check(&["allow", "productpage", "reviewz", "GET", "/"], &["nothing serves reviewz.default", known]);
    check(&["allow", "productpag", "reviews", "GET", "/"], &["sa/productpag;", "sa/productpage"]);
    check(&["split", "reviewz", "v1=1"], &["nothing serves reviewz.default", known]);
    let unserved = "no instance of reviews.default.svc.cluster.local has joined with `version=v2`";
    check(&["split", "reviews", "v1=1", "v2=1"], &[unserved, "known are v1"]);
}

/// Waits until a plaintext stranger is answered so.
async fn until(address: SocketAddr, status: &str) {
    let start = Instant::now();
    loop {
        let answer = plaintext(address).await.unwrap_or_default();
        if answer.starts_with(&format!("HTTP/1.1 {status} ")) {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{status} is expected: {answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn plaintext(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: anybody\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// Calls begun a second after a command returned follow it.
async fn settled() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}

/// Waits until the service is known and connected.
async fn answers(caller: &Mesh) {
    let start = Instant::now();
    loop {
        let (status, body) = call(caller, Method::GET, "/").await;
        if status == StatusCode::OK {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{status}: {body}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn call(caller: &Mesh, method: Method, path: &str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(format!("http://reviews:9080{path}"));
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = MeshClient::new(caller).oneshot(request).await;
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}
