//! Waiting, at a host's first call, for its configuration.

use std::time::Duration;

use crate::ads::{LinkState, View};
use crate::canonical::HostPort;
use crate::snapshot::HostState;

/// Why a host's configuration is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    #[error("{host}: never resolved, and the control plane cannot be reached: {reason}")]
    Unreachable {
        /// As dialled.
        host: String,
        /// What the last attempt met.
        reason: String,
    },
    /// The process calls more hosts than its settings allow.
    #[error("{host}: more than {hosts_max} hosts are in use; raise `hosts_max` where that is meant")]
    TooManyHosts {
        /// As dialled.
        host: String,
        /// The limit.
        hosts_max: usize,
    },
}

/// Wants the host and waits until it is known, at most `wait`.
pub(super) async fn resolve(view: &View, host: &HostPort, wait: Duration) -> Result<HostState, ResolveError> {
    let mut published = view.published();
    view.demand.want(host.as_str()).map_err(|full| ResolveError::TooManyHosts {
        host: host.as_str().into(),
        hosts_max: full.hosts_max,
    })?;
    let known = async {
        loop {
            published.mark_unchanged();
            if let Some(state) = view.snapshot().hosts.get(host.as_str()) {
                return state.clone();
            }
            if published.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::time::timeout(wait, known).await.map_err(|_| not_in_time(view, host, wait))
}

fn not_in_time(view: &View, host: &HostPort, wait: Duration) -> ResolveError {
    let host = host.as_str();
    if let LinkState::Away(reason) = view.link() {
        return ResolveError::Unreachable { host: host.into(), reason: reason.to_string() };
    }
    let missing = view.demand.missing(host);
    ResolveError::Timeout {
        host: host.into(),
        waited_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        missing: if missing.is_empty() { format!("listener {host}") } else { missing.join(", ") },
    }
}
