//! Asking an authorization service whether a request may go on, before the rule acts.

use std::sync::Arc;
use std::time::Duration;

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
}

/// What an authorization service speaks.
#[derive(Debug, Clone)]
pub enum AuthProtocol {
    /// `envoy.service.auth.v3.Authorization` at this authority.
    Grpc(Authority),
    /// The request's own head, where 200 says yes.
    Http(HttpAuth),
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
