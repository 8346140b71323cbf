//! What this crate keeps at a cluster's endpoints: the pool of connections.

use std::any::Any;

use mesh_core::Mesh;
use mesh_core::balance::Endpoint;
use mesh_core::resource::ClusterSpec;

use crate::connection::{Target, Upstream};
use crate::pool::Pool;

/// The endpoint's connections; made at first use, they live as long as the endpoint's runtime state.
pub(crate) fn pool<'a>(endpoint: &'a Endpoint, cluster: &ClusterSpec, mesh: &Mesh) -> &'a Pool {
    let transport = endpoint.state.transport.get_or_init(|| {
        let upstream = Upstream::of(cluster, &endpoint.spec);
        Pool::new(mesh, Target::of(&endpoint.spec), upstream, endpoint.state.cluster().clone())
    });
    let any: &dyn Any = &**transport;
    any.downcast_ref().expect("this crate alone sets the transport, and always to a Pool")
}
