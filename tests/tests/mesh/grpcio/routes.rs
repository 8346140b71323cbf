//! A table of routes means the same to gRPC's C++ core as to ours: 1,000 drawn calls, made by both, end at the same receiver or
//! with the same status.

use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use futures_util::{StreamExt, stream};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, Full};
use mesh_client::MeshChannel;
use mesh_core::Mesh;
use mesh_server::Server;
use mesh_tests::ControlPlane;
use mesh_tests::process::{Process, binary};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::receiver::receiver;
use super::request::Call;
use super::table::{BACKENDS, GRPC_ROUTE, VERSIONS, VIRTUAL_SERVICE};

/// `MESH_GRPC_SEED` repeats a run.
const CALLS: usize = 1_000;
const IN_FLIGHT: usize = 8;
const START: Duration = Duration::from_secs(30);
/// Both callers are the same to `sourceLabels`.
const CALLER: [&str; 4] = ["--service-account", "caller", "--label", "role=tester"];

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_1000_requests_ends_as_ours_does() {
    let repeated = std::env::var("MESH_GRPC_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = repeated.unwrap_or_else(|| fastrand::u64(..));
    println!("MESH_GRPC_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let calls: Vec<Call> = (0..CALLS).map(|_| Call::draw(&mut rng)).collect();
    let control_plane = ControlPlane::start();
    let mut servers = JoinSet::new();
    serve_all(&control_plane, &mut servers).await;
    control_plane.apply("virtual-service.yaml", VIRTUAL_SERVICE);
    control_plane.apply("grpc-route.yaml", GRPC_ROUTE);
    let theirs = tokio::task::block_in_place(|| by_grpcio(&control_plane, &calls));
    let caller = control_plane.join(&CALLER).await;
    let ours = by_ours(&caller, &calls).await;
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut differing = Vec::new();
    for ((call, ours), theirs) in calls.iter().zip(&ours).zip(&theirs) {
        *ends.entry(format!("{} {}", call.host, end(ours))).or_default() += 1;
        if end(ours) != end(theirs) {
            differing.push(format!("{call:?}: ours {ours}, gRPC's {theirs}"));
        }
    }
    println!("{ends:#?}");
    assert!(
        differing.is_empty(),
        "{} differ, such as\n{}",
        differing.len(),
        differing[..differing.len().min(20)].join("\n")
    );
    for name in VERSIONS.iter().chain(&BACKENDS) {
        assert!(ends.keys().any(|end| end.ends_with(&format!(" {name}"))), "no call met {name}");
    }
}

/// The receiver's name or the status.
fn end(answer: &Value) -> String {
    answer["message"].as_str().map_or_else(|| format!("status {}", answer["status"]), str::to_owned)
}

async fn serve_all(control_plane: &ControlPlane, servers: &mut JoinSet<()>) {
    let failed = Arc::new(Mutex::new(HashMap::new()));
    let versions = VERSIONS.iter().map(|version| ("echo", *version));
    let backends = BACKENDS.iter().map(|backend| (*backend, *backend));
    for (service, name) in versions.chain(backends).chain([("plain", "plain")]) {
        let (grant, label) = (format!("{service}:9080"), format!("version={name}"));
        let mesh = control_plane.join(&["--service", &grant, "--label", &label]).await;
        let server = Server::builder(&mesh).bind("127.0.0.1:0").await.expect("a free port");
        let app = receiver(name, Arc::clone(&failed));
        servers.spawn(async move {
            server.serve_with_shutdown(app, std::future::pending()).await.expect("serves");
        });
    }
    let start = Instant::now();
    let expected = VERSIONS.len() + BACKENDS.len() + 1;
    loop {
        let status = control_plane.mesh(&["status", "-o", "json"]).success();
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let serving = status["instances"].as_array().map_or(0, Vec::len);
        if serving == expected {
            return;
        }
        assert!(start.elapsed() < START, "{serving} of {expected} serve");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A Python process beside an agent makes all calls.
fn by_grpcio(control_plane: &ControlPlane, calls: &[Call]) -> Vec<Value> {
    let python = std::env::var_os("MESH_TEST_PYTHON")
        .expect("MESH_TEST_PYTHON names a Python with grpcio; `tests/check integration` makes one");
    let scratch = control_plane.scratch();
    let (asked, answered) = (scratch.join("calls.jsonl"), scratch.join("answers.jsonl"));
    let lines =
        calls.iter().enumerate().map(|(place, call)| format!("{}\n", call.line(&format!("theirs-{place}"))));
    std::fs::write(&asked, lines.collect::<String>()).expect("the temporary directory can be written");
    let mut command = Command::new(binary("mesh"));
    command.args(["agent", "--dir"]).arg(scratch.join("agent")).arg("--").arg(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/xds_table.py")).args([&asked, &answered]);
    command.env("MESH_JOIN", control_plane.token(&CALLER)).env("MESH_STATE_DIR", scratch.join("agent-state"));
    let mut agent = Process::start("agent", &command);
    agent.line_with("all calls are made", Duration::from_secs(120));
    assert!(agent.wait(START).success(), "{}", agent.output());
    let answers = std::fs::read_to_string(answered).expect("the answers are written");
    let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), calls.len());
    answers
}

async fn by_ours(caller: &Mesh, calls: &[Call]) -> Vec<Value> {
    let made = calls.iter().enumerate().map(|(place, call)| make(caller, call, format!("ours-{place}")));
    stream::iter(made).buffered(IN_FLIGHT).collect().await
}

async fn make(caller: &Mesh, call: &Call, id: String) -> Value {
    let mut request =
        Request::post(&call.path).header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
    for (name, value) in call.headers(&id) {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from_static(&[0; 5]))).expect("a request");
    let Ok(response) = MeshChannel::new(caller, call.host).oneshot(request).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.expect("a whole answer");
    let status =
        body.trailers().and_then(|trailers| trailers.get("grpc-status")).or(head.headers.get("grpc-status"));
    let status: u64 = status.and_then(|status| status.to_str().ok()?.parse().ok()).expect("a gRPC status");
    let message = body.to_bytes().get(5..).map(|text| String::from_utf8_lossy(text).into_owned());
    let details =
        head.headers.get("grpc-message").map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
    json!({"status": status, "message": message.filter(|_| status == 0), "details": details})
}
