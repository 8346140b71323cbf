//! Every instance of a service is replaced, again and again, while requests of every kind are made: none fails.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mesh_tests::ControlPlane;
use mesh_tests::calls::{Callee, Caller, Kind, PLAIN, SERVICES, until_answered};
use tokio::task::JoinSet;

const ROUNDS: u32 = 20;
const INSTANCES: usize = 3;
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const START: Duration = Duration::from_secs(30);
const CALLERS_OF_EACH_KIND: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn every_instance_is_replaced_20_times_under_load_and_no_request_fails() {
    let control_plane = ControlPlane::start();
    control_plane.apply("plain.yaml", PLAIN);
    let token = control_plane.token(&SERVICES);
    let mut instances = start(&token, 0).await;
    let caller = Caller::new(&control_plane.join(&["--service-account", "caller"]).await);
    let names = ["0 of round 0", "1 of round 0", "2 of round 0"];
    until_answered(&caller, &Kind::REQUESTS, &names, START).await;
    let load = Load::start(&caller);

    let (began, mut uncalled, mut draining) = (Instant::now(), Duration::ZERO, JoinSet::new());
    for round in 1..=ROUNDS {
        let next = start(&token, round).await;
        let serving = Instant::now();
        join_all(next.iter().map(until_called)).await;
        uncalled += serving.elapsed();
        // All old ones drain at once, also while the next ones start.
        for Callee { echo, plain, .. } in std::mem::replace(&mut instances, next) {
            draining.spawn(async move { tokio::join!(echo.stop(), plain.stop()) });
        }
    }
    draining.join_all().await;
    let took = began.elapsed();
    let (requests, failures) = load.stop().await;
    println!(
        "{INSTANCES} instances replaced {ROUNDS} times in {took:.1?} under {requests} requests, {:.1?} until each is called",
        uncalled / ROUNDS
    );
    assert_eq!(failures, BTreeMap::new());
    assert!(requests > 5_000, "{requests} requests are no load");
}

/// A round's instances.
async fn start(token: &str, round: u32) -> Vec<Callee> {
    let names: Vec<String> = (0..INSTANCES).map(|at| format!("{at} of round {round}")).collect();
    join_all(names.iter().map(|name| Callee::start(token, name, LOOPBACK))).await
}

async fn until_called(instance: &Callee) {
    let start = Instant::now();
    while instance.echo.echo.requests() == 0 || instance.plain.echo.requests() == 0 {
        assert!(start.elapsed() < START, "a new instance is not called");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Requests of each kind, one after the other.
struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    failures: Arc<Mutex<BTreeMap<String, u64>>>,
    callers: JoinSet<()>,
}

impl Load {
    fn start(caller: &Caller) -> Self {
        let (stop, requests, failures) =
            (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default(), Arc::default());
        let mut callers = JoinSet::new();
        for kind in Kind::REQUESTS.repeat(CALLERS_OF_EACH_KIND) {
            let (caller, stop, requests) = (caller.clone(), stop.clone(), requests.clone());
            let failures: Arc<Mutex<BTreeMap<String, u64>>> = Arc::clone(&failures);
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    if let Err(failure) = caller.call(kind).await {
                        let mut failures = failures.lock().expect("no holder panics");
                        *failures.entry(format!("{kind:?}: {failure}")).or_default() += 1;
                    }
                    requests.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        Self { stop, requests, failures, callers }
    }

    async fn stop(self) -> (u64, BTreeMap<String, u64>) {
        self.stop.store(true, Ordering::Relaxed);
        self.callers.join_all().await;
        let failures = self.failures.lock().expect("no holder panics").clone();
        (self.requests.load(Ordering::Relaxed), failures)
    }
}
