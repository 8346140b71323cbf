//! A cluster: one set of endpoints and how to talk to them.

use std::sync::Arc;
use std::time::Duration;

use super::Provenance;

/// What a `Cluster` resource says, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// `outbound|9080|v1|reviews.default.svc.cluster.local`.
    pub name: Arc<str>,
    /// The service's full name.
    pub host: Arc<str>,
    /// The service's port.
    pub port: u16,
    /// The subset, where the cluster is one.
    pub subset: Option<Arc<str>>,
    /// The name under which its endpoints come.
    pub endpoints_name: Arc<str>,
    /// How a mesh endpoint of it is spoken to.
    pub tls: UpstreamTls,
    /// The HTTP version towards it.
    pub protocol: UpstreamProtocol,
    /// How an endpoint is chosen.
    pub balancer: BalancerPolicy,
    /// How long a connect (TCP and TLS) may take.
    pub connect_timeout: Duration,
    /// The DestinationRules that shaped it.
    pub destination_rules: Vec<Provenance>,
}

/// Transport security towards a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamTls {
    /// None.
    Plaintext,
    /// The mesh's own: our SVID against theirs.
    MeshMtls {
        /// The SPIFFE IDs that may answer, with scheme; empty refuses all.
        identities: Arc<[Arc<str>]>,
        /// The SNI to send.
        sni: Arc<str>,
    },
}

/// The HTTP version towards a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// What ALPN says (TLS only).
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in plaintext by prior knowledge.
    Http2,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BalancerPolicy {
    /// The better of two drawn ones (P2C).
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
}
