//! What a cluster has under way, of all its endpoints together, and the circuit breaker over it.
//!
//! Each count is one atomic: whoever comes at the same time cannot pass a limit together, and nobody waits to be counted. A guard
//! gives its place back when it is dropped, which is also what happens when a caller gives up.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::retry_budget::{Bucket, Recent};
use super::{ClusterState, EndpointState, Moment};
use crate::resource::{CircuitBreaker, RetryBudget};

/// The counts of a cluster.
#[derive(Debug, Default)]
pub struct Usage {
    /// Open connections, and those that are being made.
    pub connections: Count,
    /// Requests that wait for a connection.
    pub pending: Count,
    /// Requests under way, with those that wait.
    pub requests: Count,
    /// Retries under way.
    pub retries: Count,
    requests_ever: AtomicU64,
    recent: Recent,
    /// Locked when something is to be tried again, and by no request that is not.
    bucket: Mutex<Bucket>,
}

/// How many there are at the moment.
#[derive(Debug, Default)]
pub struct Count(AtomicU32);

/// A place in a count, until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Place<'c>(&'c Count);

/// An open connection for requests, or one that is being made; it counts until dropped.
#[derive(Debug)]
#[must_use]
pub struct OpenConnection(Arc<ClusterState>);

/// A connection of bytes; it counts at its cluster and, as what is under way there, at its endpoint until dropped.
#[derive(Debug)]
#[must_use]
pub struct OpaqueConnection(Arc<EndpointState>);

impl Count {
    /// How many.
    pub fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// A place, unless `max` are taken.
    pub fn take(&self, max: u32) -> Option<Place<'_>> {
        self.add(max).then(|| Place(self))
    }

    pub(super) fn add(&self, max: u32) -> bool {
        if max == u32::MAX {
            self.0.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        let more = |count| (count < max).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    pub(super) fn remove(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.remove();
    }
}

impl ClusterState {
    /// A place for a connection, unless `max` are taken.
    pub fn connect(self: &Arc<Self>, max: u32) -> Option<OpenConnection> {
        self.usage.connections.add(max).then(|| OpenConnection(Arc::clone(self)))
    }

    /// Notes that a request begins, of which retries may be a share.
    pub fn count_request(&self, breaker: &CircuitBreaker, now: Moment) {
        self.usage.requests_ever.fetch_add(1, Ordering::Relaxed);
        if let Some(RetryBudget { interval, .. }) = breaker.retry_budget
            && !interval.is_zero()
        {
            self.usage.recent.add(interval, now);
        }
    }

    /// Whether something may be tried again, which counts until the place is given back. `reached`: an endpoint had work of
    /// what failed; the mesh's own budget is for that alone, since other failures are no load to anybody.
    pub fn retry(&self, breaker: &CircuitBreaker, reached: bool, now: Moment) -> Option<Place<'_>> {
        let usage = &self.usage;
        let Some(budget) = &breaker.retry_budget else {
            let place = usage.retries.take(breaker.retries_max)?;
            let requests = usage.requests_ever.load(Ordering::Relaxed);
            let mut bucket = usage.bucket.lock().unwrap_or_else(PoisonError::into_inner);
            return (!reached || bucket.withdraw(requests, now)).then_some(place);
        };
        let requests = match budget.interval.is_zero() {
            true => usage.requests.now(),
            false => usage.recent.count(budget.interval, now),
        };
        usage.retries.take(budget.retries_max(requests))
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.usage.connections.remove();
    }
}

impl OpaqueConnection {
    pub(super) fn new(endpoint: &Arc<EndpointState>, max: u32) -> Option<Self> {
        endpoint.cluster().usage.connections.add(max).then(|| {
            endpoint.in_flight.fetch_add(1, Ordering::Relaxed);
            Self(Arc::clone(endpoint))
        })
    }
}

impl Drop for OpaqueConnection {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.0.cluster().usage.connections.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    #[test]
    fn callers_that_come_at_once_never_pass_the_limit() {
        const CALLERS: usize = 8;
        const LIMIT: u32 = 3;
        let (state, barrier) = (Arc::<ClusterState>::default(), Barrier::new(CALLERS));
        let endpoint = Arc::new(EndpointState::new(Arc::clone(&state)));
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..20_000 {
                        let Some(request) = endpoint.begin(LIMIT) else { continue };
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        now.fetch_sub(1, Ordering::SeqCst);
                        drop(request);
                    }
                });
            }
        });
        assert!((1..=LIMIT).contains(&most.into_inner()));
        assert_eq!((state.usage.requests.now(), endpoint.in_flight.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_place_is_given_back_when_its_holder_goes() {
        let state = Arc::<ClusterState>::default();
        let endpoint = Arc::new(EndpointState::new(Arc::clone(&state)));
        let held = (
            state.connect(2),
            endpoint.connect(2, Moment::START),
            endpoint.begin(1),
            state.usage.pending.take(1),
        );
        assert!(held.0.is_some() && held.1.is_some() && held.2.is_some() && held.3.is_some());
        assert!(state.connect(2).is_none() && endpoint.connect(2, Moment::START).is_none());
        assert!(endpoint.begin(1).is_none() && state.usage.pending.take(1).is_none());
        assert_eq!(endpoint.in_flight.load(Ordering::Relaxed), 2);
        drop(held);
        let usage = &state.usage;
        assert_eq!([&usage.connections, &usage.pending, &usage.requests].map(Count::now), [0; 3]);
        assert_eq!(endpoint.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_limit_of_retries_is_one_of_those_at_a_time() {
        let state = ClusterState::default();
        let breaker = CircuitBreaker { retries_max: 2, ..CircuitBreaker::UNLIMITED };
        let now = Moment::now();
        let retry = || state.retry(&breaker, true, now);
        let (one, two) = (retry(), retry());
        assert!(one.is_some() && two.is_some() && retry().is_none());
        drop(one);
        assert!(retry().is_some());
    }

    #[test]
    fn a_documents_budget_is_a_share_of_the_requests_under_way_or_of_those_that_began_lately() {
        let state = Arc::<ClusterState>::default();
        let endpoint = Arc::new(EndpointState::new(Arc::clone(&state)));
        let budget = RetryBudget { millionths: 250_000, retries_min: 1, interval: Duration::ZERO };
        let breaker = CircuitBreaker { retry_budget: Some(budget), ..CircuitBreaker::UNLIMITED };
        let retries = |breaker: &CircuitBreaker, now| {
            let retries = std::iter::from_fn(|| state.retry(breaker, true, now)).take(9);
            retries.collect::<Vec<_>>().len()
        };
        assert_eq!(retries(&breaker, Moment::now()), 1, "so many in any case");
        let requests: Vec<_> = (0..12).filter_map(|_| endpoint.begin(u32::MAX)).collect();
        assert_eq!(retries(&breaker, Moment::now()), 3);
        drop(requests);
        assert_eq!(retries(&breaker, Moment::now()), 1);
        let minute = Duration::from_secs(60);
        let lately = RetryBudget { interval: minute, ..budget };
        let breaker = CircuitBreaker { retry_budget: Some(lately), ..breaker };
        (0..20).for_each(|_| state.count_request(&breaker, Moment::now()));
        assert_eq!(retries(&breaker, Moment::now()), 5, "though they have ended");
        assert_eq!(retries(&breaker, Moment::now() + minute * 2), 1);
    }

    #[test]
    fn the_meshs_own_budget_is_charged_for_what_an_endpoint_had_work_of() {
        let (state, now) = (ClusterState::default(), Moment::now());
        let retry = |reached| state.retry(&CircuitBreaker::UNLIMITED, reached, now).is_some();
        let granted = (0..1000).filter(|_| retry(true)).count();
        assert_eq!(granted, 10);
        assert!(retry(false), "nobody had work of a connect that failed");
        (0..100).for_each(|_| state.count_request(&CircuitBreaker::UNLIMITED, now));
        assert_eq!((0..1000).filter(|_| retry(true)).count(), 10);
        assert_eq!(state.usage.retries.now(), 0);
    }
}
