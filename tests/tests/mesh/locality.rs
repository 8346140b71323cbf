//! Near endpoints are asked while they answer, far ones when they do not, over real sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use mesh_client::MeshChannel;
use mesh_core::Mesh;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use mesh_tests::{ControlPlane, Echo, Served};
use tonic::Status;

/// How long a change may take to reach a caller on a busy machine.
const SETTLED: Duration = Duration::from_secs(30);

const FAILOVER: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy:
    loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r2}]}}
    outlierDetection: {consecutive5xxErrors: 5, interval: 1s, baseEjectionTime: 1s, maxEjectionPercent: 100}
";

#[tokio::test(flavor = "multi_thread")]
async fn far_endpoints_answer_while_the_near_ones_are_gone() {
    let control_plane = ControlPlane::start();
    control_plane.apply("failover.yaml", FAILOVER);
    let near = member(&control_plane, "r1/z1/s1").await;
    let middle = member(&control_plane, "r1/z2/s1").await;
    let far = member(&control_plane, "r2/z1/s1").await;
    let _rest = serve(&member(&control_plane, "r3/z1/s1").await, "rest").await;
    let _far = serve(&far, "far").await;
    let served = [serve(&near, "near").await, serve(&near, "near").await, serve(&middle, "middle").await];
    let caller = caller(&control_plane).await;
    let mut caller = Calls(EchoClient::new(MeshChannel::new(&caller, "echo:9080")));
    caller.until_met(1).await;
    caller.until("near").await;

    // They leave one after the other, each properly.
    for (served, next) in served.into_iter().zip(["near", "middle", "far"]) {
        served.stop().await;
        caller.until(next).await;
    }
    let again = serve(&near, "near").await;
    caller.until("near").await;

    // It vanishes, and nobody tells the mesh. What was being asked there is not asked again, as it may have been done.
    drop(again);
    caller.until_seen("far").await;
    caller.until("far").await;
    let _again = serve(&near, "near").await;
    caller.until("near").await;
}

const SHARES: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  trafficPolicy:
    loadBalancer:
      simple: RANDOM
      localityLbSetting: {distribute: [{from: 'r1/*', to: {r1: 70, r2: 20, r3: 10}}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn localities_get_the_shares_that_a_rule_gives_them() {
    let control_plane = ControlPlane::start();
    let mut served = Vec::new();
    for (locality, name, count) in
        [("r1/z1", "r1", 1), ("r2/z1", "r2", 3), ("r3/z1", "r3", 2), ("r4/z1", "r4", 1)]
    {
        for _ in 0..count {
            served.push(serve(&member(&control_plane, locality).await, name).await);
        }
    }
    let caller = caller(&control_plane).await;
    let mut calls = Calls(EchoClient::new(MeshChannel::new(&caller, "echo:9080")));
    calls.until_met(4).await;
    control_plane.apply("shares.yaml", SHARES);
    // Of the last locality, which has no share, 50 calls on end know nothing any more.
    while calls.sample(50).await.contains_key("r4") {}
    // One sample in two hundred is off by chance, and two on end are not.
    assert!(as_divided(&calls.sample(CALLS).await) || as_divided(&calls.sample(CALLS).await));
}

/// Whether each share is within three sigma.
fn as_divided(counts: &BTreeMap<String, u32>) -> bool {
    let within = |(name, share): (&str, f64)| {
        let seen = f64::from(counts.get(name).copied().unwrap_or_default());
        let expected = f64::from(CALLS) * share;
        let sigma = (expected * (1.0 - share)).sqrt();
        println!("{name}: {seen} of {CALLS}, expected {expected} ± {sigma:.0}");
        (seen - expected).abs() <= 3.0 * sigma
    };
    [("r1", 0.7), ("r2", 0.2), ("r3", 0.1), ("r4", 0.0)].into_iter().all(within)
}

const CALLS: u32 = 3000;

/// A member that may serve `echo:9080`, in that locality.
async fn member(control_plane: &ControlPlane, locality: &str) -> Mesh {
    control_plane.join(&["--service", "echo:9080", "--locality", locality]).await
}

async fn caller(control_plane: &ControlPlane) -> Mesh {
    control_plane.join(&["--service-account", "caller", "--locality", "r1/z1/s1"]).await
}

async fn serve(mesh: &Mesh, name: &str) -> Served {
    Served::start(mesh, Echo::new(name)).await
}

struct Calls(EchoClient<MeshChannel>);

impl Calls {
    async fn call(&mut self) -> Result<String, Status> {
        Ok(self.0.unary(Message::default()).await?.into_inner().text)
    }

    /// Who answers so many calls, none of which may fail.
    async fn sample(&mut self, count: u32) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for _ in 0..count {
            let name = self.call().await.unwrap_or_else(|status| panic!("a call failed: {status}"));
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// Calls until so many have answered; before anybody is known, calls may fail.
    async fn until_met(&mut self, count: usize) {
        let (start, mut met) = (Instant::now(), BTreeSet::new());
        while met.len() < count {
            assert!(start.elapsed() < SETTLED, "only {met:?} answered");
            match self.call().await {
                Ok(name) => drop(met.insert(name)),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// Calls until that one answers; others may, and calls may fail.
    async fn until_seen(&mut self, name: &str) {
        let start = Instant::now();
        while self.call().await.ok().as_deref() != Some(name) {
            assert!(start.elapsed() < SETTLED, "{name} does not answer");
        }
    }

    /// Calls until nobody else answers 50 calls on end, none of which may fail.
    async fn until(&mut self, name: &str) {
        let start = Instant::now();
        loop {
            let counts = self.sample(50).await;
            if counts.len() == 1 && counts.contains_key(name) {
                return;
            }
            assert!(start.elapsed() < SETTLED, "{counts:?} and not {name} alone");
        }
    }
}
