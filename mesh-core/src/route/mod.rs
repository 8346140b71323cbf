//! The routing decision: which rule of a host takes a request, where it goes and what is changed on the way.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::canonical::CanonicalPath;
use crate::resource::Provenance;
use crate::trace::Trace;

/// What the matchers see of a request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// The method.
    pub method: &'a Method,
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The `Host` header or `:authority`, as the request says it.
    pub authority: &'a str,
    /// The path, canonical.
    pub path: CanonicalPath<'a>,
    /// The query without `?`.
    pub query: Option<&'a str>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// All routes of one host, compiled.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
}

/// One rule.
#[derive(Debug)]
pub struct Route {
    /// Where it came from.
    pub provenance: Provenance,
    /// What it does.
    pub action: RouteAction,
    /// Applied to the request, before the destination's own.
    pub request_headers: HeaderOperations,
    /// Applied to the response, before the destination's own.
    pub response_headers: HeaderOperations,
}

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
    /// Retries beyond the first attempt; `None` for none.
    pub retry: Option<RetryPolicy>,
    /// What path and authority become.
    pub rewrite: Rewrite,
}

/// Weighted destinations.
#[derive(Debug)]
pub struct Split {
    /// In the document's order.
    pub destinations: Vec<WeightedDestination>,
}

/// One choice of a split.
#[derive(Debug)]
pub struct WeightedDestination {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Its place in [`crate::snapshot::HostConfig::clusters`].
    pub cluster_index: usize,
    /// Relative to the sum of all.
    pub weight: u32,
    /// Applied after the route's.
    pub request_headers: HeaderOperations,
    /// Applied after the route's.
    pub response_headers: HeaderOperations,
}

/// What is done again, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts beyond the first.
    pub attempts: u32,
    /// Conditions in Envoy's words: `connect-failure`, `refused-stream`, `reset-before-request`, …
    pub on: Vec<Arc<str>>,
}

/// Changes to path and authority.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// What the path becomes.
    pub path: Option<PathRewrite>,
    /// What the authority becomes.
    pub authority: Option<HeaderValue>,
}

/// A change of the path.
#[derive(Debug)]
pub enum PathRewrite {
    /// The matched prefix is replaced.
    Prefix {
        /// What matched.
        matched: Arc<str>,
        /// What stands there instead.
        replacement: Arc<str>,
    },
    /// The whole path is replaced.
    Full(Arc<str>),
    /// RE2 with back references `\1`.
    Regex {
        /// What is searched, compiled.
        pattern: regex_automata::meta::Regex,
        /// The substitution.
        substitution: Arc<str>,
    },
}

/// An answer with another location.
#[derive(Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The new scheme.
    pub scheme: Option<Arc<str>>,
    /// The new host, without port.
    pub host: Option<Arc<str>>,
    /// The new port; `None` keeps what the request says.
    pub port: Option<u16>,
    /// What the path becomes.
    pub path: Option<PathRewrite>,
}

/// An answer made by the rule itself.
#[derive(Debug)]
pub struct DirectResponse {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: bytes::Bytes,
}

/// Header changes in order: set overwrites, add appends, remove last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderOperations {
    /// Overwritten.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Appended.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Removed.
    pub remove: Vec<HeaderName>,
}

impl RouteTable {
    /// The first rule that matches, in the documents' order; `None` is 404.
    pub fn decide(&self, request: &RequestFacts<'_>, trace: &mut impl Trace) -> Option<&Route> {
        let _ = (request, trace);
        unimplemented!("owned by the core engineer")
    }

    /// All rules in order.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}

impl Split {
    /// The destination for a number drawn from [0, 1); 0 among others is never chosen.
    pub fn choose(&self, draw: f64) -> Option<&WeightedDestination> {
        let _ = draw;
        unimplemented!("owned by the core engineer")
    }
}

impl Route {
    /// Applies the rule and the chosen destination to the request's head: rewrite, then header operations.
    pub fn apply_request(&self, destination: &WeightedDestination, parts: &mut http::request::Parts) {
        let _ = (destination, parts);
        unimplemented!("owned by the core engineer")
    }

    /// Applies header operations to the response's head.
    pub fn apply_response(&self, destination: &WeightedDestination, headers: &mut HeaderMap) {
        let _ = (destination, headers);
        unimplemented!("owned by the core engineer")
    }
}

impl Redirect {
    /// The `location` for a request.
    pub fn location(&self, request: &RequestFacts<'_>) -> String {
        let _ = request;
        unimplemented!("owned by the core engineer")
    }
}
