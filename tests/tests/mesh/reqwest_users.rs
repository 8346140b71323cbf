//! Code that speaks reqwest, in the mesh: the rules of documents hold for it, and mutual TLS, by one word that changes.

use std::time::{Duration, Instant};

use mesh_client::{MeshClient, SendThrough};
use mesh_tests::ControlPlane;
use reqwest::{Client, StatusCode};

const DOCUMENTS: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec:
  mtls: {mode: STRICT}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: echo}
spec:
  parentRefs: [{group: '', kind: Service, name: echo}]
  rules:
  - matches: [{headers: [{name: tester, value: ada}]}]
    backendRefs: [{name: echo-next, port: 9080}]
  - matches: [{path: {value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /}, statusCode: 302}}]
  - backendRefs: [{name: echo, port: 9080}]
";
const SETTLED: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn reqwests_requests_follow_the_documents() {
    let control_plane = ControlPlane::start();
    let _one = control_plane.serve("echo:9080", "v1", "one").await;
    let next = control_plane.serve("echo-next:9080", "v1", "next").await;
    control_plane.apply("echo.yaml", DOCUMENTS);
    let mesh = MeshClient::new(&control_plane.join(&["--service-account", "caller"]).await);
    let client = Client::new();
    let start = Instant::now();
    while told(client.get("http://echo:9080/").header("tester", "ada"), &mesh).await != "next"
        || told(client.post("http://echo:9080/").body("stars"), &mesh).await != "one"
    {
        assert!(start.elapsed() < SETTLED, "the documents do not arrive");
        tokio::task::yield_now().await;
    }
    let moved = client.get("http://echo:9080/moved").send_through(&mesh).await.expect("a response");
    assert_eq!(moved.status(), StatusCode::FOUND);
    // The same request without the mesh, where plaintext is not taken.
    let stranger = client.get(format!("http://{}/", next.address)).send().await;
    assert!(stranger.is_err(), "{stranger:?}");
}

/// The body of the answer, whatever its status.
async fn told(request: reqwest::RequestBuilder, mesh: &MeshClient) -> String {
    let response = request.timeout(SETTLED).send_through(mesh).await.expect("a response");
    response.text().await.expect("a whole body")
}
