//! Endpoints at Unix sockets of the caller's host, in HTTP and as bytes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use mesh_client::{MeshClient, MeshConnector};
use mesh_core::Mesh;
use mesh_tests::ControlPlane;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tower::ServiceExt;

/// How long a change may take to reach a caller on a busy machine.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_may_be_unix_sockets() {
    let control_plane = ControlPlane::start();
    let path = |name: &str| control_plane.scratch().join(name).to_str().expect("UTF-8").to_owned();
    let named = format!("@mesh-test-{:016x}", fastrand::u64(..));
    let (one, two) = (path("one.sock"), path("two.sock"));
    serve("one", &one);
    serve("two", &two);
    serve("named", &named.replacen('@', "\0", 1));
    let documents = |endpoints: &[&str]| {
        let endpoints: Vec<_> =
            endpoints.iter().map(|path| format!("{{address: 'unix://{path}'}}")).collect();
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: local}}\nspec:\n  hosts: [local.example]\n  \
             ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 5432, name: tcp, protocol: TCP}}]\n  resolution: STATIC\n  \
             endpoints: [{}]\n",
            endpoints.join(", ")
        )
    };
    control_plane.apply("local.yaml", &documents(&[&one]));
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    answer(&caller, &["one"]).await;
    control_plane.apply("local.yaml", &documents(&[&two, &named]));
    answer(&caller, &["named", "two"]).await;

    let explained = control_plane.mesh(&["explain", "GET", "http://local.example/", "-o", "json"]).success();
    let explained: serde_json::Value = serde_json::from_str(&explained).expect("JSON");
    let endpoints = explained["destinations"][0]["endpoints"].as_array().expect("endpoints");
    let told: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint["address"].as_str().unwrap()).collect();
    assert_eq!(told, BTreeSet::from([&*format!("unix://{two}"), &format!("unix://{named}")]));

    control_plane.apply("local.yaml", &documents(&[&path("nobody.sock")]));
    let start = Instant::now();
    loop {
        let (status, body) = get(&caller).await;
        if status == 503 && body.contains("nobody.sock") {
            break;
        }
        assert!(start.elapsed() < SOON, "{status}: {body}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Calls until these and nobody else answer, in HTTP and on connections.
async fn answer(caller: &Mesh, names: &[&str]) {
    let connector = MeshConnector::new(caller);
    let start = Instant::now();
    loop {
        let mut seen = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..20 {
            seen[0].insert(get(caller).await.1);
            let Ok(mut stream) = connector.connect("local.example:5432").await else { continue };
            let mut text = String::new();
            let sent = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
            if sent.is_ok() && stream.read_to_string(&mut text).await.is_ok() {
                seen[1].insert(text.rsplit('\n').next().unwrap_or_default().to_owned());
            }
        }
        if seen.iter().all(|seen| seen.iter().eq(names)) {
            return;
        }
        assert!(start.elapsed() < SOON, "{seen:?} answer, and not {names:?}");
    }
}

async fn get(caller: &Mesh) -> (u16, String) {
    let request = Request::get("http://local.example/").body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = MeshClient::new(caller).oneshot(request).await;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// A server that answers requests with its name.
fn serve(name: &'static str, path: &str) {
    let listener = UnixListener::bind(path).expect("nobody's socket");
    let app = axum::Router::new().fallback(async move || name);
    tokio::spawn(async move { axum::serve(listener, app).await });
}
