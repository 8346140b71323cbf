//! The inbound side of one listening address: transport mode and policy.

use std::sync::Arc;

use super::Provenance;
use crate::authz::Policy;

/// What an inbound `Listener` says, parsed.
#[derive(Debug, Clone)]
pub struct InboundListener {
    /// `inbound/10.0.0.7:9080`.
    pub name: Arc<str>,
    /// `default/reviews-v1`.
    pub workload: Option<Arc<str>>,
    /// Which transports are let in.
    pub mtls_mode: MtlsMode,
    /// What set the mode, if a document did.
    pub mtls_provenance: Provenance,
    /// Who may call what.
    pub policy: Policy,
}

/// `PeerAuthentication.mtls.mode`, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MtlsMode {
    /// TLS is not terminated; it passes to the application.
    Disable,
    /// mTLS and plaintext on one port.
    Permissive,
    /// mTLS only.
    Strict,
}
