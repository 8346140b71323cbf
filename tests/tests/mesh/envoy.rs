//! A real Envoy beside `mesh agent`: it routes by the mesh's route configurations, fetched by name over ADS, and speaks the
//! mesh's mTLS with the agent's certificate.
//!
//! It is started with the example's own file.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_tests::ControlPlane;
use mesh_tests::process::{Process, binary};
use tower::ServiceExt;

const LONG: Duration = Duration::from_secs(30);

/// What README tells operators to begin with.
const EXAMPLE: &str = include_str!("../../../examples/envoy/envoy.yaml");

const RULES: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy: {outlierDetection: {consecutiveGatewayErrors: 3, minHealthPercent: 10, outlierDetectionHttpErrorCodes: [429, 503]}}
  subsets:
  - {name: v1, labels: {version: v1}}
  - name: v2
    labels: {version: v2}
    trafficPolicy: {outlierDetection: {splitExternalLocalOriginErrors: true, baseEjectionTime: 10m}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match: [{uri: {exact: /moved}}]
    redirect: {uri: /new}
  - match: [{uri: {exact: /direct}}]
    directResponse: {status: 418, body: {string: teapot}}
  - match: [{queryParams: {debug: {exact: 'yes'}}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: echo, subset: v1}}]
  - match: [{headers: {end-user: {exact: jason}}}]
    headers: {response: {set: {x-rule: jason}}}
    route: [{destination: {host: echo, subset: v2}}]
  - route: [{destination: {host: echo, subset: v1}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_routes_by_the_meshs_rules_and_speaks_its_mtls() {
    let control_plane = ControlPlane::start();
    let v1 = control_plane.serve("echo:9080", "v1", "v1").await;
    let v2 = control_plane.serve("echo:9080", "v2", "v2").await;
    control_plane.apply("rules.yaml", RULES);
    let (envoy, address) = envoy(&control_plane);
    let first = tokio::time::timeout(LONG, async {
        loop {
            let answer = get(address, "/", &[]).await;
            if answer.status == 200 {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let answered = first.await.unwrap_or_else(|_| panic!("{}", envoy.output()));
    assert_eq!(answered.body, "v1");
    assert_eq!(v2.echo.requests(), 0);
    let jason = get(address, "/", &[("end-user", "jason")]).await;
    assert_eq!((jason.status, &*jason.body, jason.rule.as_deref()), (200, "v2", Some("jason")));
    assert_eq!(get(address, "/moved", &[]).await.location.as_deref(), Some("http://echo:9080/new"));
    let direct = get(address, "/direct", &[]).await;
    assert_eq!((direct.status, &*direct.body), (418, "teapot"));
    assert_eq!(get(address, "/?debug=yes", &[]).await.status, 555);
    let before = v1.echo.requests();
    assert_eq!(get(address, "/a/../b", &[]).await.status, 200);
    assert_eq!(v1.echo.requests(), before + 1);
}

/// What Envoy answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
    location: Option<String>,
    rule: Option<String>,
}

pub(crate) async fn get(envoy: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http::Request::get(format!("http://{envoy}{path}")).header("host", "echo:9080");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).expect("a request");
    let response = MeshClient::new(&Mesh::off()).oneshot(request).await.expect("never fails");
    let text = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let (location, rule) = (text("location"), text("x-rule"));
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    Answer { status, body: String::from_utf8_lossy(&body).into_owned(), location, rule }
}

/// Starts an Envoy under an agent of its own.
pub(crate) fn envoy(control_plane: &ControlPlane) -> (Process, SocketAddr) {
    let program = std::env::var_os("MESH_TEST_ENVOY")
        .expect("MESH_TEST_ENVOY names an Envoy; `tests/check integration` installs one");
    // Envoy takes no port of its own choice and tells it; one that was just free will do.
    let free =
        || TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (listen, admin) = (free(), free());
    let directory = control_plane.scratch().join("agent");
    let config = control_plane.scratch().join("envoy.yaml");
    std::fs::write(&config, bootstrap(control_plane, &directory, listen, admin)).expect("a file");
    let mut agent = Command::new(binary("mesh"));
    agent.args(["agent", "--dir"]).arg(&directory).arg("--").arg(program);
    agent.args(["--concurrency", "1", "--base-id"]).arg(listen.port().to_string()).arg("-c").arg(&config);
    agent.env("MESH_JOIN", control_plane.token(&["--service-account", "edge"])).env("MESH_STATE", "off");
    (Process::start("envoy", &agent), listen)
}

/// The example's file, at this test's addresses.
fn bootstrap(
    control_plane: &ControlPlane,
    directory: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
) -> String {
    let control: SocketAddr = control_plane.address().parse().expect("an address");
    let replaced = [
        ("/run/mesh", directory.to_str().expect("temporary paths are UTF-8").to_owned()),
        ("reviews.default", "echo.default".to_owned()),
        ("port_value: 10000", format!("port_value: {}", listen.port())),
        ("port_value: 9901", format!("port_value: {}", admin.port())),
        ("port_value: 15012", format!("port_value: {}", control.port())),
    ];
    replaced.into_iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no `{from}` any more");
        text.replace(from, &to)
    })
}
