//! The network before one of two instances fails in every way, under calls of every kind: none outlasts its deadline, and none that
//! the other instance takes fails.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mesh_core::context::RequestContext;
use mesh_tests::calls::{Callee, Caller, Kind, SERVICES, until_answered};
use mesh_tests::{ControlPlane, FaultProxy, NetworkFault};
use tokio::task::JoinSet;

const TIMEOUT: Duration = Duration::from_millis(500);
/// What the issue allows beyond the deadline.
const LATE_MAX: Duration = Duration::from_millis(100);
const LATENCY: Duration = Duration::from_millis(50);
/// How long each fault lasts, and what the soak command asks for.
const FAULT: Duration = Duration::from_secs(1);
const FAULT_SOAK: Duration = Duration::from_secs(25);
/// From here on a fault is known.
const KNOWN: Duration = Duration::from_secs(15);
const START: Duration = Duration::from_secs(30);
const BEHIND: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const CALLERS_OF_EACH_KIND: usize = 2;

/// In turns, so that the instance behind the network is called as often as the other, however it does.
const RULES: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec: {host: echo, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: plain, trafficPolicy: {tls: {mode: DISABLE}, loadBalancer: {simple: ROUND_ROBIN}}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db}
spec: {host: db, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec: {hosts: [echo], http: [{timeout: 500ms, route: [{destination: {host: echo}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: plain}
spec: {hosts: [plain], http: [{timeout: 500ms, route: [{destination: {host: plain}}]}]}
";

#[tokio::test(flavor = "multi_thread")]
async fn no_call_outlasts_its_deadline_and_none_to_another_instance_fails() {
    let control_plane = ControlPlane::start();
    control_plane.apply("rules.yaml", RULES);
    let token = control_plane.token(&SERVICES);
    let good = Callee::start(&token, "good", Ipv4Addr::LOCALHOST.into()).await;
    let behind = Callee::start(&token, "behind", BEHIND).await;
    let mut proxies = Vec::new();
    for server in [behind.echo.address, behind.plain.address, behind.database.address] {
        proxies.push(FaultProxy::start(BEHIND, server).await);
    }
    let caller = Caller::new(&control_plane.join(&["--service-account", "caller"]).await);
    let lasts = if std::env::var_os("MESH_SOAK").is_some() { FAULT_SOAK } else { FAULT };
    for fault in NetworkFault::all(LATENCY) {
        until_answered(&caller, &Kind::ALL, &["good", "behind"], START).await;
        let reached = good.calls();
        proxies.iter().for_each(|proxy| proxy.set(fault));
        let tally = load(&caller, lasts).await;
        let reached = good.calls() - reached;
        proxies.iter().for_each(|proxy| proxy.set(NetworkFault::None));
        println!("{fault:?}: {tally:?}");
        assert_eq!(tally.late, Vec::<String>::new(), "{fault:?}");
        assert_eq!(
            tally.answered.get("good").copied().unwrap_or_default(),
            reached,
            "{fault:?} of the other: {tally:?}"
        );
        assert!(reached > 20, "{fault:?}: {tally:?}");
    }
}

/// What became of calls.
#[derive(Debug, Default)]
struct Tally {
    answered: BTreeMap<String, u64>,
    failed: u64,
    /// Those that failed after the fault must be known.
    failed_when_known: u64,
    late: Vec<String>,
    slowest: Duration,
}

impl Tally {
    /// Of a call that began so long after the fault.
    fn count(&mut self, (kind, told): (Kind, Result<String, String>), began: Duration, elapsed: Duration) {
        self.slowest = self.slowest.max(elapsed);
        if elapsed > TIMEOUT + LATE_MAX {
            self.late.push(format!("{kind:?} after {elapsed:?}: {told:?}"));
        }
        match told {
            Ok(name) => *self.answered.entry(name).or_default() += 1,
            Err(_) => {
                self.failed += 1;
                self.failed_when_known += u64::from(began >= KNOWN);
            }
        }
    }
}

/// Calls of each kind, one after the other, for so long.
async fn load(caller: &Caller, lasts: Duration) -> Tally {
    let (start, tally) = (Instant::now(), Arc::<Mutex<Tally>>::default());
    let mut callers = JoinSet::new();
    for kind in Kind::ALL.repeat(CALLERS_OF_EACH_KIND) {
        let (caller, tally) = (caller.clone(), tally.clone());
        callers.spawn(async move {
            while start.elapsed() < lasts {
                let began = Instant::now();
                let told = call(&caller, kind).await;
                let elapsed = began.elapsed();
                tally.lock().expect("no holder panics").count((kind, told), began - start, elapsed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
    callers.join_all().await;
    Arc::into_inner(tally).expect("all callers have ended").into_inner().expect("no holder panics")
}

/// A connection of bytes has no deadline of the mesh's once it stands: the application keeps the time.
async fn call(caller: &Caller, kind: Kind) -> Result<String, String> {
    if kind != Kind::Bytes {
        return caller.call(kind).await;
    }
    let context = RequestContext { deadline: Some(Instant::now() + TIMEOUT), ..RequestContext::default() };
    let call = Arc::new(context).scope(caller.call(kind));
    tokio::time::timeout(TIMEOUT, call).await.unwrap_or_else(|_| Err("timeout".to_owned()))
}
