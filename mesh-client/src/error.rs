//! Why a request got no answer from its destination: one small enum, whose statuses are those of `mesh_core::status`.
//!
//! As with a sidecar, such a failure reaches the caller as a *response* (503, 504, 404 …; gRPC: trailers-only), so that code
//! which works behind Envoy works here. The error itself stands in the response's extensions for whoever wants the cause, and
//! so does the rule that had been chosen (`mesh_core::resource::Provenance`: document, rule, file and line).

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use mesh_core::canonical::{NotAHost, NotCanonical};
use mesh_core::mesh::ResolveError;
use mesh_core::resource::Provenance;
use mesh_core::route::AbortStatus;
use mesh_core::status::{Fault, NOT_OPAQUE, OPAQUE, ResponseFlag};

use crate::connection::ConnectError;

/// Why the mesh answered in the destination's place; found in the extensions of such a response.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// The request says no host that could be called.
    #[error("no host to call: {0}; write the URI as http://HOST:PORT/PATH")]
    Host(#[from] NotAHost),
    /// The path means different things to different readers.
    #[error("{0}")]
    Path(#[from] NotCanonical),
    /// The request cannot be carried.
    #[error("the request cannot be sent: {0}")]
    Unsendable(Arc<str>),
    /// The caller's body failed before it was read to its end.
    #[error("the request's body failed: {0}")]
    RequestBody(Arc<str>),
    /// The host's configuration is not there.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The host is outside the mesh, and `outbound_traffic_policy` is `REGISTRY_ONLY`.
    #[error(
        "{host} is not in the mesh, and the mesh lets nothing out (outbound_traffic_policy REGISTRY_ONLY); \
             add a ServiceEntry for it"
    )]
    OutsideRefused {
        /// As dialled.
        host: Arc<str>,
    },
    /// TLS of the caller's own has no place here.
    #[error(
        "{host}: https is not carried: the mesh encrypts by itself, so call mesh hosts as http://, and hosts outside \
             the mesh with a TLS client of your own"
    )]
    Https {
        /// As dialled.
        host: Arc<str>,
    },
    /// A request to a port that carries bytes.
    #[error("{host}: {OPAQUE}")]
    Opaque {
        /// As dialled.
        host: Arc<str>,
    },
    /// A connection of bytes to a port that carries requests.
    #[error("{host}: {NOT_OPAQUE}")]
    NotOpaque {
        /// As dialled.
        host: Arc<str>,
    },
    /// No rule of the host takes the server name, or the lack of one.
    #[error("{host}: no rule of {documents} takes {}", described(.server_name))]
    NoServerName {
        /// As dialled.
        host: Arc<str>,
        /// What was said.
        server_name: Option<Arc<str>>,
        /// Whose rules they are, such as `VirtualService/default/db`.
        documents: Arc<str>,
    },
    /// No rule of the host takes the request.
    #[error("{host}: no rule of {documents} matches the request")]
    NoRoute {
        /// As dialled.
        host: Arc<str>,
        /// Whose rules they are, such as `VirtualService/default/reviews`.
        documents: Arc<str>,
    },
    /// The rule names a cluster that does not exist.
    #[error("{host}: the route's cluster {cluster} does not exist")]
    NoCluster {
        /// As dialled.
        host: Arc<str>,
        /// The cluster's name.
        cluster: Arc<str>,
        /// What the rule answers then.
        status: StatusCode,
    },
    /// Nobody of the cluster may be asked.
    #[error("{cluster}: no healthy upstream{}", unresolved.as_deref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
    NoHealthyEndpoint {
        /// The cluster's name.
        cluster: Arc<str>,
        /// Why one of its names has no address.
        unresolved: Option<Arc<str>>,
    },
    /// No connection came about.
    #[error(transparent)]
    Connect(#[from] Arc<ConnectError>),
    /// A limit was reached, and nothing waits for a place.
    #[error("{of}: {limit}")]
    Overflow {
        /// The cluster or the endpoint that has the limit.
        of: Arc<str>,
        /// Which limit.
        limit: Limit,
    },
    /// It failed, and the cluster's limit of retries kept it from being tried again.
    #[error(
        "{error}; it is not tried again, for the retries of {cluster} are at their limit (retryBudget, maxRetries)"
    )]
    RetryOverflow {
        /// The cluster's name.
        cluster: Arc<str>,
        /// What happened at last.
        #[source]
        error: Arc<ClientError>,
    },
    /// The endpoint said, or it is certain, that it did not look at the request.
    #[error("endpoint {endpoint} did not take the request: {cause}")]
    Refused {
        /// Its address.
        endpoint: Arc<str>,
        /// What happened.
        cause: Arc<str>,
    },
    /// The endpoint ended the request, or the connection broke; it may have been processed.
    #[error("endpoint {endpoint} broke off before it answered: {cause}")]
    Broken {
        /// Its address.
        endpoint: Arc<str>,
        /// What happened.
        cause: Arc<str>,
        /// Whether the endpoint ended this request alone (`UR`) or the connection broke (`UC`).
        reset: bool,
    },
    /// What the endpoint answered breaks the protocol's rules, or passes a limit. It may have processed the request.
    #[error("endpoint {endpoint} answered what is no HTTP, or too much of it: {cause}")]
    Protocol {
        /// Its address.
        endpoint: Arc<str>,
        /// What was wrong.
        cause: Arc<str>,
    },
    /// The endpoint answered 101 and wants to speak what the request did not ask for. The connection was closed.
    #[error(
        "endpoint {endpoint} switched the connection to `{protocol}` (101), which the request did not ask for; only \
             WebSocket handshakes (GET, HTTP/1.1, no body) ask for an upgrade here"
    )]
    Switched {
        /// Its address.
        endpoint: Arc<str>,
        /// What it names.
        protocol: Arc<str>,
    },
    /// The route's timeout or the caller's deadline passed.
    #[error("upstream request timeout")]
    Deadline,
    /// The rule's authorization service says no; the response is its own.
    #[error("the authorization service {cluster} denied the request with {status}")]
    Denied {
        /// The service's cluster.
        cluster: Arc<str>,
        /// What it denied the request with.
        status: StatusCode,
    },
    /// The rule's authorization service did not say that the request may go on.
    #[error("denied, for the authorization service {cluster} gave no verdict: {reason}")]
    NotAuthorized {
        /// The service's cluster.
        cluster: Arc<str>,
        /// What kept it from giving one.
        reason: Arc<str>,
    },
    /// The rule answers so on purpose (`fault.abort`).
    #[error("fault filter abort")]
    Injected(AbortStatus),
}

/// A limit of what there may be at a time, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Of open connections.
    #[error("all {0} connections that there may be are taken (maxConnections)")]
    Connections(u32),
    /// Of requests that wait for a connection.
    #[error("{0} requests wait for a connection, and no more may (http1MaxPendingRequests)")]
    Pending(u32),
    /// Of requests under way.
    #[error("{0} requests are under way, and no more may be (http2MaxRequests)")]
    Requests(u32),
}

/// An error and the rule under which it came about, if one had been chosen by then.
#[derive(Debug)]
pub struct Failure {
    /// What happened.
    pub error: ClientError,
    /// By which rule the request or the connection was to go.
    pub rule: Option<Provenance>,
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl<E: Into<ClientError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), rule: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.error)?;
        match (&self.rule, &self.error) {
            // An injected fault is to look like a real one.
            (Some(rule), error) if !matches!(error, ClientError::Injected(_)) => write!(out, ", by {rule}"),
            _ => Ok(()),
        }
    }
}

fn described(server_name: &Option<Arc<str>>) -> String {
    match server_name {
        Some(name) => format!("the server name {name}"),
        None => "a connection without a server name; say it with `connect_tls`".to_owned(),
    }
}

/// Who has to do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The code that made the request.
    Caller,
    /// Configuration, control plane, or the absence of them.
    Mesh,
    /// The endpoint, or the network before it.
    Peer,
}

impl ClientError {
    /// Who has to do something about it.
    pub fn side(&self) -> Side {
        match self {
            Self::Host(_)
            | Self::Path(_)
            | Self::Unsendable(_)
            | Self::RequestBody(_)
            | Self::Https { .. }
            | Self::Opaque { .. }
            | Self::NotOpaque { .. }
            | Self::Denied { .. } => Side::Caller,
            Self::Resolve(_)
            | Self::OutsideRefused { .. }
            | Self::NoRoute { .. }
            | Self::NoServerName { .. }
            | Self::NoCluster { .. }
            | Self::NoHealthyEndpoint { .. }
            | Self::Injected(_) => Side::Mesh,
            Self::Connect(_)
            | Self::Overflow { .. }
            | Self::Refused { .. }
            | Self::Broken { .. }
            | Self::Protocol { .. }
            | Self::Switched { .. }
            | Self::NotAuthorized { .. }
            | Self::Deadline => Side::Peer,
            Self::RetryOverflow { error, .. } => error.side(),
        }
    }

    /// What kind of fault it is, from which status and flag follow.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Host(_) => Fault::BadRequest("the request names no host"),
            Self::Path(NotCanonical(reason)) => Fault::BadRequest(reason),
            Self::Unsendable(_) => Fault::BadRequest("the request cannot be sent"),
            Self::Opaque { .. } => Fault::BadRequest(OPAQUE),
            Self::RequestBody(_) => Fault::RequestBody,
            Self::Resolve(_) => Fault::Unresolved,
            Self::OutsideRefused { .. } | Self::Https { .. } => Fault::DeniedOutbound,
            Self::NotOpaque { .. } => Fault::BadRequest(NOT_OPAQUE),
            Self::NoRoute { .. } | Self::NoServerName { .. } => Fault::NoRoute,
            Self::NoCluster { status, .. } => Fault::NoCluster(*status),
            Self::NoHealthyEndpoint { .. } => Fault::NoHealthyEndpoint,
            Self::Connect(_) => Fault::UpstreamConnect,
            Self::Overflow { .. } => Fault::Overflow,
            Self::Refused { .. } | Self::Broken { reset: true, .. } => Fault::UpstreamReset,
            Self::Broken { reset: false, .. } => Fault::UpstreamTermination,
            Self::Protocol { .. } | Self::Switched { .. } => Fault::UpstreamProtocol,
            Self::Deadline => Fault::Timeout,
            Self::Denied { status, .. } => Fault::ExternalAuth(*status),
            Self::NotAuthorized { .. } => Fault::ExternalAuth(StatusCode::FORBIDDEN),
            Self::Injected(status) => status.fault(),
            Self::RetryOverflow { error, .. } => error.fault(),
        }
    }

    /// The flag for logs and metrics; `None` where Envoy has none.
    pub fn flag(&self) -> Option<ResponseFlag> {
        match self {
            Self::RetryOverflow { .. } => Some(ResponseFlag::UO),
            error => error.fault().flag(),
        }
    }

    /// The HTTP status of the response made of it.
    pub fn status(&self) -> StatusCode {
        self.fault().status()
    }

    /// The gRPC status of the response made of it.
    pub fn grpc_status(&self) -> u8 {
        self.fault().grpc_status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_side_flag_and_status_in_both_protocols() {
        let host: Arc<str> = "reviews:9080".into();
        let endpoint: Arc<str> = "127.0.0.1:9080".into();
        let check = |error: ClientError, side, flag, status, grpc_status| {
            assert_eq!(error.side(), side, "{error}");
            assert_eq!(error.flag().map(ResponseFlag::as_str), flag, "{error}");
            assert_eq!(error.status().as_u16(), status, "{error}");
            assert_eq!(error.grpc_status(), grpc_status, "{error}");
        };
        check(
            ClientError::NoRoute { host: host.clone(), documents: "VirtualService/default/reviews".into() },
            Side::Mesh,
            Some("NR"),
            404,
            12,
        );
        check(ClientError::OutsideRefused { host }, Side::Mesh, None, 502, 14);
        check(ClientError::Deadline, Side::Peer, Some("UT"), 504, 4);
        check(
            ClientError::Overflow { of: endpoint.clone(), limit: Limit::Pending(1) },
            Side::Peer,
            Some("UO"),
            503,
            14,
        );
        check(
            ClientError::Broken { endpoint: endpoint.clone(), cause: "eof".into(), reset: false },
            Side::Peer,
            Some("UC"),
            503,
            14,
        );
        let reset = ClientError::Broken { endpoint: endpoint.clone(), cause: "eof".into(), reset: true };
        let cluster = || Arc::from("outbound|9000||auth.default.svc.cluster.local");
        let last = ClientError::RetryOverflow { cluster: cluster(), error: reset.into() };
        check(last, Side::Peer, Some("UO"), 503, 14);
        let switched = ClientError::Switched { endpoint, protocol: "h2c".into() };
        check(switched, Side::Peer, Some("UPE"), 502, 14);
        check(ClientError::Unsendable("CONNECT".into()), Side::Caller, None, 400, 13);
        let denied = ClientError::Denied { cluster: cluster(), status: StatusCode::UNAUTHORIZED };
        check(denied, Side::Caller, Some("UAEX"), 401, 16);
        let silent = ClientError::NotAuthorized { cluster: cluster(), reason: "it does not exist".into() };
        check(silent, Side::Peer, Some("UAEX"), 403, 7);
        let injected = AbortStatus::Http(StatusCode::IM_A_TEAPOT);
        check(ClientError::Injected(injected), Side::Mesh, Some("FI"), 418, 2);
    }
}
