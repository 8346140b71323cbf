//! The routing decision: which rule of a host takes a request, where it goes and what is changed on the way. Pure, and shared
//! by the data path and `explain`.

mod action;
mod claim;
mod cors;
mod external_auth;
mod fault;
mod fraction;
mod hash_policy;
mod header_operations;
mod index;
mod mirror;
mod opaque;
mod redirect;
mod retry;
mod rewrite;
mod route_match;
mod session;
mod sip_hash;
mod split;
mod sticky;
mod sticky_key;
mod table;

use http::{HeaderMap, Method};

use crate::canonical::CanonicalPath;

pub use action::{DirectResponse, Forward, RouteAction};
pub use cors::{CorsPolicy, CorsVerdict, UnmatchedPreflights};
pub use external_auth::{AuthBody, AuthProtocol, ExternalAuth, GrpcAuth, HttpAuth};
pub use fault::{Abort, AbortStatus, Delay, FaultInjection};
pub use fraction::Fraction;
pub use hash_policy::{
    HashCookie, HashKey, HashPolicy, HashSource, HashTableKind, Hashed, NotAHashKey, RequestKey,
};
pub use header_operations::HeaderOperations;
pub use mirror::Mirror;
pub use opaque::{Ambiguous, OpaqueRule, OpaqueTable};
pub use redirect::Redirect;
pub use retry::{Outcome, RetryCondition, RetryPolicy};
pub use rewrite::{PathRewrite, Rewrite};
pub use route_match::{PathMatch, QueryMatch, RouteMatch};
pub(crate) use session::address_bytes;
pub use session::{Session, SessionLifetime};
pub(crate) use sip_hash::SipHash;
pub use split::{Choice, Split, WeightedDestination};
pub use sticky_key::{KeySource, NotAStickyKey, StickyKey};
pub use table::{Route, RouteFilters, RouteTable};

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

/// The first value of a query parameter, as it is written; a parameter without `=` has an empty one.
fn query_value<'q>(query: Option<&'q str>, name: &str) -> Option<&'q str> {
    let mut pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests;
