//! The `inbound` part of the answer: what the server makes of a request.

use serde::{Deserialize, Serialize};

use super::Transport;

/// What the server makes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inbound {
    /// `default/reviews-v1`.
    pub workload: Option<String>,
    /// `PERMISSIVE`.
    pub mtls_mode: String,
    /// How it arrives.
    pub transport: Transport,
    /// What becomes of that.
    pub transport_result: TransportResult,
    /// Why the transport is not taken.
    pub reason: Option<String>,
    /// Who the server sees.
    pub principal: Option<String>,
    /// Which end user it sees.
    pub request_principal: Option<String>,
    /// `allow` or `deny`.
    pub decision: Verdict,
    /// What decided.
    pub policy: Option<String>,
    /// Which rule of it.
    pub rule: Option<String>,
    /// Its place.
    pub at: Option<String>,
    /// The status.
    pub status: Option<u16>,
    /// The same for gRPC.
    pub grpc_status: Option<u8>,
    /// Dry-run policies.
    pub would_deny: Vec<serde_json::Value>,
    /// What the application receives.
    pub request: Option<InboundRequest>,
}

/// What becomes of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransportResult {
    /// It is taken.
    Accepted,
    /// It is not.
    Refused,
    /// TLS passes to the application.
    ForwardUntouched,
    /// The port speaks something else.
    ProtocolError,
}

/// Whether a request is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Allow,
    /// It is not.
    Deny,
}

/// What the application receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundRequest {
    /// The authority.
    pub authority: String,
    /// The canonical path with its query.
    pub path: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
}
