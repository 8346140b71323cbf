//! The command line as a shell meets it: closed pipes, formats, exit statuses.

use std::io::pipe;
use std::process::{Command, Stdio};

use mesh_tests::ControlPlane;
use mesh_tests::process::binary;

const ROUTE: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: reviews
";

#[test]
fn a_reader_who_has_gone_is_nobodys_failure() {
    let control_plane = ControlPlane::start();
    control_plane.apply("route.yaml", ROUTE);
    let credential = control_plane.credential();
    let file = control_plane.scratch().join("route.yaml");
    let file = file.to_str().expect("UTF-8");
    for arguments in [
        &["version"][..],
        &["get", "-o", "yaml"],
        &["get", "-o", "json"],
        &["get"],
        &["status"],
        &["apply", "--dry-run", "-f", file],
        &["diff", "-o", "yaml", "-f", file],
        &["split", "ratings", "v1=1", "--dry-run"],
        &["token", "list"],
        &["validate", "-f", file],
        &["explain", "GET", "http://reviews:80/", "-f", file],
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(binary("mesh"));
        command.args(arguments).env("MESH_ADMIN", &credential).stdin(Stdio::null());
        let ended = command.stdout(writer).output().expect("it starts");
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(matches!(ended.status.code(), Some(0 | 3)), "{arguments:?}: {}: {told}", ended.status);
        assert!(!told.contains("panicked"), "{arguments:?}: {told}");
    }
}

#[test]
fn an_unreachable_control_plane_is_told_once() {
    let mut control_plane = ControlPlane::start();
    control_plane.kill();
    let finished = control_plane.mesh(&["get"]);
    assert_eq!(finished.code, Some(4), "{}", finished.stderr);
    assert_eq!(finished.stderr.matches("cannot be reached").count(), 1, "{}", finished.stderr);
    assert!(finished.stderr.contains(control_plane.address()), "{}", finished.stderr);
}
