//! What is counted per cluster. The one place to which metrics attach.
//!
//! Counters belong to the mesh, keyed by the cluster's name, and survive configuration changes. Counting takes no lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use mesh_core::status::ResponseFlag;

/// All clusters' counters.
#[derive(Debug, Default)]
pub(crate) struct Records(ArcSwap<HashMap<Arc<str>, Arc<ClusterRecord>>>);

/// One cluster's counters.
#[derive(Debug, Default)]
pub(crate) struct ClusterRecord {
    requests: AtomicU64,
    retries: AtomicU64,
    unmirrored: AtomicU64,
    /// In the order of [`ResponseFlag::ALL`].
    failures: [AtomicU64; ResponseFlag::ALL.len()],
}

impl Records {
    /// A cluster's counters, made at its first request.
    pub(crate) fn of(&self, cluster: &Arc<str>) -> Arc<ClusterRecord> {
        if let Some(record) = self.0.load().get(cluster) {
            return record.clone();
        }
        let made = Arc::new(ClusterRecord::default());
        let before = self.0.rcu(|records| {
            let mut records = HashMap::clone(records);
            records.entry(cluster.clone()).or_insert_with(|| made.clone());
            records
        });
        before.get(cluster).cloned().unwrap_or(made)
    }
}

impl ClusterRecord {
    pub(crate) fn count_request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }

    /// A copy to this cluster that a limit kept from being sent.
    pub(crate) fn count_unmirrored(&self) {
        self.unmirrored.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_failure(&self, flag: ResponseFlag) {
        self.failures[flag as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
impl ClusterRecord {
    /// Requests, retries, and failures of one kind.
    pub(crate) fn counts(&self, flag: ResponseFlag) -> [u64; 3] {
        [&self.requests, &self.retries, &self.failures[flag as usize]]
            .map(|count| count.load(Ordering::Relaxed))
    }

    /// Copies that were not sent.
    pub(crate) fn unmirrored(&self) -> u64 {
        self.unmirrored.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clusters_counters_are_made_once_and_count_by_flag() {
        let records = Records::default();
        let name: Arc<str> = "outbound|9080||reviews.default.svc.cluster.local".into();
        for (index, flag) in ResponseFlag::ALL.into_iter().enumerate() {
            assert_eq!(flag as usize, index, "a flag is its own index");
            records.of(&name).count_failure(flag);
        }
        records.of(&name).count_request();
        records.of(&name).count_failure(ResponseFlag::UF);
        assert_eq!(records.of(&name).counts(ResponseFlag::UF), [1, 0, 2]);
    }
}
