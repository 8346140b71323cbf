//! What a process decides for itself about its part in the mesh.

use std::time::Duration;

/// A `Mesh`'s settings; plain data with safe defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What becomes of calls to hosts outside the mesh. A mesh whose settings let nothing out is obeyed in any case.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// How long the first call to a host waits for its configuration.
    pub resolve_wait: Duration,
    /// After how long without a call a host's configuration is given up.
    pub host_idle: Duration,
    /// How many hosts may be subscribed to at a time.
    pub hosts_max: usize,
}

/// What becomes of calls to hosts that the mesh does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutboundTrafficPolicy {
    /// They go out as they are (Istio's `ALLOW_ANY`, the default).
    #[default]
    AllowAny,
    /// They are refused (Istio's `REGISTRY_ONLY`: 502).
    RegistryOnly,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            resolve_wait: Duration::from_secs(5),
            host_idle: Duration::from_secs(600),
            hosts_max: 10_000,
        }
    }
}
