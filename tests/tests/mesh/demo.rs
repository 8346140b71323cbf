//! The demo as its user runs it: one command, live splits, a clean end.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mesh_tests::Process;
use mesh_tests::process::binary;

const END: Duration = Duration::from_secs(60);

#[test]
fn the_demo_moves_a_canary_fails_no_request_and_ends_cleanly() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut demo = start(home.path(), &["--stage", "2"]);
    let status = demo.wait(END);
    let output = demo.output();
    assert!(status.success(), "{status}");
    for stage in ["100 / 0", "90 / 10", "50 / 50", "0 / 100"] {
        assert!(output.contains(stage), "no stage {stage}");
    }
    let total = output.lines().find(|line| line.contains("requests in all")).expect("a total");
    let requests: u64 = total.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number");
    assert!(requests > 500 && total.ends_with(", 0 failed"), "{total}");
    let left = fs::read_dir(home.path()).expect("a directory").count();
    assert_eq!(left, 0, "the user's home is no place for a demo's credential");
}

#[test]
fn an_interrupted_demo_leaves_no_process() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut demo = start(home.path(), &["--stage", "30"]);
    demo.line_with("A page to look at", END);
    let children = children_of(demo.pid());
    assert!(children.len() > 6, "a control plane and six services: {children:?}");
    demo.signal("INT");
    let status = demo.wait(END);
    assert!(status.success(), "{status}");
    let left: Vec<_> =
        children.iter().filter(|child| Path::new(&format!("/proc/{child}")).exists()).collect();
    assert!(left.is_empty(), "{left:?} of {children:?} still run");
}

fn start(home: &Path, arguments: &[&str]) -> Process {
    let mut command = Command::new(binary("bookinfo"));
    command.args(["demo", "--no-build"]).args(arguments);
    command.env("HOME", home).env_remove("MESH_ADMIN");
    Process::start("demo", &command)
}

fn children_of(parent: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).expect("a running process");
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}
