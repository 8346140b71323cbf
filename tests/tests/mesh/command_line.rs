//! The command line as a shell meets it: closed pipes, formats, exit statuses.

use std::io::pipe;
use std::process::{Command, Stdio};

use mesh_tests::ControlPlane;
use mesh_tests::process::{binary, run};
use serde_json::Value;

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
fn every_format_that_help_offers_works() {
    let control_plane = ControlPlane::start();
    control_plane.apply("route.yaml", ROUTE);
    let file = control_plane.scratch().join("route.yaml");
    let file = file.to_str().expect("UTF-8");
    for arguments in [
        &["status"][..],
        &["validate", "-f", file],
        &["token", "list"],
        &["token", "create", "--service", "reviews:9080"],
    ] {
        let mut printed = ["table", "json", "yaml"].map(|format| {
            let all = [arguments, &["-o", format]].concat();
            // `validate` asks nobody, and takes no credential.
            let finished =
                if arguments[0] == "validate" { run("mesh", &all) } else { control_plane.mesh(&all) };
            finished.success()
        });
        let [_, json, yaml] = &mut printed;
        let json: Value = serde_json::from_str(json).expect("JSON");
        let yaml: Value = serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{error}:\n{yaml}"));
        assert_eq!(shape(&json), shape(&yaml), "{arguments:?}");
    }
    let tokens = control_plane.mesh(&["token", "list"]).success();
    let (heading, row) = tokens.split_once('\n').expect("a heading");
    assert!(heading.ends_with("EXPIRES") && row.trim_end().ends_with('Z'), "{tokens}");
}

#[test]
fn a_made_document_is_in_the_json() {
    let control_plane = ControlPlane::start();
    for arguments in [&["split", "reviews", "v1=9", "v2=1"][..], &["allow", "a", "b", "GET", "/"]] {
        // 3: nobody serves them yet.
        let finished = control_plane.mesh(&[arguments, &["-o", "json"]].concat());
        assert!(matches!(finished.code, Some(0 | 3)), "{arguments:?}: {}", finished.stderr);
        let printed: Value = serde_json::from_str(&finished.stdout).expect("JSON");
        for change in printed["changes"].as_array().expect("changes") {
            let after = change["after"].as_str().unwrap_or_default();
            assert!(after.contains("apiVersion:"), "{arguments:?}: {change:#}");
        }
    }
}

#[test]
fn wrong_words_end_with_two() {
    let control_plane = ControlPlane::start();
    let check = |arguments: &[&str], word: &str| {
        let finished = control_plane.mesh(arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
        assert!(finished.stderr.contains(word), "{arguments:?}: {}", finished.stderr);
    };
    check(&["get", "Nope"], "Nope");
    check(&["delete", "Nope/x"], "Nope");
    check(&["get", "VirtualService/shop/reviews", "-n", "other"], "contradict");
    check(&["apply", "-f", "-", "-f", "-"], "once");
    check(&["explain", "--requests", "-", "-f", "-"], "standard input");
    let token = |rest: &[&str], word: &str| check(&[&["token", "create"], rest].concat(), word);
    token(&["--service", "a_b:80"], "a_b:80");
    token(&["--service", "a:80", "--label", "a=b c"], "a=b c");
    token(&["--service", "a:80", "--label", "a=b", "--label", "a=c"], "twice");
    token(&["--service", "a:80", "--namespace", "../.."], "../..");
    token(&["--service", "a:80", "--service", "a:80"], "twice");
    // Another spelling of the same service.
    token(&["--service", "a:80", "--service", "a.default:80"], "twice");
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

/// The names of all fields: values such as ages differ from one call to the next.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        _ => Value::Null,
    }
}
