//! What all clients of one mesh share: the mesh itself, and the runtime state that is no endpoint's.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use mesh_core::Mesh;

use crate::mirror::Mirrors;
use crate::passthrough::Passthrough;
use crate::probing::Probing;
use crate::record::Records;

/// The outbound side of a mesh; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Outbound {
    pub(crate) mesh: Mesh,
    pub(crate) state: Arc<OutboundState>,
}

/// Belongs to the mesh, and lives as long as it does.
#[derive(Debug, Default)]
pub(crate) struct OutboundState {
    pub(crate) passthrough: Passthrough,
    pub(crate) records: Records,
    pub(crate) mirrors: Mirrors,
    pub(crate) probing: Probing,
    /// This process's own address, once somebody is hashed by it.
    pub(crate) own_address: OnceLock<IpAddr>,
}

impl Outbound {
    pub(crate) fn new(mesh: &Mesh) -> Self {
        let outbound = Self { mesh: mesh.clone(), state: mesh.runtime(OutboundState::default) };
        outbound.state.probing.begin(mesh);
        outbound
    }
}
