//! An endpoint: its configuration, and what is known of it beyond that.

use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::latency::Latency;
use super::outlier::OutlierRecord;
use super::probed::Probed;
use super::{ClusterState, Moment, OpaqueConnection, Verdict};
use crate::resource::{ClusterSpec, EndpointSpec, Health};

/// An endpoint in the snapshot: its configuration and its state.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Configuration.
    pub spec: EndpointSpec,
    /// Runtime state.
    pub state: Arc<EndpointState>,
}

/// What is known of an endpoint beyond its configuration; belongs to the `Mesh`, keyed by cluster and address, and survives
/// configuration changes.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Requests under way.
    pub in_flight: AtomicU32,
    /// What carries requests to it (the client crate's pool); made at first use.
    pub transport: OnceLock<Arc<dyn Transport>>,
    /// What probes have shown, where there are any.
    pub probed: Probed,
    pub(super) latency: Latency,
    pub(super) outlier: OutlierRecord,
    /// Until then its first connection is waited for, in nanoseconds as a [`Moment`] has them.
    awaited_until: AtomicU64,
    cluster: Arc<ClusterState>,
}

/// Whether an endpoint takes requests, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Available,
    /// It finishes what it has and leaves: never to be picked, whatever becomes of the others.
    Draining,
    /// Its configuration or a probe says that it cannot.
    Unhealthy,
    /// It is being connected to for the first time; whoever has nobody else may wait with it.
    Awaited {
        /// The longest that this lasts.
        until: Moment,
    },
    /// It failed too often, and is left alone until then.
    Ejected {
        /// When it is to be asked again.
        until: Moment,
    },
}

/// What the client crate keeps per endpoint.
pub trait Transport: Any + Send + Sync + std::fmt::Debug {
    /// Drains the connections: the endpoint has left the configuration. They finish what they have and close.
    fn close(&self);

    /// Whether there is an open connection.
    fn is_connected(&self) -> bool;

    /// Hears, where it is connected itself, of those that join its cluster, before anybody can pick them.
    fn welcome(&self, newcomers: Newcomers<'_>);
}

/// Endpoints that join a cluster to which there are connections.
#[derive(Debug)]
pub struct Newcomers<'a> {
    /// The cluster as it will be.
    pub cluster: &'a ClusterSpec,
    /// Its runtime state.
    pub state: &'a Arc<ClusterState>,
    /// Those of them that may take requests.
    pub endpoints: Vec<Endpoint>,
    /// To how many others of the cluster there are connections.
    pub connected: usize,
}

/// A request under way; it counts at its endpoint and its cluster until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl Endpoint {
    /// Whether it takes requests now. What the state says may make a healthy endpoint unavailable, and no other available.
    pub fn availability(&self, now: Moment) -> Availability {
        match self.spec.health {
            Health::Healthy => self.state.availability(now),
            Health::Draining => Availability::Draining,
            Health::Unhealthy => Availability::Unhealthy,
        }
    }
}

impl EndpointState {
    /// What was found out about an endpoint whose configuration calls it healthy.
    pub fn availability(&self, now: Moment) -> Availability {
        if self.probed.is_unhealthy() {
            return Availability::Unhealthy;
        }
        let awaited = Moment::from_nanos(self.awaited_until.load(Ordering::Relaxed));
        if now < awaited {
            return Availability::Awaited { until: awaited };
        }
        self.outlier.ejected_until().map_or(Availability::Available, |until| Availability::Ejected { until })
    }

    /// Has requests go elsewhere, while there is anybody else, until it is connected to or that moment has come.
    pub fn await_connection(&self, until: Moment) {
        self.awaited_until.store(until.as_nanos(), Ordering::Relaxed);
    }

    /// Its connection is there, or was waited for in vain. [`ClusterState::changed`] is to be called after that.
    pub fn end_wait(&self) {
        self.awaited_until.store(0, Ordering::Relaxed);
    }

    /// The state of an endpoint of that cluster.
    pub fn new(cluster: Arc<ClusterState>) -> Self {
        Self { cluster, ..Self::default() }
    }

    /// The cluster that it is of.
    pub fn cluster(&self) -> &Arc<ClusterState> {
        &self.cluster
    }

    /// Counts an attempt, whose end is to be [reported](Self::report) once, and a request until the guard is dropped; unless there
    /// are `max` of the cluster already.
    pub(crate) fn attempt(self: &Arc<Self>, max: u32, now: Moment) -> Option<InFlight> {
        self.begin(max).inspect(|_| self.latency.begin(now))
    }

    /// The same of a connection of bytes.
    pub(crate) fn connect(self: &Arc<Self>, max: u32, now: Moment) -> Option<OpaqueConnection> {
        OpaqueConnection::new(self, max).inspect(|_| self.latency.begin(now))
    }

    /// Takes how an attempt ended, and after how long.
    pub(crate) fn report(&self, verdict: Verdict, elapsed: Duration, now: Moment) {
        self.latency.end(verdict, elapsed, now);
    }

    /// Counts a request until the guard is dropped, unless there are `max` of the cluster already.
    pub fn begin(self: &Arc<Self>, max: u32) -> Option<InFlight> {
        self.cluster.usage.requests.add(max).then(|| {
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            InFlight(Arc::clone(self))
        })
    }
}

impl Availability {
    /// Whether it does.
    pub fn is_available(self) -> bool {
        self == Self::Available
    }

    /// Who is asked: those of the lowest rank that there is. Where all that take requests have left, one that is being connected to
    /// may wait with its caller, and one that failed may do by now.
    pub(super) fn rank(self) -> Option<u8> {
        match self {
            Self::Available => Some(0),
            Self::Awaited { .. } => Some(1),
            Self::Ejected { .. } => Some(2),
            Self::Draining | Self::Unhealthy => None,
        }
    }

    /// When it may be another one though nobody says so.
    pub fn valid_until(self) -> Moment {
        match self {
            Self::Ejected { until } | Self::Awaited { until } => until,
            Self::Available | Self::Draining | Self::Unhealthy => Moment::NEVER,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.cluster.usage.requests.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_until_it_is_dropped() {
        let state: Arc<EndpointState> = Arc::default();
        let request = state.begin(1);
        assert_eq!(state.in_flight.load(Ordering::Relaxed), 1);
        assert!(state.begin(1).is_none());
        drop(request);
        assert_eq!(state.in_flight.load(Ordering::Relaxed), 0);
    }
}
