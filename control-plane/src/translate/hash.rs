//! Consistent hashing on routes, for clients that read it there alone (gRPC, older Envoys). Ours go by each cluster's own.

use envoy_types::pb::envoy::config::route::v3::Route;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use mesh_core::resource::BalancerPolicy;

use super::name::ClusterName;
use crate::model::{ClientKind, View, World};

/// Says on each route what its destinations are hashed by. Where these differ, who reads it here hashes by all of it.
pub(super) fn tell(world: &World, view: &View<'_>, routes: &mut [Route]) {
    for route in routes {
        let Some(Action::Route(action)) = &mut route.action else { continue };
        let Some(ClusterSpecifier::WeightedClusters(weighted)) = &action.cluster_specifier else { continue };
        for destination in &weighted.clusters {
            let name = ClusterName::parse(&destination.name);
            let balancer = name.and_then(|name| Some(world.subset(view, &name)?.balancer()));
            let Some(BalancerPolicy::Hash(policy)) = balancer else { continue };
            let policy = policy.key.on_a_route();
            if *view.client() != ClientKind::Mesh && !action.hash_policy.contains(&policy) {
                action.hash_policy.push(policy);
            }
        }
    }
}
