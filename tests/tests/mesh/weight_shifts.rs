//! A canary moves while it is used: weights change under load, streams stay open, no connection closes, no call fails.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mesh_client::MeshChannel;
use mesh_core::Mesh;
use mesh_tests::ControlPlane;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use tokio_stream::StreamExt;

const SHIFTS: u32 = 50;
/// Calls begun this long after `apply` returned must follow the new weights.
const SETTLED: Duration = Duration::from_secs(1);
const CALLS_PER_SHIFT: u32 = 400;
const STREAMS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_weight_shifts_fail_no_call_and_close_no_connection() {
    let control_plane = ControlPlane::start();
    let v1 = control_plane.serve("echo:9080", "v1", "v1").await;
    let v2 = control_plane.serve("echo:9080", "v2", "v2").await;
    split(&control_plane, 50);
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    both_answer(&caller).await;
    let load = Load::start(&caller);
    // Every connection that load and streams want is there after a moment of both.
    tokio::time::sleep(SETTLED).await;
    let connections = (v1.echo.connections(), v2.echo.connections());

    let mut deviation = 0.0;
    for shift in 0..SHIFTS {
        let weight = shift * 37 % 101;
        split(&control_plane, weight);
        tokio::time::sleep(SETTLED).await;
        let counts = load.sample(&caller, CALLS_PER_SHIFT).await;
        let seen = f64::from(counts.get("v2").copied().unwrap_or_default());
        let share = f64::from(weight) / 100.0;
        let expected = f64::from(CALLS_PER_SHIFT) * share;
        let sigma = (f64::from(CALLS_PER_SHIFT) * share * (1.0 - share)).sqrt();
        if sigma == 0.0 {
            assert_eq!(seen, expected, "shift {shift} to {weight} %");
            continue;
        }
        let off = (seen - expected) / sigma;
        assert!(off.abs() < 5.0, "shift {shift}: {weight} % wanted, {seen} of {CALLS_PER_SHIFT} seen");
        deviation += off * off;
    }
    // The sum over all shifts is chi-squared: about one per shift, its spread about the root of twice their number.
    let shifts = f64::from(SHIFTS);
    assert!(deviation < shifts + 4.0 * (2.0 * shifts).sqrt(), "the shifts as a whole are off: {deviation}");
    let (calls, failures, messages) = load.stop().await;
    println!("{SHIFTS} shifts, {calls} calls, {messages} streamed messages, deviation {deviation:.1}");
    assert_eq!(failures, Vec::<String>::new());
    assert!(messages > u64::from(SHIFTS), "the streams were silent");
    assert_eq!(
        (v1.echo.connections(), v2.echo.connections()),
        connections,
        "a connection was closed or opened"
    );
}

fn split(control_plane: &ControlPlane, v2: u32) {
    let (v1, v2) = (format!("v1={}", 100 - v2), format!("v2={v2}"));
    control_plane.split("echo", &[&v1, &v2]);
}

/// Calls until each version has answered, so that both are known and connected.
async fn both_answer(caller: &Mesh) {
    let mut client = EchoClient::new(MeshChannel::new(caller, "echo:9080"));
    let mut seen = HashMap::new();
    let start = Instant::now();
    while seen.len() < 2 {
        assert!(start.elapsed() < Duration::from_secs(30), "only {seen:?} answered");
        if let Ok(answer) = client.unary(Message::default()).await {
            *seen.entry(answer.into_inner().text).or_insert(0) += 1;
        } else {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Unary calls and open streams, all through one channel.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    messages: Arc<AtomicU64>,
    failures: Arc<std::sync::Mutex<Vec<String>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(caller: &Mesh) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            calls: Arc::default(),
            messages: Arc::default(),
            failures: Arc::default(),
            tasks: Vec::new(),
        };
        for _ in 0..STREAMS {
            load.tasks.push(tokio::spawn(unary(load.shared(caller))));
            load.tasks.push(tokio::spawn(stream(load.shared(caller))));
        }
        load
    }

    fn shared(&self, caller: &Mesh) -> Shared {
        Shared {
            client: EchoClient::new(MeshChannel::new(caller, "echo:9080")),
            stop: self.stop.clone(),
            calls: self.calls.clone(),
            messages: self.messages.clone(),
            failures: self.failures.clone(),
        }
    }

    /// Answers by version for `count` calls that begin now.
    async fn sample(&self, caller: &Mesh, count: u32) -> HashMap<String, u32> {
        let mut client = self.shared(caller).client;
        let mut counts = HashMap::new();
        for _ in 0..count {
            match client.unary(Message::default()).await {
                Ok(answer) => *counts.entry(answer.into_inner().text).or_insert(0) += 1,
                Err(status) => self.failures.lock().expect("no holder panics").push(status.to_string()),
            }
        }
        counts
    }

    async fn stop(self) -> (u64, Vec<String>, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.expect("load does not panic");
        }
        let failures = self.failures.lock().expect("no holder panics").clone();
        (self.calls.load(Ordering::Relaxed), failures, self.messages.load(Ordering::Relaxed))
    }
}

struct Shared {
    client: EchoClient<MeshChannel>,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    messages: Arc<AtomicU64>,
    failures: Arc<std::sync::Mutex<Vec<String>>>,
}

impl Shared {
    fn fail(&self, what: &str, problem: impl std::fmt::Display) {
        self.failures.lock().expect("no holder panics").push(format!("{what}: {problem}"));
    }
}

async fn unary(mut shared: Shared) {
    while !shared.stop.load(Ordering::Relaxed) {
        match shared.client.unary(Message::default()).await {
            Ok(_) => shared.calls.fetch_add(1, Ordering::Relaxed),
            Err(status) => return shared.fail("unary", status),
        };
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One stream for the whole test: it began under the first weights and must live to the end.
async fn stream(mut shared: Shared) {
    let stop = shared.stop.clone();
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let pace = tokio::spawn(async move {
        while !stop.load(Ordering::Relaxed) && sender.send(Message::default()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let mut answers = match shared.client.both(requests).await {
        Ok(answers) => answers.into_inner(),
        Err(status) => return shared.fail("stream", status),
    };
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(_) => shared.messages.fetch_add(1, Ordering::Relaxed),
            Err(status) => return shared.fail("stream", status),
        };
    }
    if !shared.stop.load(Ordering::Relaxed) {
        shared.fail("stream", "ended before the test did");
    }
    pace.await.expect("the pace does not panic");
}
