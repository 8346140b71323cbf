//! What a rule does with the request that it takes.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::{Mirror, Redirect, Rewrite, Split};

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

/// What is done again, how often, and how long each attempt may take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts beyond the first.
    pub attempts: u32,
    /// Conditions in Envoy's words: `connect-failure`, `refused-stream`, `reset-before-request`, …
    pub on: Vec<Arc<str>>,
    /// Of each attempt, the first among them, until its answer begins. What takes longer may have been done: it is a timeout,
    /// and not tried again.
    pub per_try_timeout: Option<Duration>,
}

/// An answer made by the rule itself.
#[derive(Debug)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: bytes::Bytes,
}
