//! Asking an authorization service whether a request may go on, before the rule acts.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use http::uri::Authority;

use crate::matcher::Pattern;

/// Whom a rule asks, and how. Without an answer that says yes, the request is denied.
#[derive(Debug, Clone)]
pub struct ExternalAuth {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Its place in [`crate::snapshot::HostConfig::clusters`].
    pub cluster_index: usize,
    /// What the service speaks.
    pub protocol: AuthProtocol,
    /// How long is waited for its answer.
    pub timeout: Duration,
    /// What of the request's body it is told; nothing, and then the body is not waited for, unless it is said.
    pub body: Option<AuthBody>,
}

/// How much of a request's body is told, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthBody {
    /// Where it is cut off.
    pub bytes_max: usize,
    /// Whether gRPC carries it as bytes (`raw_body`), not as text (`body`).
    pub as_bytes: bool,
}

/// What an authorization service speaks.
#[derive(Debug, Clone)]
pub enum AuthProtocol {
    /// `envoy.service.auth.v3.Authorization`.
    Grpc(GrpcAuth),
    /// The request's own head, where 200 says yes.
    Http(HttpAuth),
}

/// A service of gRPC, and what of a request it is told.
#[derive(Debug, Clone)]
pub struct GrpcAuth {
    /// By which name it is called.
    pub authority: Authority,
    /// The headers that are told; all of them, and Envoy's pseudo headers, where nothing is said.
    pub request_headers: Option<Box<[HeaderName]>>,
}

/// What of a request the service is told, and what of its answer goes on.
#[derive(Debug, Clone, Default)]
pub struct HttpAuth {
    /// Put before the request's path.
    pub path_prefix: Box<str>,
    /// The headers that are told; `authorization` always is.
    pub request_headers: Vec<Pattern>,
    /// The headers of a yes that the request takes along.
    pub answer_headers: Vec<Pattern>,
}
