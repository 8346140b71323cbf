//! The `Mesh` value: one per process as a rule, cheap to clone, two of them share nothing.

use std::sync::Arc;

use crate::canonical::HostPort;
use crate::snapshot::{HostState, Snapshot};

/// A process's membership in the mesh: identity, configuration, and all runtime state of its connections.
#[derive(Debug, Clone)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    snapshot: arc_swap::ArcSwap<Snapshot>,
}

/// Why a host's configuration is not there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ResolveError {
    /// The control plane sent some or none of it in time.
    #[error("{host}: configuration did not arrive within {waited_ms} ms; still missing: {missing}")]
    Timeout {
        /// As dialled.
        host: String,
        /// How long the call waited.
        waited_ms: u64,
        /// The resources that never came.
        missing: String,
    },
    /// Never resolved, and no control plane to ask.
    #[error("{host}: never resolved, and the control plane cannot be reached")]
    Unreachable {
        /// As dialled.
        host: String,
    },
}

impl Mesh {
    /// The configuration as of now; a request loads it once.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    /// What is known of a dialled host, without waiting and without allocating.
    pub fn host(&self, host: &HostPort) -> Option<HostState> {
        self.0.snapshot.load().hosts.get(host.as_str()).cloned()
    }

    /// Subscribes to a host and waits (at most `wait`) until its closure is here or known absent.
    ///
    /// # Errors
    /// Names what did not come.
    pub async fn resolve(
        &self,
        host: &HostPort,
        wait: std::time::Duration,
    ) -> Result<HostState, ResolveError> {
        let _ = (host, wait);
        unimplemented!("owned by the ads engineer")
    }
}
