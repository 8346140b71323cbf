//! `mesh agent` around a command that knows nothing of the mesh: its ports are known while it runs and no longer.

use std::process::Command;
use std::time::Duration;

use mesh_tests::process::{Process, binary};
use mesh_tests::{ControlPlane, wait};
use serde_json::Value;

/// How long a registration may outlive its command.
const GONE: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(30);

#[test]
fn a_port_is_known_while_its_command_runs() {
    let control_plane = ControlPlane::start();
    let mut agent = agent(&control_plane, &["--port", "7"], &["sleep", "3"]);
    wait::until("a registration", LONG, || (serving(&control_plane) == ["127.0.0.1:7"]).then_some(()));
    assert_eq!(agent.wait(LONG).code(), Some(0), "{}", agent.output());
    wait::until("its end", GONE, || serving(&control_plane).is_empty().then_some(()));
}

#[test]
fn a_signal_ends_the_command_and_withdraws_its_port() {
    let control_plane = ControlPlane::start();
    let mut agent = agent(&control_plane, &["--port", "7"], &["sleep", "600"]);
    wait::until("a registration", LONG, || (serving(&control_plane) == ["127.0.0.1:7"]).then_some(()));
    // As a shell says that SIGTERM has ended it.
    assert_eq!(agent.terminate(LONG).code(), Some(128 + 15), "{}", agent.output());
    wait::until("its end", GONE, || serving(&control_plane).is_empty().then_some(()));
}

#[test]
fn a_command_that_does_not_listen_is_killed_at_the_second_signal() {
    let control_plane = ControlPlane::start();
    let deaf = ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 1; done"];
    let mut agent = agent(&control_plane, &[], &deaf);
    agent.line_with("deaf", LONG);
    agent.signal("TERM");
    // Two signals at once would be one.
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(agent.terminate(Duration::from_secs(10)).code(), Some(128 + 9), "{}", agent.output());
}

#[test]
fn a_refused_port_ends_the_agent_with_the_reason() {
    let control_plane = ControlPlane::start();
    let mut agent = agent(&control_plane, &["--port", "nosuch:1=5"], &["sleep", "600"]);
    assert_eq!(agent.wait(LONG).code(), Some(1), "{}", agent.output());
    for word in ["refused to register", "nosuch", "next: "] {
        assert!(agent.output().contains(word), "`{word}` is missing: {}", agent.output());
    }
}

#[test]
fn alone_it_says_where_its_files_are_and_that_the_control_plane_is_lost() {
    let mut control_plane = ControlPlane::start();
    let mut agent = agent(&control_plane, &[], &[]);
    for name in ["key=", "certificate=", "roots=", "GRPC_XDS_BOOTSTRAP="] {
        let line = agent.line_with(name, LONG);
        let path = line.strip_prefix(name).expect("a path behind the name");
        assert!(std::path::Path::new(path).is_file(), "{line}");
    }
    control_plane.kill();
    agent.line_with("no control plane", LONG);
    assert_eq!(agent.terminate(LONG).code(), Some(0), "{}", agent.output());
}

fn agent(control_plane: &ControlPlane, arguments: &[&str], command: &[&str]) -> Process {
    let mut agent = Command::new(binary("mesh"));
    agent.args(["agent", "--dir"]).arg(control_plane.scratch().join("agent")).args(arguments);
    agent.arg("--").args(command);
    agent.env("MESH_JOIN", control_plane.token(&["--service", "echo:9080"]));
    agent.env("MESH_STATE", "off").env_remove("RUST_LOG");
    Process::start("agent", &agent)
}

/// The addresses that `mesh status` tells of.
fn serving(control_plane: &ControlPlane) -> Vec<String> {
    // 3 where a client has refused something, which is not asked here.
    let status: Value =
        serde_json::from_str(&control_plane.mesh(&["status", "-o", "json"]).stdout).expect("JSON");
    let bindings = status["instances"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|instance| instance["bindings"].as_array().cloned().unwrap_or_default());
    bindings.filter_map(|binding| Some(binding["address"].as_str()?.to_owned())).collect()
}
