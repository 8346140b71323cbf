//! gRPC's C++ core joins by `mesh agent` and goes where our own clients go: the wire is xDS and no dialect.

mod receiver;
mod request;
mod routes;
mod table;

use std::process::Command;
use std::time::Duration;

use mesh_tests::echo::proto::Message;
use mesh_tests::process::{Process, binary};
use mesh_tests::{ControlPlane, Served};
use prost::Message as _;

const CALLS: u32 = 2_000;
const V1_SHARE: f64 = 0.8;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_follows_a_split_of_80_to_20() {
    let control_plane = ControlPlane::start();
    let v1 = control_plane.serve("echo:9080", "v1", "v1").await;
    let v2 = control_plane.serve("echo:9080", "v2", "v2").await;
    control_plane.split("echo", &["v1=80", "v2=20"]);
    // Three sigma are passed by chance once in 370 times: a first sample that is off is drawn again, once.
    let mut off = sample(&control_plane, &v1, &v2).await;
    if off.abs() > 3.0 {
        off = sample(&control_plane, &v1, &v2).await;
    }
    assert!(off.abs() <= 3.0, "{off} sigma from 80/20, twice");
}

/// Makes the calls; returns by how many sigma v1's count, taken by the receivers, is off.
async fn sample(control_plane: &ControlPlane, v1: &Served, v2: &Served) -> f64 {
    let before = (v1.echo.requests(), v2.echo.requests());
    let answers = tokio::task::block_in_place(|| call(control_plane));
    let received = (v1.echo.requests() - before.0, v2.echo.requests() - before.1);
    let answered = |name: &str| {
        let bytes = Message { text: name.to_owned() }.encode_to_vec();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        answers["answers"][hex].as_u64().unwrap_or_default()
    };
    assert_eq!(answers["failed"], 0, "{answers}");
    assert_eq!((answered("v1"), answered("v2")), received, "{answers}");
    assert_eq!(received.0 + received.1, u64::from(CALLS), "{answers}");
    let (calls, seen) = (f64::from(CALLS), received.0 as f64);
    (seen - calls * V1_SHARE) / (calls * V1_SHARE * (1.0 - V1_SHARE)).sqrt()
}

/// The Python client beside an agent of its own, as a user would start it.
fn call(control_plane: &ControlPlane) -> serde_json::Value {
    let python = std::env::var_os("MESH_TEST_PYTHON")
        .expect("MESH_TEST_PYTHON names a Python with grpcio; `tests/check integration` makes one");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/xds_client.py");
    let mut command = Command::new(binary("mesh"));
    command.args(["agent", "--dir"]).arg(control_plane.scratch().join("agent")).arg("--");
    command.arg(python).args([script, "xds:///echo:9080", "/echo.v1.Echo/Unary", &CALLS.to_string()]);
    command.env("MESH_JOIN", control_plane.token(&["--service-account", "python"]));
    command.env("MESH_STATE_DIR", control_plane.scratch().join("agent-state"));
    let mut agent = Process::start("agent", &command);
    let line = agent.line_with("\"answers\"", Duration::from_secs(120));
    assert!(agent.wait(Duration::from_secs(30)).success(), "{}", agent.output());
    serde_json::from_str(&line).expect("the client prints JSON")
}
