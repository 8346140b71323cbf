//! What a user's test can rely on: documents act as in a running mesh, and nothing leaves the process.

mod change;
mod documents;
mod policy;
mod time;
mod traffic;

use axum::Router;
use axum::routing::get;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use mesh_client::MeshClient;
use mesh_testing::{TestMesh, TestMeshBuilder};
use tower::ServiceExt;

/// An application that answers with its name.
fn app(name: &'static str) -> Router {
    Router::new().fallback(get(move || async move { name }))
}

/// Two versions of reviews.
fn reviews() -> TestMeshBuilder {
    TestMesh::builder().documents(SUBSETS).service("reviews:9080", "version=v1", app("v1")).service(
        "reviews:9080",
        "version=v2",
        app("v2"),
    )
}

/// A caller's `GET` of a URL, with headers written `NAME: VALUE`.
async fn call(mesh: &TestMesh, from: &str, url: &str, headers: &[&str]) -> (StatusCode, String) {
    let mut request = Request::get(url);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let request = request.body(String::new()).unwrap();
    let response = MeshClient::new(&mesh.member(from)).oneshot(request).await.unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

/// Which version of reviews answers productpage.
async fn version(mesh: &TestMesh, headers: &[&str]) -> String {
    let (status, body) = call(mesh, "productpage", "http://reviews:9080/", headers).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

const SUBSETS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
  - {name: v1, labels: {version: v1}}
  - {name: v2, labels: {version: v2}}
";

/// All of reviews' traffic as these shares say.
fn split(v1: u8, v2: u8) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - route:
    - {{destination: {{host: reviews, subset: v1}}, weight: {v1}}}
    - {{destination: {{host: reviews, subset: v2}}, weight: {v2}}}
"
    )
}
