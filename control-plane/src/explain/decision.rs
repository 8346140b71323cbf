//! The answer (EXPLAIN.md, "Decision"): a stable interface, every field always there, absent facts null.

use serde::{Deserialize, Serialize};

pub use super::inbound_decision::{Inbound, InboundRequest, TransportResult, Verdict};

/// What becomes of a request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What happens.
    pub outcome: Outcome,
    /// What the caller sees where its own side answers.
    pub status: Option<u16>,
    /// The same for gRPC.
    pub grpc_status: Option<u8>,
    /// Why its own side answers.
    pub reason: Option<String>,
    /// Envoy's flags.
    pub response_flags: String,
    /// The full name that was found for the host.
    pub host: Option<String>,
    /// The rule that takes the request.
    pub route: Option<RouteTaken>,
    /// Every weighted choice.
    pub destinations: Vec<Destination>,
    /// Which of them is sure.
    pub chosen: Option<usize>,
    /// The address, where the picker is deterministic.
    pub endpoint: Option<String>,
    /// Stickiness.
    pub sticky: Option<Sticky>,
    /// What is sent.
    pub upstream_request: Option<UpstreamRequest>,
    /// What happens to the response's headers.
    pub response_headers: HeaderChanges,
    /// Where the caller is sent.
    pub redirect: Option<RedirectTaken>,
    /// What is answered.
    pub direct_response: Option<DirectAnswer>,
    /// Of the whole request.
    pub timeout: Option<String>,
    /// What is done again.
    pub retries: Option<Retries>,
    /// Injected faults.
    pub fault: Faults,
    /// Who is asked whether the request may go on; the rest of the answer takes it for allowed, as a warning says. Absent from
    /// the contract's first version.
    pub external_auth: Option<AsksService>,
    /// Copies.
    pub mirrors: Vec<Mirror>,
    /// What the server makes of it.
    pub inbound: Option<Inbound>,
    /// What the reader should know besides.
    pub warnings: Vec<String>,
    /// The steps of the decision.
    pub trace: Vec<String>,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is sent on.
    #[default]
    Forward,
    /// The caller is sent elsewhere.
    Redirect,
    /// The rule answers.
    DirectResponse,
    /// A fault is injected.
    FaultAbort,
    /// No rule takes it.
    NoRoute,
    /// The destination does not exist.
    NoCluster,
    /// No endpoint takes requests.
    NoHealthyEndpoint,
    /// It cannot be made canonical.
    BadRequest,
    /// The host is outside the mesh, which is not allowed.
    DeniedOutbound,
    /// The host is outside the mesh and called as it is.
    Passthrough,
    /// Only the inbound side was asked.
    Inbound,
    /// This mesh cannot say.
    Unsupported,
}

/// The rule that takes the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTaken {
    /// `VirtualService/default/reviews`.
    pub document: Option<String>,
    /// `http[1]`.
    pub rule: Option<String>,
    /// The rule's own name.
    pub name: Option<String>,
    /// `reviews.yaml:14`.
    pub at: Option<String>,
}

/// A document and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentAt {
    /// `DestinationRule/default/reviews`.
    pub document: Option<String>,
    /// `reviews.yaml:40`.
    pub at: Option<String>,
}

/// One weighted choice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Destination {
    /// The service.
    pub host: String,
    /// Its subset.
    pub subset: Option<String>,
    /// Its port.
    pub port: u16,
    /// As written.
    pub weight: u32,
    /// Its share.
    pub odds: f64,
    /// The rules that shaped it.
    pub destination_rule: Vec<DocumentAt>,
    /// Who serves.
    pub endpoints: Vec<EndpointSeen>,
    /// How one of them is chosen.
    pub load_balancer: Option<String>,
    /// A hash policy.
    pub hash: Option<Sticky>,
    /// How it is spoken to.
    pub upstream_tls: Option<UpstreamTls>,
    /// Who may answer.
    pub server_identities: Vec<String>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSeen {
    /// Where it listens; null where no document tells.
    pub address: Option<String>,
    /// `default/reviews-v1`; null for a presumed one.
    pub workload: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// 0 first.
    pub priority: u32,
    /// Its own weight.
    pub weight: u32,
    /// Its locality's, where localities are weighted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality_weight: Option<u32>,
    /// Whether it takes requests.
    pub healthy: bool,
}

/// How a destination is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamTls {
    /// The mesh's own.
    MeshMtls,
    /// TLS.
    Tls,
    /// With the user's client certificate.
    MutualTls,
    /// None.
    Plaintext,
}

/// A sticky choice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sticky {
    /// `header:x-user`.
    pub on: String,
    /// The key.
    pub key: Option<String>,
    /// A cookie to be set.
    pub set_cookie: Option<String>,
}

/// What is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamRequest {
    /// The method.
    pub method: String,
    /// The authority.
    pub authority: String,
    /// The path with its query.
    pub path: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
}

/// What happens to headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderChanges {
    /// Replaced.
    pub set: Vec<(String, String)>,
    /// Appended.
    pub add: Vec<(String, String)>,
    /// Removed.
    pub remove: Vec<String>,
}

/// Where the caller is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedirectTaken {
    /// The status.
    pub status: u16,
    /// Exactly as sent.
    pub location: String,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
}

/// What is done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retries {
    /// Beyond the first.
    pub attempts: u32,
    /// On which conditions.
    pub on: Vec<String>,
    /// On which statuses.
    pub status_codes: Vec<u16>,
    /// Of each attempt.
    pub per_try_timeout: Option<String>,
}

/// Injected faults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Faults {
    /// A delay.
    pub delay: Option<FaultDelay>,
    /// An abort.
    pub abort: Option<FaultAbort>,
}

/// A delay that is injected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultDelay {
    /// Of how many requests.
    pub percentage: f64,
    /// How long.
    pub duration: String,
    /// Whether this request waits; null where a draw would have to decide.
    pub applies: Option<bool>,
}

/// An answer that is injected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultAbort {
    /// Of how many requests.
    pub percentage: f64,
    /// As an HTTP status.
    pub status: Option<u16>,
    /// As a gRPC status.
    pub grpc_status: Option<u8>,
    /// Whether this request is answered so; null where a draw would have to decide.
    pub applies: Option<bool>,
}

/// An authorization service that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsksService {
    /// The service.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What it speaks: `grpc` or `http`.
    pub protocol: String,
}

/// A copy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mirror {
    /// The service.
    pub host: String,
    /// Its subset.
    pub subset: Option<String>,
    /// Its port.
    pub port: u16,
    /// Of how many requests.
    pub percentage: f64,
}

impl Decision {
    /// A decision of which nothing is known but what happens.
    pub(super) fn new(outcome: Outcome) -> Self {
        Self { outcome, response_flags: "-".to_owned(), ..Self::default() }
    }
}
