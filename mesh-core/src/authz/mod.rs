//! The inbound decision: who may call what. Pure, shared by the data path and `explain`.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::canonical::CanonicalPath;
use crate::trace::Trace;

/// What a policy sees of a request.
#[derive(Debug, Clone, Copy)]
pub struct InboundFacts<'a> {
    /// The caller's SPIFFE ID without scheme (`cluster.local/ns/default/sa/productpage`), if mTLS proved one.
    pub principal: Option<&'a str>,
    /// The TCP peer.
    pub source_ip: Option<IpAddr>,
    /// The listening (workload) port.
    pub destination_port: u16,
    /// The HTTP part; absent for TCP.
    pub http: Option<InboundHttp<'a>>,
}

/// The HTTP part of what a policy sees.
#[derive(Debug, Clone, Copy)]
pub struct InboundHttp<'a> {
    /// The method.
    pub method: &'a Method,
    /// The `Host` header or `:authority`.
    pub authority: &'a str,
    /// The path, canonical.
    pub path: CanonicalPath<'a>,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// Every rule that holds for one listening address, compiled: DENY before ALLOW.
#[derive(Debug, Default, Clone)]
pub struct Policy {
    _rules: Arc<()>,
}

/// The answer, naming what decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'p> {
    /// Whether the request goes on.
    pub allowed: bool,
    /// The policy key (`AuthorizationPolicy/default/reviews rules[0]`) that decided; none for the default.
    pub rule: Option<&'p str>,
    /// `file:line` of that rule.
    pub at: Option<&'p str>,
}

impl Policy {
    /// Decides on one request.
    pub fn decide(&self, facts: &InboundFacts<'_>, trace: &mut impl Trace) -> Verdict<'_> {
        let _ = (facts, trace);
        unimplemented!("owned by the core engineer")
    }
}
