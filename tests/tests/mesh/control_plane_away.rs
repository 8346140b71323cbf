//! The control plane dies for half a minute under load, and an instance is replaced meanwhile: nobody notices.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_tests::process::{Process, binary};
use mesh_tests::{ControlPlane, wait};
use tower::ServiceExt;

const AWAY: Duration = Duration::from_secs(30);
/// From its start to its first answer, with nothing but its saved state.
const RESTARTED_WITHIN: Duration = Duration::from_secs(2);
const CALLERS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn thirty_seconds_without_control_plane_fail_no_request() {
    let mut control_plane = ControlPlane::start();
    let first = Instance::new(&control_plane, "first");
    let second = Instance::new(&control_plane, "second");
    let (_first, _) = first.start("127.0.0.1:0");
    let (mut process, address) = second.start("127.0.0.1:0");
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    let load = Load::start(&caller);
    wait_for_both(&load).await;
    load.counting.store(true, Ordering::Relaxed);

    control_plane.kill();
    let away = Instant::now();
    // Saved state is written within a second of a change; everybody's is there by now, and nobody could fetch more.
    tokio::time::sleep(AWAY / 6).await;
    let ended = process.terminate(Duration::from_secs(20));
    assert!(ended.success(), "SIGTERM ended it with {ended}:\n{}", process.output());
    let answers = load.second.load(Ordering::Relaxed);
    let start = Instant::now();
    let (_restarted, again) = second.start(&address);
    assert_eq!(again, address);
    wait::until(
        "the restarted instance's first answer",
        RESTARTED_WITHIN.saturating_sub(start.elapsed()),
        || (load.second.load(Ordering::Relaxed) > answers).then_some(()),
    );
    println!("the restarted instance answered after {:?}", start.elapsed());
    tokio::time::sleep(AWAY.saturating_sub(away.elapsed())).await;
    control_plane.restart();
    // Long enough for streams to come back and registrations to be renewed or to lapse.
    tokio::time::sleep(AWAY / 6).await;

    let (requests, failures) = load.stop().await;
    println!("{requests} requests");
    assert_eq!(failures, Vec::<String>::new());
    assert!(requests > 1_000, "{requests} requests are no load");
}

/// An instance of ratings that keeps its token and its state over restarts.
struct Instance {
    name: &'static str,
    join: String,
    state: PathBuf,
}

impl Instance {
    fn new(control_plane: &ControlPlane, name: &'static str) -> Self {
        let join = control_plane.token(&["--service", "ratings:9080"]);
        Self { name, join, state: control_plane.scratch().join(name) }
    }

    /// Starts it; returns its address as well.
    fn start(&self, listen: &str) -> (Process, String) {
        let mut command = Command::new(binary("bookinfo"));
        command.args(["ratings", "--listen", listen, "--instance", self.name]);
        command.env("MESH_JOIN", &self.join).env("MESH_STATE_DIR", &self.state);
        let mut process = Process::start(self.name, &command);
        let line = process.line_with(" serves ", Duration::from_secs(20));
        let address = line.split(" serves ").nth(1).and_then(|rest| rest.split(' ').next());
        (process, address.expect("an address after `serves`").to_owned())
    }
}

async fn wait_for_both(load: &Load) {
    let start = Instant::now();
    while load.first.load(Ordering::Relaxed) == 0 || load.second.load(Ordering::Relaxed) == 0 {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "one of two does not answer: {:?}",
            load.failures()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Callers that ask for ratings and note which instance answered.
#[derive(Default)]
struct Load {
    counting: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    first: Arc<AtomicU64>,
    second: Arc<AtomicU64>,
    failures: Arc<std::sync::Mutex<Vec<String>>>,
    callers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(caller: &Mesh) -> Self {
        let mut load = Self::default();
        for _ in 0..CALLERS {
            let shared = load.shared();
            let client = MeshClient::new(caller);
            load.callers.push(tokio::spawn(async move { shared.call(client).await }));
        }
        load
    }

    fn shared(&self) -> Self {
        Self {
            counting: self.counting.clone(),
            stop: self.stop.clone(),
            first: self.first.clone(),
            second: self.second.clone(),
            failures: self.failures.clone(),
            callers: Vec::new(),
        }
    }

    async fn call(self, client: MeshClient) {
        while !self.stop.load(Ordering::Relaxed) {
            let request = http::Request::get("http://ratings:9080/ratings/0").body(Empty::<Bytes>::new());
            let Ok(response) = client.clone().oneshot(request.expect("a request")).await;
            let status = response.status();
            let instance = response.headers().get("x-bookinfo-instance").cloned();
            let body = response.into_body().collect().await;
            match (status.is_success(), instance, body) {
                (true, Some(instance), Ok(_)) if instance == "first" => {
                    self.first.fetch_add(1, Ordering::Relaxed)
                }
                (true, Some(_), Ok(_)) => self.second.fetch_add(1, Ordering::Relaxed),
                (_, _, body) => {
                    let body = body.map(|body| body.to_bytes());
                    if self.counting.load(Ordering::Relaxed) {
                        self.failures.lock().expect("no holder panics").push(format!("{status} {body:?}"));
                    }
                    0
                }
            };
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("no holder panics").clone()
    }

    async fn stop(mut self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        for caller in self.callers.drain(..) {
            caller.await.expect("load does not panic");
        }
        let answered = self.first.load(Ordering::Relaxed) + self.second.load(Ordering::Relaxed);
        (answered, self.failures())
    }
}
