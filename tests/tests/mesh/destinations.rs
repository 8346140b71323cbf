//! Where a destination's requests go and how it is spoken to, over real sockets: DestinationRules, ServiceEntries and
//! WorkloadEntries.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_tests::ControlPlane;
use tower::ServiceExt;

/// How long a change may take to reach a caller on a busy machine.
const START: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

const CLIENTS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: all}
spec:
  host: echo
  subsets: [{name: ours, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: beta}
spec:
  host: echo
  workloadSelector: {matchLabels: {ring: beta}}
  subsets: [{name: ours, labels: {version: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec: {hosts: [echo], http: [{route: [{destination: {host: echo, subset: ours}}]}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_selects_clients_sends_them_elsewhere() {
    let control_plane = ControlPlane::start();
    let _v1 = control_plane.serve("echo:9080", "v1", "v1").await;
    let _v2 = control_plane.serve("echo:9080", "v2", "v2").await;
    control_plane.apply("clients.yaml", CLIENTS);
    let stable = control_plane.join(&["--service-account", "caller"]).await;
    let beta = control_plane.join(&["--service-account", "caller", "--label", "ring=beta"]).await;
    until_told(&stable, "http://echo:9080/", StatusCode::OK).await;
    until_told(&beta, "http://echo:9080/", StatusCode::OK).await;
    for _ in 0..20 {
        assert_eq!(told(&stable, "http://echo:9080/").await, (StatusCode::OK, "v1".to_owned()));
        assert_eq!(told(&beta, "http://echo:9080/").await, (StatusCode::OK, "v2".to_owned()));
    }
}

const PORTS: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL}
    portLevelSettings: [{port: {number: 9081}, tls: {mode: DISABLE}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_port_with_settings_of_its_own_is_spoken_to_by_them() {
    let control_plane = ControlPlane::start();
    let _first = control_plane.serve("echo:9080", "v1", "first").await;
    let second = control_plane.serve("echo:9081", "v1", "second").await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    until_told(&caller, "http://echo:9080/", StatusCode::OK).await;
    until_told(&caller, "http://echo:9081/", StatusCode::OK).await;
    control_plane.apply("ports.yaml", PORTS);
    until_told(&caller, "http://echo:9081/", StatusCode::SERVICE_UNAVAILABLE).await;
    let before = second.echo.requests();
    assert_eq!(told(&caller, "http://echo:9080/").await, (StatusCode::OK, "first".to_owned()));
    assert_eq!(second.echo.requests(), before, "plaintext where mTLS is demanded reaches nobody");
}

/// What a GET is answered: status and body.
async fn told(caller: &Mesh, url: &str) -> (StatusCode, String) {
    let request = Request::get(url).body(Empty::<Bytes>::new()).expect("a request");
    let answer = MeshClient::new(caller).oneshot(request).await.expect("failures are responses");
    let status = answer.status();
    let body = answer.into_body().collect().await.expect("a whole body").to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// Waits until a change has reached the caller.
async fn until_told(caller: &Mesh, url: &str, wanted: StatusCode) {
    let start = tokio::time::Instant::now();
    loop {
        let (status, body) = told(caller, url).await;
        if status == wanted {
            return;
        }
        assert!(start.elapsed() < START, "{url} still answers {status}: {body}");
        tokio::time::sleep(POLL).await;
    }
}
