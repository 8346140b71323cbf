//! How a service ends: in good order at the first signal, at once at the second.

use std::process::Command;
use std::time::Duration;

use mesh_tests::process::{Process, binary};
use mesh_tests::{ControlPlane, wait};

const START: Duration = Duration::from_secs(30);
/// Well within the second that a registered server goes on serving after it has said that it ends.
const AT_ONCE: Duration = Duration::from_millis(700);

#[test]
fn the_second_signal_ends_a_service_that_drains() {
    let control_plane = ControlPlane::start();
    let start = || {
        let mut command = Command::new(binary("bookinfo"));
        command.args(["details", "--version", "v1", "--listen", "127.0.0.1:0"]);
        command
            .env("MESH_JOIN", control_plane.token(&["--service", "details:9080"]))
            .env("MESH_STATE", "off");
        let mut service = Process::start("details", &command);
        service.line_with(" serves ", START);
        wait::until("a registration", START, || {
            control_plane.mesh(&["status"]).stdout.contains("serving").then_some(())
        });
        service
    };

    let mut patient = start();
    assert_eq!(patient.terminate(START).code(), Some(0), "{}", patient.output());

    let mut hasty = start();
    hasty.signal("TERM");
    hasty.line_with("draining", START);
    hasty.signal("TERM");
    assert_eq!(hasty.wait(AT_ONCE).code(), Some(128 + 15), "{}", hasty.output());
}
