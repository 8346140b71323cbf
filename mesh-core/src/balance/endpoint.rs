//! An endpoint: its configuration, and what is known of it beyond that.

use std::any::Any;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::latency::Latency;
use super::{Moment, Verdict};
use crate::resource::{EndpointSpec, Health};

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
    pub(super) latency: Latency,
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
    /// It failed too often, and is left alone until then.
    Ejected {
        /// When it is to be asked again.
        until: Moment,
    },
}

/// What the client crate keeps per endpoint. `close` is called once the endpoint has left the configuration: connections
/// finish what they have and close.
pub trait Transport: Any + Send + Sync + std::fmt::Debug {
    /// Drains the connections.
    fn close(&self);
}

/// A request under way; it counts until dropped.
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
    pub fn availability(&self, _now: Moment) -> Availability {
        Availability::Available
    }

    /// Counts an attempt, whose end is to be [reported](Self::report) once, and a request until the guard is dropped.
    pub(crate) fn attempt(self: &Arc<Self>, now: Moment) -> InFlight {
        self.latency.begin(now);
        self.begin()
    }

    /// Takes how an attempt ended, and after how long.
    pub(crate) fn report(&self, verdict: Verdict, elapsed: Duration, now: Moment) {
        self.latency.end(verdict, elapsed, now);
    }

    /// Counts a request until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl Availability {
    /// Whether it does.
    pub fn is_available(self) -> bool {
        self == Self::Available
    }

    /// When it may be another one though nobody says so.
    pub fn valid_until(self) -> Moment {
        match self {
            Self::Ejected { until } => until,
            Self::Available | Self::Draining | Self::Unhealthy => Moment::NEVER,
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_until_it_is_dropped() {
        let state: Arc<EndpointState> = Arc::default();
        let request = state.begin();
        assert_eq!(state.in_flight.load(Ordering::Relaxed), 1);
        drop(request);
        assert_eq!(state.in_flight.load(Ordering::Relaxed), 0);
    }
}
