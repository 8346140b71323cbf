//! What a rule does with the request that it takes.

use std::time::Duration;

use http::StatusCode;

use super::{Mirror, Redirect, RetryPolicy, Rewrite, Split};

/// What a rule does.
#[derive(Debug)]
pub enum RouteAction {
    /// Send it on.
    Forward(Forward),
    /// Answer with another location.
    Redirect(Redirect),
    /// Answer right here.
    DirectResponse(DirectResponse),
}

/// Sending a request on.
#[derive(Debug)]
pub struct Forward {
    /// Where to, by weight; never empty.
    pub split: Split,
    /// Of the whole request with its retries.
    pub timeout: Option<Duration>,
    /// Retries beyond the first attempt; `None` for none, and for attempts without a limit of their own.
    pub retry: Option<RetryPolicy>,
    /// The status where the chosen destination does not exist: 503, or 500 for a Gateway API backend.
    pub no_cluster_status: StatusCode,
    /// What path and authority become.
    pub rewrite: Rewrite,
    /// Copies of what is sent.
    pub mirrors: Vec<Mirror>,
}

/// An answer made by the rule itself.
#[derive(Debug)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: bytes::Bytes,
}
