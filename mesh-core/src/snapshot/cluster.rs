//! A cluster with its endpoints, and the way to its runtime state.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::balance::{
    ClusterState, Ended, Endpoint, InFlight, Moment, OpaqueConnection, Picker, Verdict, Watch,
};
use crate::resource::{BalancerPolicy, ClusterSpec};
use crate::route::{HashPolicy, Session};

/// A cluster with its endpoints, rebuilt whole when one of them changes.
#[derive(Debug)]
pub struct Cluster {
    /// Configuration.
    pub spec: Arc<ClusterSpec>,
    /// Endpoints that may be picked and others, as configured.
    pub endpoints: Box<[Endpoint]>,
    /// Why some of its names have no address.
    pub unresolved: Option<Arc<str>>,
    /// Runtime state.
    pub state: Arc<ClusterState>,
    /// Replaced by the first pick that finds it outdated.
    picker: ArcSwap<Picker>,
}

impl Cluster {
    /// Joins a cluster's configuration with its endpoints and its runtime state.
    pub fn new(spec: Arc<ClusterSpec>, endpoints: Vec<Endpoint>, state: Arc<ClusterState>) -> Self {
        // Tables are made here. How the endpoints are is asked by the first pick, which knows the time.
        let picker = Picker::outdated(&*spec, &endpoints, Arc::clone(&state));
        let picker = ArcSwap::from_pointee(picker);
        let cluster = Self { spec, endpoints: endpoints.into(), unresolved: None, state, picker };
        cluster.watch().begin();
        cluster
    }

    /// The same, some of whose names have no address.
    #[must_use]
    pub fn unresolved(self, reason: Option<Arc<str>>) -> Self {
        Self { unresolved: reason, ..self }
    }

    /// The endpoint at which a session has been, while it takes requests.
    pub fn met_by(&self, session: &Session<'_>, now: Moment) -> Option<&Endpoint> {
        let mut endpoints = self.endpoints.iter();
        endpoints.find(|one| session.has_met(one.spec.address) && one.availability(now).is_available())
    }

    /// What its requests are hashed by, if they are.
    pub fn hash_policy(&self) -> Option<&HashPolicy> {
        match &self.spec.balancer {
            BalancerPolicy::Hash(policy) => Some(policy),
            BalancerPolicy::LeastRequest | BalancerPolicy::RoundRobin | BalancerPolicy::Random => None,
        }
    }

    /// The endpoint that a number meets first under the hash policy, as far as configuration goes.
    pub fn met_by_hash(&self, number: u64) -> Option<&Endpoint> {
        self.hash_policy()?;
        self.pick(&mut fastrand::Rng::with_seed(0), Some(number), &[], Moment::START)
    }

    /// Picks an endpoint that is not in `tried`, or any where all have been; by the request's number under the hash policy,
    /// if it has one. `None`: nothing takes requests (503, flag UH).
    pub fn pick(
        &self,
        rng: &mut fastrand::Rng,
        hash: Option<u64>,
        tried: &[SocketAddr],
        now: Moment,
    ) -> Option<&Endpoint> {
        let picker = self.picker.load();
        if picker.is_valid(now) {
            return picker.pick(&self.endpoints, rng, hash, tried, now);
        }
        // Several may do so at once. One whose picker is older than it need be has it replaced by the next pick.
        let renewed = Arc::new(picker.renewed(&self.endpoints, now));
        self.picker.store(Arc::clone(&renewed));
        renewed.pick(&self.endpoints, rng, hash, tried, now)
    }

    /// Begins an attempt at one of its endpoints, whose end is to be [reported](Self::report). The request counts as in flight
    /// until the guard is dropped, which may be later. None where the cluster has all the requests that it may have.
    pub fn begin(&self, endpoint: &Endpoint, now: Moment) -> Option<InFlight> {
        endpoint.state.attempt(self.spec.connection_pool.breaker.requests_max, now)
    }

    /// The same of a connection of bytes.
    pub fn connect(&self, endpoint: &Endpoint, now: Moment) -> Option<OpaqueConnection> {
        endpoint.state.connect(self.spec.connection_pool.breaker.connections_max, now)
    }

    /// Takes how an attempt that began ended, and after how long: once of each, also of those that were given up.
    pub fn report(&self, endpoint: &Endpoint, verdict: Verdict, elapsed: Duration, now: Moment) {
        endpoint.state.report(verdict, elapsed, now);
        self.watch().ended(endpoint, Ended { verdict, start: now - elapsed, now }, fastrand::f64);
    }

    fn watch(&self) -> Watch<'_> {
        Watch {
            cluster: &self.spec.name,
            detection: self.spec.outlier_detection.as_ref(),
            endpoints: &self.endpoints,
            state: &self.state,
        }
    }
}
