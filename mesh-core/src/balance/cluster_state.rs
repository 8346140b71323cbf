//! What is known of a cluster beyond its configuration.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Outliers, Usage};

/// A cluster's runtime state; belongs to the `Mesh`, keyed by the cluster's name, and survives configuration changes.
#[derive(Debug, Default)]
pub struct ClusterState {
    /// How many picks round robin has made.
    pub(super) turns: AtomicU64,
    epoch: AtomicU64,
    /// Which endpoints are left alone, and how many have been.
    pub outliers: Outliers,
    /// What is under way, which a circuit breaker limits.
    pub usage: Usage,
}

impl ClusterState {
    /// Has the next pick look at every endpoint anew: to be called after a change of what an endpoint's
    /// [availability](super::EndpointState::availability) stands on.
    pub fn changed(&self) {
        // What was written before is seen by whoever sees the new epoch.
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// How often it has changed.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }
}
