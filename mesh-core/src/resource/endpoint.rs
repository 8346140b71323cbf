//! The endpoints of a cluster.

use std::net::SocketAddr;
use std::sync::Arc;

/// What a `ClusterLoadAssignment` says, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndpointsSpec {
    /// All endpoints, in the order received.
    pub endpoints: Vec<EndpointSpec>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSpec {
    /// Where it listens.
    pub address: SocketAddr,
    /// `default/reviews-v1`, where known.
    pub workload: Option<Arc<str>>,
    /// `region/zone/subzone`.
    pub locality: Option<Arc<str>>,
    /// 0 first.
    pub priority: u32,
    /// Relative to the others, at least 1.
    pub weight: u32,
    /// As the control plane sees it.
    pub health: Health,
    /// False where it is outside the mesh and speaks plaintext.
    pub mesh_mtls: bool,
}

/// Health as the control plane sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// Takes requests.
    #[default]
    Healthy,
    /// Finishes what it has, takes no new requests.
    Draining,
    /// Takes none.
    Unhealthy,
}
