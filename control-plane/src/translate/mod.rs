//! Configuration to xDS: for one caller and one resource name, the message or the fact that there is none.
//!
//! Everything here is a function of the [`World`] and of those facts about the caller that the function reads, which are
//! handed back with the answer. Names are asked for one at a time (clients subscribe on demand), so nothing enumerates.
//!
//! # Layout
//!
//! One file per resource: `listener` (with `opaque`) and `route` (outbound), `cluster`, `endpoints`, `inbound`. `rbac` and `matcher` make the
//! matchers, `metadata` what is ours, `encode` the bytes, `name` the names.

mod cluster;
mod encode;
mod endpoints;
mod external_auth;
mod filter;
mod gateway_route;
mod hash;
mod header;
mod inbound;
mod listener;
mod matcher;
mod metadata;
pub mod name;
mod opaque;
mod outlier_detection;
mod rbac;
mod retry;
mod route;
mod sticky;
mod tls;

use envoy_types::pb::google::protobuf::Any;
use mesh_core::resource::ResourceType;

pub use filter::EXT_AUTHZ;

use crate::model::{Caller, Inputs, View, World};

/// The answer for one name.
#[derive(Debug, Clone)]
pub struct Translated {
    /// The message, or none if nothing of that name exists for this caller.
    pub message: Option<Any>,
    /// The facts about the caller that the answer depends on: callers who agree in them share it.
    pub inputs: Inputs,
}

/// Makes the resource of that type and name for a caller.
pub fn translate(world: &World, caller: &Caller, resource_type: ResourceType, name: &str) -> Translated {
    let view = View::new(caller);
    let message = match resource_type {
        ResourceType::Listener if name.starts_with("inbound/") => inbound::translate(world, &view, name),
        ResourceType::Listener => listener::translate(world, &view, name),
        ResourceType::RouteConfiguration => route::translate(world, &view, name),
        ResourceType::Cluster => cluster::translate(world, &view, name),
        ResourceType::Endpoints => endpoints::translate(world, &view, name),
    };
    Translated { message, inputs: view.read() }
}

/// The version of a resource: a hash of its bytes, so that it is the same after a restart and on every replica.
pub fn version(message: &Any) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &message.value);
    digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod locality_tests;
#[cfg(test)]
mod rbac_tests;
#[cfg(test)]
mod tests;
