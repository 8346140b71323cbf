//! One immutable value that a request reads from first layer to last: every host closure and inbound listener as of now.
//!
//! [`Closures`] makes one snapshot after another of the resources that arrive.

mod closures;
mod cluster;

use std::collections::HashMap;
use std::sync::Arc;

use crate::canonical::PathNormalization;
use crate::resource::InboundListener;
use crate::route::{OpaqueTable, RouteTable};

pub use closures::{Answer, Closures, Update};
pub use cluster::Cluster;

/// All configuration of a process at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By `HOST:PORT` as dialled.
    pub hosts: HashMap<Arc<str>, HostState>,
    /// By resource name (`inbound/IP:PORT`).
    pub inbound: HashMap<Arc<str>, Arc<InboundListener>>,
}

/// What is known of a dialled host.
#[derive(Debug, Clone)]
pub enum HostState {
    /// Its whole closure is here.
    Ready(Arc<HostConfig>),
    /// The control plane says that the mesh has no such host: passthrough, where allowed.
    Absent,
    /// The mesh has no such host, and its settings let nothing out (`outboundTrafficPolicy: REGISTRY_ONLY`): 502.
    Refused,
}

/// A host closure: routes, clusters and endpoints that belong together.
#[derive(Debug)]
pub struct HostConfig {
    /// The listener's name, as dialled.
    pub name: Arc<str>,
    /// The service's full name.
    pub host: Arc<str>,
    /// What is done to a path before it is matched.
    pub path_normalization: PathNormalization,
    /// The compiled rules for requests; shared with the closure before where only endpoints changed. `None`: the port takes
    /// none.
    pub routes: Option<Arc<RouteTable>>,
    /// Addressed by `WeightedDestination::cluster_index`; `None`: known not to exist (503, flag NC).
    pub clusters: Box<[Option<Arc<Cluster>>]>,
    /// What becomes of connections of bytes; `None`: the port takes none.
    pub opaque: Option<OpaqueConfig>,
}

/// A host's rules for connections and the clusters that they name.
#[derive(Debug)]
pub struct OpaqueConfig {
    /// The compiled rules.
    pub rules: Arc<OpaqueTable>,
    /// Addressed by `WeightedDestination::cluster_index`; `None`: known not to exist.
    pub clusters: Box<[Option<Arc<Cluster>>]>,
}
