//! The number by which a request, or a connection, meets its endpoint, where the cluster hashes.

use std::net::IpAddr;

use fastrand::Rng;
use http::HeaderMap;
use mesh_core::route::{HashKey, HashPolicy, HashSource, Hashed};
use mesh_core::snapshot::Cluster;

use crate::outbound::Outbound;

/// What the cluster's policy makes of a request; nothing where it has none. A cookie is made only by somebody's draws.
pub(crate) fn of(
    outbound: &Outbound,
    cluster: &Cluster,
    head: &http::request::Parts,
    rng: Option<&mut Rng>,
) -> Hashed {
    let Some(policy) = cluster.hash_policy() else { return Hashed::default() };
    let address = own_address(outbound, cluster, policy);
    let source = HashSource { headers: &head.headers, query: head.uri.query(), address };
    policy.hash(&source, rng.map(Rng::f64))
}

/// The number of a connection of bytes, of which the caller's address alone is known.
pub(crate) fn of_connection(outbound: &Outbound, cluster: &Cluster) -> Option<u64> {
    let policy = cluster.hash_policy()?;
    let address = own_address(outbound, cluster, policy);
    policy.hash(&HashSource { headers: &HeaderMap::new(), query: None, address }, None).number
}

/// This process's address, where it counts: as it was seen first, for a key is to stay what it is.
fn own_address(outbound: &Outbound, cluster: &Cluster, policy: &HashPolicy) -> Option<IpAddr> {
    if policy.key != HashKey::SourceAddress {
        return None;
    }
    let seen_at = cluster.endpoints.iter().find(|endpoint| endpoint.spec.pipe.is_none())?.spec.address;
    Some(*outbound.state.own_address.get_or_init(|| outbound.mesh.network().own_address(seen_at)))
}
