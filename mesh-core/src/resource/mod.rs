//! xDS messages become our values here, once; an illegal state cannot be built, and what cannot be honoured is refused.

pub mod cluster;
mod connection_manager;
pub mod connection_pool;
pub mod dns;
pub mod endpoint;
mod ext_authz;
mod filters;
mod hash_policy;
mod header_options;
mod health_check;
pub mod inbound;
mod invalid;
pub mod listener;
pub mod locality_weights;
mod matchers;
mod metadata;
mod opaque;
pub mod outlier_detection;
pub mod outside_tls;
pub mod provenance;
mod rbac;
mod retry_policy;
pub mod route;
mod route_action;
mod transport_socket;
pub mod type_url;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use prost::Message;

pub use cluster::{BalancerPolicy, ClusterSpec, EndpointSource, UpstreamProtocol, UpstreamTls};
pub use connection_pool::{
    CircuitBreaker, ConnectionPool, ConnectionTerms, Http2KeepAlive, RetryBudget, TcpKeepAlive,
};
pub use dns::{DnsAddresses, DnsEndpoints, DnsTarget};
pub use endpoint::{EndpointSpec, EndpointsSpec, Health, address_of_pipe};
pub use inbound::{InboundListener, MtlsMode};
use invalid::Invalid;
pub use listener::{BLOCK_ALL, OutboundListener, RequestSpec, Takes};
pub use opaque::OpaqueSpec;
pub use outlier_detection::{Consecutive, OutlierDetection};
pub use outside_tls::{CertificateFiles, OutsideTls, PeerName, Roots, ServerVerification};
pub use provenance::Provenance;
pub use route::RouteSpec;
pub use type_url::ResourceType;

/// A resource of any type, parsed.
#[derive(Debug, Clone)]
pub enum Resource {
    /// What a dialled host leads to.
    Outbound(Arc<OutboundListener>),
    /// What a serving address lets in.
    Inbound(Arc<InboundListener>),
    /// A host's routes.
    RouteConfiguration(Arc<RouteSpec>),
    /// A cluster.
    Cluster(Arc<ClusterSpec>),
    /// A cluster's endpoints.
    Endpoints(Arc<EndpointsSpec>),
}

impl Resource {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Outbound(listener) => &listener.name,
            Self::Inbound(listener) => &listener.name,
            Self::RouteConfiguration(routes) => &routes.name,
            Self::Cluster(cluster) => &cluster.name,
            Self::Endpoints(endpoints) => &endpoints.name,
        }
    }

    /// Its type.
    pub fn resource_type(&self) -> ResourceType {
        match self {
            Self::Outbound(_) | Self::Inbound(_) => ResourceType::Listener,
            Self::RouteConfiguration(_) => ResourceType::RouteConfiguration,
            Self::Cluster(_) => ResourceType::Cluster,
            Self::Endpoints(_) => ResourceType::Endpoints,
        }
    }
}

/// Parses the bytes of a resource of that type.
///
/// # Errors
/// Names the first field that is wrong or that this mesh cannot honour.
pub fn parse(resource_type: ResourceType, bytes: &[u8]) -> Result<Resource, InvalidResource> {
    match resource_type {
        ResourceType::Cluster => {
            let parse = |wire| ClusterSpec::parse(wire).map(|cluster| Resource::Cluster(cluster.into()));
            parse_message(resource_type, bytes, |wire| &wire.name, parse)
        }
        ResourceType::Endpoints => {
            let parse =
                |wire| EndpointsSpec::parse(wire).map(|endpoints| Resource::Endpoints(endpoints.into()));
            parse_message(resource_type, bytes, |wire| &wire.cluster_name, parse)
        }
        ResourceType::Listener => parse_message(resource_type, bytes, |wire| &wire.name, parse_listener),
        ResourceType::RouteConfiguration => {
            let parse =
                |wire| RouteSpec::parse(wire).map(|routes| Resource::RouteConfiguration(routes.into()));
            parse_message(resource_type, bytes, |wire| &wire.name, parse)
        }
    }
}

/// A listener with an API listener is a client's, as is one that says so; another one is a server's.
fn parse_listener(wire: Listener) -> Result<Resource, Invalid> {
    let says_so = wire.traffic_direction == i32::from(TrafficDirection::Outbound);
    match wire.api_listener.is_some() || says_so {
        true => OutboundListener::parse(wire).map(|listener| Resource::Outbound(listener.into())),
        false => InboundListener::parse(wire).map(|listener| Resource::Inbound(listener.into())),
    }
}

fn parse_message<M: Message + Default>(
    resource_type: ResourceType,
    bytes: &[u8],
    name: impl Fn(&M) -> &String,
    parse: impl FnOnce(M) -> Result<Resource, Invalid>,
) -> Result<Resource, InvalidResource> {
    let wire = M::decode(bytes).map_err(|error| Invalid::new("", error).of(resource_type, ""))?;
    let name = name(&wire).clone();
    if name.is_empty() {
        return Err(Invalid::new("name", "is missing").of(resource_type, ""));
    }
    parse(wire).map_err(|invalid| invalid.of(resource_type, &name))
}

/// Why a resource is refused (and NACKed); the last good one stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource_type} `{name}`: {field}: {reason}")]
pub struct InvalidResource {
    /// Which type of resource.
    pub resource_type: ResourceType,
    /// Its name, or empty where not even that could be read.
    pub name: String,
    /// The path of the field in the message.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

#[cfg(test)]
mod tests;
