//! One immutable value that a request reads from first layer to last: every host closure and inbound listener as of now.
//!
//! [`Closures`] makes one snapshot after another of the resources that arrive.

mod closures;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::balance::{ClusterState, Endpoint, Picker};
use crate::canonical::PathNormalization;
use crate::resource::{BalancerPolicy, ClusterSpec, Health, InboundListener};
use crate::route::{HashPolicy, OpaqueTable, RouteTable, Session};

pub use closures::{Answer, Closures, Update};

/// All configuration of a process at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By `HOST:PORT` as dialled.
    pub hosts: HashMap<Arc<str>, HostState>,
    /// By resource name (`inbound/IP:PORT`).
    pub inbound: HashMap<Arc<str>, Arc<InboundListener>>,
}

/// What is known of a dialled host.
#[derive(Debug, Clone)]
pub enum HostState {
    /// Its whole closure is here.
    Ready(Arc<HostConfig>),
    /// The control plane says that the mesh has no such host: passthrough, where allowed.
    Absent,
    /// The mesh has no such host, and its settings let nothing out (`outboundTrafficPolicy: REGISTRY_ONLY`): 502.
    Refused,
}

/// A host closure: routes, clusters and endpoints that belong together.
#[derive(Debug)]
pub struct HostConfig {
    /// The listener's name, as dialled.
    pub name: Arc<str>,
    /// The service's full name.
    pub host: Arc<str>,
    /// What is done to a path before it is matched.
    pub path_normalization: PathNormalization,
    /// The compiled rules for requests; shared with the closure before where only endpoints changed. `None`: the port takes
    /// none.
    pub routes: Option<Arc<RouteTable>>,
    /// Addressed by `WeightedDestination::cluster_index`; `None`: known not to exist (503, flag NC).
    pub clusters: Box<[Option<Arc<Cluster>>]>,
    /// What becomes of connections of bytes; `None`: the port takes none.
    pub opaque: Option<OpaqueConfig>,
}

/// A host's rules for connections and the clusters that they name.
#[derive(Debug)]
pub struct OpaqueConfig {
    /// The compiled rules.
    pub rules: Arc<OpaqueTable>,
    /// Addressed by `WeightedDestination::cluster_index`; `None`: known not to exist.
    pub clusters: Box<[Option<Arc<Cluster>>]>,
}

/// A cluster with its endpoints, rebuilt whole when one of them changes.
#[derive(Debug)]
pub struct Cluster {
    /// Configuration.
    pub spec: Arc<ClusterSpec>,
    /// Endpoints that may be picked and others, as configured.
    pub endpoints: Box<[Endpoint]>,
    /// Why some of its names have no address.
    pub unresolved: Option<Arc<str>>,
    picker: Picker,
}

impl Cluster {
    /// Joins a cluster's configuration with its endpoints and its runtime state.
    pub fn new(spec: Arc<ClusterSpec>, endpoints: Vec<Endpoint>, state: Arc<ClusterState>) -> Self {
        let picker = Picker::new(spec.balancer.clone(), &endpoints, state);
        Self { spec, endpoints: endpoints.into(), unresolved: None, picker }
    }

    /// The same, some of whose names have no address.
    #[must_use]
    pub fn unresolved(self, reason: Option<Arc<str>>) -> Self {
        Self { unresolved: reason, ..self }
    }

    /// The endpoint at which a session has been, while it takes requests.
    pub fn met_by(&self, session: &Session<'_>) -> Option<&Endpoint> {
        let mut endpoints = self.endpoints.iter();
        endpoints.find(|one| one.spec.health == Health::Healthy && session.has_met(one.spec.address))
    }

    /// What its requests are hashed by, if they are.
    pub fn hash_policy(&self) -> Option<&HashPolicy> {
        match &self.spec.balancer {
            BalancerPolicy::Hash(policy) => Some(policy),
            BalancerPolicy::LeastRequest | BalancerPolicy::RoundRobin | BalancerPolicy::Random => None,
        }
    }

    /// The endpoint that a number meets first under the hash policy.
    pub fn met_by_hash(&self, number: u64) -> Option<&Endpoint> {
        self.hash_policy()?;
        self.pick(&mut fastrand::Rng::with_seed(0), Some(number), &[])
    }

    /// Picks an endpoint that is not in `tried`, or any where all have been; by the request's number under the hash policy,
    /// if it has one. `None`: nothing takes requests (503, flag UH).
    pub fn pick(
        &self,
        rng: &mut fastrand::Rng,
        hash: Option<u64>,
        tried: &[SocketAddr],
    ) -> Option<&Endpoint> {
        self.picker.pick(&self.endpoints, rng, hash, tried)
    }
}
