//! One member: its mesh, and the task that asks the control plane for whatever it wants next.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use control_plane::grant::Grant;
use mesh_core::Mesh;
use mesh_core::mesh::Parts;
use mesh_core::network::{MemoryNetwork, Network};
use tokio_util::task::AbortOnDropHandle;

use crate::TestMeshError;
use crate::authority::Authority;
use crate::control::Control;
use crate::serving::Serving;

/// A member of a test's mesh.
pub(crate) struct Member {
    /// `default/reviews-v1`.
    pub(crate) name: String,
    pub(crate) mesh: Mesh,
    pub(crate) address: IpAddr,
    /// Where its services are reached.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) serving: Vec<Serving>,
    _asking: AbortOnDropHandle<()>,
}

/// What all members of one mesh have in common.
pub(crate) struct Ground {
    pub(crate) control: Arc<Control>,
    pub(crate) authority: Authority,
    pub(crate) network: MemoryNetwork,
}

impl Member {
    pub(crate) fn join(
        ground: &Ground,
        grant: &Grant,
        address: IpAddr,
        seed: u64,
    ) -> Result<Self, TestMeshError> {
        let name = format!("{}/{}", grant.namespace, grant.workload_name());
        let identity = ground.authority.identity(&grant.namespace, &grant.service_account);
        let identity =
            identity.map_err(|reason| TestMeshError::Certificate { workload: name.clone(), reason })?;
        let (mesh, publisher) = Mesh::from_parts(Parts {
            identity: Some(identity),
            network: Network::Memory(ground.network.host(address)),
            seed: Some(seed),
            ..Parts::default()
        });
        let control = ground.control.clone();
        let number = control.join(grant.caller(), publisher.stream());
        let asking = tokio::spawn(async move {
            loop {
                publisher.wanted().await;
                control.tell(number);
            }
        });
        let addresses = grant.services.iter().map(|service| (address, service.port).into()).collect();
        let (serving, asking) = (Vec::new(), AbortOnDropHandle::new(asking));
        Ok(Self { name, mesh, address, addresses, serving, _asking: asking })
    }
}
