//! Health checks: the endpoints of clusters that say so are probed in the background, each by a task of its own.
//!
//! ```text
//!   snapshot published ─► which endpoints are checked, and how? ─► a prober for each that has none; others end
//!   prober:  probe ─► tracker (pure) ─► another health? ─► the endpoint's state, the cluster's epoch ─► the next pick
//! ```
//! A snapshot holds the hosts that are called, so what nobody calls is not probed. Probers run where configuration is kept, on the
//! mesh's own thread, so that a service that blocks its workers takes no endpoint for a silent one; and on connections of
//! their own, so that no request ever waits for that thread.

mod probe;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, OnceLock};

use mesh_core::Mesh;
use mesh_core::balance::{ClusterState, Endpoint, EndpointState};
use mesh_core::health::{HealthCheck, Tracker};
use mesh_core::mesh::{Membership, Snapshots};
use mesh_core::snapshot::{Cluster, HostState, Snapshot};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use probe::{Prober, Way};

/// All that is probed for a mesh, until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Probing(OnceLock<Task>);

impl Probing {
    /// Begins, if that has not been done yet and there is a runtime to do it on.
    pub(crate) fn begin(&self, mesh: &Mesh) {
        if self.0.get().is_some() || mesh.membership() == Membership::Off {
            return;
        }
        if let Some(runtime) = mesh.background().or_else(|| Handle::try_current().ok()) {
            self.0.get_or_init(|| Task(runtime.spawn(supervise(mesh.snapshots(), Way::of(mesh)))));
        }
    }
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn supervise(mut snapshots: Snapshots, way: Way) {
    let permits = Arc::new(Semaphore::new(PROBES_MAX));
    let mut probed: HashMap<usize, Probed> = HashMap::new();
    loop {
        let snapshot = snapshots.next().await;
        let mut before = std::mem::take(&mut probed);
        for (cluster, check) in checked(&snapshot) {
            for endpoint in &cluster.endpoints {
                // An endpoint is its state: where that begins anew, so does what is known of its health.
                let key = Arc::as_ptr(&endpoint.state).addr();
                if let Entry::Vacant(place) = probed.entry(key) {
                    let kept = before.remove(&key).filter(|probed| probed.check == *check);
                    let begin = || Probed::begin(cluster, check, endpoint, &way, &permits);
                    place.insert(kept.unwrap_or_else(begin));
                }
            }
        }
    }
}

/// The clusters that are checked, some more than once, for hosts share them.
fn checked(snapshot: &Snapshot) -> impl Iterator<Item = (&Cluster, &HealthCheck)> {
    let hosts = snapshot.hosts.values().filter_map(|host| match host {
        HostState::Ready(config) => Some(&**config),
        HostState::Absent | HostState::Refused => None,
    });
    let clusters = hosts.flat_map(|host| {
        let opaque = host.opaque.iter().flat_map(|opaque| &opaque.clusters);
        host.clusters.iter().chain(opaque).flatten()
    });
    clusters.filter_map(|cluster| Some((&**cluster, cluster.spec.health_check.as_ref()?)))
}

/// An endpoint that is probed. While it is, its state lives, and so its address is nobody else's.
#[derive(Debug)]
struct Probed {
    check: HealthCheck,
    cluster: Arc<ClusterState>,
    endpoint: Arc<EndpointState>,
    _task: Task,
}

impl Probed {
    fn begin(
        cluster: &Cluster,
        check: &HealthCheck,
        endpoint: &Endpoint,
        way: &Way,
        permits: &Arc<Semaphore>,
    ) -> Self {
        let prober = Prober::new(cluster, check, endpoint, way);
        let (state, of_cluster) = (Arc::clone(&endpoint.state), Arc::clone(&cluster.state));
        let task =
            tokio::spawn(keep(prober, Arc::clone(&state), Arc::clone(&of_cluster), Arc::clone(permits)));
        Self { check: check.clone(), cluster: of_cluster, endpoint: state, _task: Task(task) }
    }
}

impl Drop for Probed {
    /// What nobody asks any longer counts no more.
    fn drop(&mut self) {
        self.endpoint.probed.forget();
        self.cluster.changed();
    }
}

/// Probes for ever.
async fn keep(
    mut prober: Prober,
    endpoint: Arc<EndpointState>,
    cluster: Arc<ClusterState>,
    permits: Arc<Semaphore>,
) {
    let mut tracker = Tracker::default();
    loop {
        let result = {
            // The semaphore is never closed.
            let _permit = permits.acquire().await;
            prober.probe().await
        };
        if let Some(healthy) = tracker.note(&prober.check, result.is_ok()) {
            endpoint.probed.set(healthy);
            cluster.changed();
            prober.report(&result);
        }
        tokio::time::sleep(prober.check.pause(fastrand::f64())).await;
    }
}

/// How many probes of one mesh may be under way.
const PROBES_MAX: usize = 64;
/// How much of an answer is read at most.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
