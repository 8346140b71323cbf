//! xDS messages become our values here, once; an illegal state cannot be built, and what cannot be honoured is refused.

pub mod cluster;
pub mod endpoint;
pub mod inbound;
pub mod provenance;
pub mod type_url;

pub use cluster::{BalancerPolicy, ClusterSpec, UpstreamProtocol, UpstreamTls};
pub use endpoint::{EndpointSpec, EndpointsSpec, Health};
pub use inbound::{InboundListener, MtlsMode};
pub use provenance::Provenance;
pub use type_url::ResourceType;

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
