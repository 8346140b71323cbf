//! What gRPC and Envoy would silently leave out of a document is told to whoever applies it, with the clients' names.

use std::process::Command;
use std::time::Duration;

use mesh_tests::ControlPlane;
use mesh_tests::process::{Process, binary};
use mesh_tests::wait::until;

use crate::envoy;

const LONG: Duration = Duration::from_secs(30);

/// A sticky split and a mirror: gRPC knows neither, Envoy does not know the first.
const RULES: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec: {host: echo, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: echo
  annotations: {proxyless.mesh/sticky: 'header:x-user'}
spec:
  hosts: [echo]
  http:
  - mirror: {host: other}
    route:
    - {destination: {host: echo, subset: v1}, weight: 50}
    - {destination: {host: echo, subset: v2}, weight: 50}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_other_clients_leave_out_is_told_with_their_names() {
    let control_plane = ControlPlane::start();
    let echo = control_plane.serve("echo:9080", "v1", "v1").await;
    let _v2 = control_plane.serve("echo:9080", "v2", "v2").await;
    let _other = control_plane.serve("other:9080", "v1", "other").await;
    let file = control_plane.scratch().join("rules.yaml");
    std::fs::write(&file, RULES).expect("a temporary file");
    let apply = |more: &[&str]| {
        let words = [&["apply", "-f", file.to_str().expect("UTF-8")], more].concat();
        control_plane.mesh(&words)
    };
    let alone = apply(&["--dry-run"]);
    assert_eq!(alone.code, Some(0), "nobody is concerned: {}{}", alone.stdout, alone.stderr);

    let mut python = grpc(&control_plane);
    until("a call by gRPC", LONG, || (echo.echo.requests() > 0).then_some(()));
    let (mut envoy, address) = envoy::envoy(&control_plane);
    let asked = tokio::time::timeout(LONG, async {
        while envoy::get(address, "/", &[]).await.status != 200 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    asked.await.unwrap_or_else(|_| panic!("{}", envoy.output()));

    for more in [&["--dry-run"][..], &[]] {
        let told = apply(more);
        assert_eq!(told.code, Some(3), "{}{}", told.stdout, told.stderr);
        let sticky = "the sticky choice (each request is drawn anew)";
        for (kind, feature, account) in
            [("gRPC", sticky, "python"), ("gRPC", "mirrors", "python"), ("Envoy", sticky, "edge")]
        {
            let said = format!(
                "{kind} does not know {feature}: it goes on as if it were not there \
                 (spiffe://cluster.local/ns/default/sa/{account})"
            );
            let line = told.stderr.lines().find(|line| line.contains(&said));
            let line = line.unwrap_or_else(|| panic!("`{said}` is missing:\n{}", told.stderr));
            assert!(line.contains("rules.yaml:14: warning: "), "{line}");
        }
        assert!(!told.stderr.contains("Envoy does not know mirrors"), "{}", told.stderr);
    }
    let status = control_plane.mesh(&["status"]).stdout;
    let said = "left out by spiffe://cluster.local/ns/default/sa/edge: Envoy does not know the sticky choice";
    assert!(status.contains(said), "{status}");
    python.terminate(LONG);
    envoy.terminate(LONG);
}

/// A Python client that goes on calling.
fn grpc(control_plane: &ControlPlane) -> Process {
    let python = std::env::var_os("MESH_TEST_PYTHON")
        .expect("MESH_TEST_PYTHON names a Python with grpcio; `tests/check integration` makes one");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/xds_client.py");
    let mut command = Command::new(binary("mesh"));
    command.args(["agent", "--dir"]).arg(control_plane.scratch().join("python")).arg("--").arg(python);
    command.args([script, "xds:///echo:9080", "/echo.v1.Echo/Unary", "1000000"]);
    command.env("MESH_JOIN", control_plane.token(&["--service-account", "python"]));
    command.env("MESH_STATE", "off");
    Process::start("agent", &command)
}
