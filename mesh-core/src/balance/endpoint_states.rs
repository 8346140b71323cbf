//! The runtime state of all clusters and endpoints, kept over configuration changes by cluster name and address.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::{ClusterState, Endpoint, EndpointState, Newcomers, Transport};
use crate::resource::{ClusterSpec, EndpointSpec, Health, UpstreamProtocol, UpstreamTls};

/// Runtime state by cluster name and address.
#[derive(Debug, Default)]
pub struct EndpointStates {
    clusters: HashMap<Arc<str>, ClusterEntry>,
}

#[derive(Debug, Default)]
struct ClusterEntry {
    state: Arc<ClusterState>,
    endpoints: HashMap<SocketAddr, EndpointEntry>,
}

#[derive(Debug)]
struct EndpointEntry {
    security: Security,
    state: Arc<EndpointState>,
}

/// What an open connection was made with. Where it changes, the connection must not carry on: it may be to a peer that is no
/// longer believed, or in plaintext where it no longer may be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Security {
    tls: UpstreamTls,
    protocol: UpstreamProtocol,
    mesh_mtls: bool,
}

impl EndpointStates {
    /// Joins a cluster's configuration with its state: known addresses keep theirs, new ones begin, those that left are closed.
    /// Where the cluster is in use, the client crate hears of those that join it.
    pub fn join(
        &mut self,
        cluster: &ClusterSpec,
        endpoints: &[EndpointSpec],
    ) -> (Arc<ClusterState>, Vec<Endpoint>) {
        let entry = self.clusters.entry(Arc::clone(&cluster.name)).or_default();
        let mut before = std::mem::take(&mut entry.endpoints);
        let joins =
            |spec: &EndpointSpec| !before.contains_key(&spec.address) && spec.health == Health::Healthy;
        let newcomers: HashSet<SocketAddr> =
            endpoints.iter().filter(|spec| joins(spec)).map(|spec| spec.address).collect();
        let mut connected: Vec<Arc<dyn Transport>> = Vec::new();
        if !newcomers.is_empty() {
            let transports = before.values().filter_map(|old| old.state.transport.get());
            connected.extend(transports.filter(|transport| transport.is_connected()).cloned());
        }
        let mut joined = Vec::with_capacity(endpoints.len());
        for spec in endpoints {
            let spec = EndpointSpec { mesh_mtls: speaks_mtls(cluster, spec), ..spec.clone() };
            let security =
                Security { tls: cluster.tls.clone(), protocol: cluster.protocol, mesh_mtls: spec.mesh_mtls };
            let kept = before.remove(&spec.address).and_then(|old| match old.security == security {
                true => Some(old),
                false => {
                    old.state.close();
                    None
                }
            });
            let begin = || Arc::new(EndpointState::new(Arc::clone(&entry.state)));
            let kept = kept.unwrap_or_else(|| EndpointEntry { security, state: begin() });
            let state = &entry.endpoints.entry(spec.address).or_insert(kept).state;
            joined.push(Endpoint { spec, state: Arc::clone(state) });
        }
        if let Some(companion) = connected.first() {
            let newcomers = joined.iter().filter(|endpoint| newcomers.contains(&endpoint.spec.address));
            let (endpoints, connected) = (newcomers.cloned().collect(), connected.len());
            companion.welcome(Newcomers { cluster, state: &entry.state, endpoints, connected });
        }
        before.values().for_each(|gone| gone.state.close());
        (Arc::clone(&entry.state), joined)
    }

    /// Forgets a cluster that has left the configuration and closes its endpoints.
    pub fn remove(&mut self, cluster: &str) {
        if let Some(entry) = self.clusters.remove(cluster) {
            entry.endpoints.values().for_each(|gone| gone.state.close());
        }
    }
}

/// An endpoint's mark alone must not take its encryption away: the cluster has to allow it.
fn speaks_mtls(cluster: &ClusterSpec, endpoint: &EndpointSpec) -> bool {
    match cluster.tls {
        UpstreamTls::Plaintext | UpstreamTls::Outside(_) => false,
        UpstreamTls::MeshMtls { .. } => endpoint.mesh_mtls || !cluster.plaintext_endpoints,
    }
}

impl EndpointState {
    fn close(&self) {
        if let Some(transport) = self.transport.get() {
            transport.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::resource::{BalancerPolicy, ConnectionPool, EndpointSource};

    #[derive(Debug, Default)]
    struct Closings(AtomicUsize, Mutex<Vec<(Vec<u16>, usize)>>);

    impl Transport for Closings {
        fn close(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn is_connected(&self) -> bool {
            self.0.load(Ordering::Relaxed) == 0
        }

        fn welcome(&self, newcomers: Newcomers<'_>) {
            let ports = newcomers.endpoints.iter().map(|one| one.spec.address.port()).collect();
            self.1.lock().unwrap().push((ports, newcomers.connected));
        }
    }

    fn cluster(tls: UpstreamTls) -> ClusterSpec {
        ClusterSpec {
            name: "outbound|80||a".into(),
            host: "a".into(),
            port: 80,
            subset: None,
            endpoints: EndpointSource::ControlPlane("outbound|80||a".into()),
            tls,
            plaintext_endpoints: true,
            protocol: UpstreamProtocol::Auto,
            balancer: BalancerPolicy::LeastRequest,
            outlier_detection: None,
            panic_threshold_percent: None,
            localities_weighted: false,
            health_check: None,
            connection_pool: ConnectionPool::default(),
            destination_rules: Vec::new(),
        }
    }

    fn endpoint(port: u16) -> EndpointSpec {
        EndpointSpec {
            address: SocketAddr::from(([10, 0, 0, 1], port)),
            pipe: None,
            workload: None,
            locality: None,
            locality_weight: 1,
            priority: 0,
            weight: 1,
            health: Health::Healthy,
            mesh_mtls: true,
        }
    }

    fn open(endpoint: &Endpoint) -> Arc<Closings> {
        let transport: Arc<Closings> = Arc::default();
        endpoint.state.transport.set(Arc::clone(&transport) as Arc<dyn Transport>).expect("not open yet");
        transport
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut EndpointStates) -> Option<Endpoint>, kept: bool, closings: usize) {
        let mut states = EndpointStates::default();
        let (_, before) = states.join(&cluster(UpstreamTls::Plaintext), &[endpoint(1)]);
        let transport = open(&before[0]);
        let after = change(&mut states);
        assert_eq!(after.is_some_and(|after| Arc::ptr_eq(&after.state, &before[0].state)), kept);
        assert_eq!(transport.0.load(Ordering::Relaxed), closings);
    }

    #[test]
    fn an_endpoint_keeps_its_state_while_others_come_and_go() {
        let plaintext = cluster(UpstreamTls::Plaintext);
        check(|states| states.join(&plaintext, &[endpoint(2), endpoint(1)]).1.pop(), true, 0);
        let draining = EndpointSpec { health: Health::Draining, weight: 9, ..endpoint(1) };
        check(|states| states.join(&plaintext, &[draining]).1.pop(), true, 0);
    }

    #[test]
    fn an_endpoint_that_left_is_closed() {
        check(|states| states.join(&cluster(UpstreamTls::Plaintext), &[]).1.pop(), false, 1);
        check(
            |states| {
                states.remove("outbound|80||a");
                None
            },
            false,
            1,
        );
    }

    #[test]
    fn those_who_join_a_cluster_in_use_are_told_to_one_that_is_connected() {
        let mut states = EndpointStates::default();
        let plaintext = cluster(UpstreamTls::Plaintext);
        let (_, first) = states.join(&plaintext, &[endpoint(1), endpoint(2)]);
        states.join(&plaintext, &[endpoint(1), endpoint(2), endpoint(3)]);
        let transport = open(&first[1]);
        let draining = EndpointSpec { health: Health::Draining, ..endpoint(5) };
        states.join(&plaintext, &[endpoint(1), endpoint(2), endpoint(3), endpoint(4), draining]);
        // Also by one that leaves itself, as where all are replaced at once.
        states.join(&plaintext, &[endpoint(6)]);
        assert_eq!(*transport.1.lock().unwrap(), [(vec![4], 1), (vec![6], 1)]);
        assert_eq!(transport.0.load(Ordering::Relaxed), 1, "it was closed after that");
    }

    fn mtls() -> UpstreamTls {
        UpstreamTls::MeshMtls { identities: Arc::new([]), sni: "a".into() }
    }

    #[test]
    fn a_change_of_security_closes_what_was_open() {
        check(|states| states.join(&cluster(mtls()), &[endpoint(1)]).1.pop(), false, 1);
        let http2 = ClusterSpec { protocol: UpstreamProtocol::Http2, ..cluster(UpstreamTls::Plaintext) };
        check(|states| states.join(&http2, &[endpoint(1)]).1.pop(), false, 1);
    }

    #[test]
    fn an_endpoint_is_spoken_to_in_plaintext_only_where_its_cluster_allows_it() {
        let outside = EndpointSpec { mesh_mtls: false, ..endpoint(1) };
        let speaks = |cluster: ClusterSpec, endpoint: &EndpointSpec| {
            EndpointStates::default().join(&cluster, std::slice::from_ref(endpoint)).1[0].spec.mesh_mtls
        };
        assert!(!speaks(cluster(mtls()), &outside));
        assert!(speaks(cluster(mtls()), &endpoint(1)));
        assert!(speaks(ClusterSpec { plaintext_endpoints: false, ..cluster(mtls()) }, &outside));
        assert!(!speaks(cluster(UpstreamTls::Plaintext), &endpoint(1)));
    }
}
