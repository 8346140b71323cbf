//! The answers that the mesh itself gives in place of a peer: one mapping to HTTP and gRPC status and to the response flags
//! that metrics and logs show.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// Why a port takes no requests, and what to do about it.
pub const OPAQUE: &str = "the port carries bytes: it is declared TCP or TLS, or has rules for connections only; connect \
                          with a MeshConnector, or name the port `http-…`";
/// Why a port takes no connections of bytes, and what to do about it.
pub const NOT_OPAQUE: &str = "the port carries HTTP: it is declared so, or has rules for requests only; send requests \
                              with a MeshClient, or name the port `tcp-…` and write `tcp` rules";

/// Why the mesh answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The request cannot be made canonical, or cannot be carried.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// The caller's body failed before it was read to its end.
    #[error("the request's body failed")]
    RequestBody,
    /// The inbound policy refuses.
    #[error("RBAC: access denied")]
    Denied,
    /// There is no inbound policy to decide by.
    #[error("the service is not configured")]
    NotConfigured,
    /// The service itself failed: its handler panicked, or its mesh layer stands where it protects nothing.
    #[error("internal error")]
    Internal,
    /// No rule of the host takes the request.
    #[error("no route matches the request")]
    NoRoute,
    /// The rule's destination does not exist; the rule says with which status that is answered.
    #[error("the destination does not exist")]
    NoCluster(StatusCode),
    /// The host's configuration is not here, and cannot be had now.
    #[error("the host is not resolved")]
    Unresolved,
    /// The mesh has no such host and must not pass through.
    #[error("the host is outside the mesh, which its settings do not allow")]
    DeniedOutbound,
    /// No endpoint takes requests.
    #[error("no healthy upstream")]
    NoHealthyEndpoint,
    /// Too many requests wait for an endpoint.
    #[error("upstream overflow")]
    Overflow,
    /// No connection to an endpoint could be made.
    #[error("upstream connect error")]
    UpstreamConnect,
    /// The endpoint ended the request before it answered.
    #[error("upstream reset before headers")]
    UpstreamReset,
    /// The connection to the endpoint ended before an answer.
    #[error("upstream disconnect before headers")]
    UpstreamTermination,
    /// What the endpoint answered breaks the protocol.
    #[error("upstream protocol error")]
    UpstreamProtocol,
    /// The time for the request is over.
    #[error("upstream request timeout")]
    Timeout,
    /// The authorization service of a rule says no, or says nothing that counts.
    #[error("external authorization: access denied")]
    ExternalAuth(StatusCode),
    /// A rule answers so on purpose.
    #[error("fault filter abort")]
    Injected {
        /// What an HTTP caller sees.
        status: StatusCode,
        /// What a gRPC caller sees.
        grpc_status: u8,
    },
}

/// What happened, in Envoy's words for access logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResponseFlag {
    /// No route.
    NR,
    /// No cluster.
    NC,
    /// No healthy upstream.
    UH,
    /// Upstream connection failure.
    UF,
    /// Upstream overflow.
    UO,
    /// Upstream retry limit exceeded.
    URX,
    /// Upstream remote reset.
    UR,
    /// Upstream connection termination.
    UC,
    /// Upstream protocol error.
    UPE,
    /// Upstream request timeout.
    UT,
    /// Downstream connection termination: the caller's part failed.
    DC,
    /// Delay injected.
    DI,
    /// Fault injected.
    FI,
    /// Unauthorized by the external service.
    UAEX,
}

impl Fault {
    /// An injected fault that is written as an HTTP status.
    pub fn injected_http(status: StatusCode) -> Self {
        Self::Injected { status, grpc_status: grpc_status_of(status) }
    }

    /// An injected fault that is written as a gRPC status.
    pub fn injected_grpc(grpc_status: u8) -> Self {
        Self::Injected { status: http_status_of(grpc_status), grpc_status }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::RequestBody => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoCluster(status) | Self::ExternalAuth(status) | Self::Injected { status, .. } => *status,
            Self::DeniedOutbound | Self::UpstreamProtocol => StatusCode::BAD_GATEWAY,
            Self::NotConfigured
            | Self::Unresolved
            | Self::NoHealthyEndpoint
            | Self::Overflow
            | Self::UpstreamConnect
            | Self::UpstreamReset
            | Self::UpstreamTermination => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The gRPC status, as gRPC reads the HTTP one; a timeout is `DEADLINE_EXCEEDED` to a gRPC caller, and what failed in the
    /// service is `INTERNAL`.
    pub fn grpc_status(&self) -> u8 {
        match (self, self.status()) {
            (Self::Timeout, _) => GRPC_DEADLINE_EXCEEDED,
            (Self::Internal, _) => GRPC_INTERNAL,
            (Self::Injected { grpc_status, .. }, _) => *grpc_status,
            // A denial is none of success, with whatever status it is worded.
            (Self::ExternalAuth(_), status) if status.is_success() => GRPC_PERMISSION_DENIED,
            (_, status) => grpc_status_of(status),
        }
    }

    /// Envoy's response flag, where it has one.
    pub fn flag(&self) -> Option<ResponseFlag> {
        match self {
            Self::NoRoute => Some(ResponseFlag::NR),
            Self::NoCluster(_) | Self::Unresolved => Some(ResponseFlag::NC),
            Self::NoHealthyEndpoint => Some(ResponseFlag::UH),
            Self::Overflow => Some(ResponseFlag::UO),
            Self::UpstreamConnect => Some(ResponseFlag::UF),
            Self::UpstreamReset => Some(ResponseFlag::UR),
            Self::UpstreamTermination => Some(ResponseFlag::UC),
            Self::UpstreamProtocol => Some(ResponseFlag::UPE),
            Self::Timeout => Some(ResponseFlag::UT),
            Self::RequestBody => Some(ResponseFlag::DC),
            Self::Injected { .. } => Some(ResponseFlag::FI),
            Self::ExternalAuth(_) => Some(ResponseFlag::UAEX),
            Self::BadRequest(_)
            | Self::Denied
            | Self::NotConfigured
            | Self::Internal
            | Self::DeniedOutbound => None,
        }
    }

    /// The flag as access logs write it; `-` for none.
    pub fn response_flags(&self) -> &'static str {
        self.flag().map_or("-", ResponseFlag::as_str)
    }
}

impl ResponseFlag {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 14] = [
        Self::NR,
        Self::NC,
        Self::UH,
        Self::UF,
        Self::UO,
        Self::URX,
        Self::UR,
        Self::UC,
        Self::UPE,
        Self::UT,
        Self::DC,
        Self::DI,
        Self::FI,
        Self::UAEX,
    ];

    /// As access logs write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NR => "NR",
            Self::NC => "NC",
            Self::UH => "UH",
            Self::UF => "UF",
            Self::UO => "UO",
            Self::URX => "URX",
            Self::UR => "UR",
            Self::UC => "UC",
            Self::UPE => "UPE",
            Self::UT => "UT",
            Self::DC => "DC",
            Self::DI => "DI",
            Self::FI => "FI",
            Self::UAEX => "UAEX",
        }
    }
}

/// The answer for a fault, in its own words; the fault itself goes along as an extension, for metrics.
pub fn answer(fault: &Fault, is_grpc: bool) -> Response<Bytes> {
    let mut response = reply(fault.status(), fault.grpc_status(), fault.to_string().into(), is_grpc);
    response.extensions_mut().insert(*fault);
    response
}

/// An answer that the mesh words itself. A gRPC caller gets a response without body whose headers are the trailers, with
/// the text as its message.
pub fn reply(status: StatusCode, grpc_status: u8, text: Bytes, is_grpc: bool) -> Response<Bytes> {
    if is_grpc {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(grpc_status)));
        headers.insert(GRPC_MESSAGE, grpc_message(&text));
        return response;
    }
    let length = HeaderValue::from(text.len());
    let mut response = Response::new(text);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Whether a request is a gRPC call, by its content type.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let Some(rest) = content_type.strip_prefix(b"application/grpc") else { return false };
    matches!(rest.first(), None | Some(b'+' | b';'))
}

/// The gRPC status that stands for an HTTP status (gRPC's `http-grpc-status-mapping.md`).
pub fn grpc_status_of(status: StatusCode) -> u8 {
    match status.as_u16() {
        200 => 0,
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// The HTTP status that stands for a gRPC status (`google.rpc.Code`'s own table).
pub(crate) fn http_status_of(grpc_status: u8) -> StatusCode {
    let status = match grpc_status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    };
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Percent-encoded as gRPC wants it: all but printable ASCII, and `%` itself.
fn grpc_message(text: &[u8]) -> HeaderValue {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(char::from(*byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(encoded).expect("printable ASCII is a header value")
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DEADLINE_EXCEEDED: u8 = 4;
const GRPC_PERMISSION_DENIED: u8 = 7;
const GRPC_INTERNAL: u8 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fault: Fault, status: u16, grpc_status: &str, flags: &str) {
        let http = answer(&fault, false);
        assert_eq!((http.status().as_u16(), fault.response_flags()), (status, flags));
        assert_eq!(http.body(), &fault.to_string());
        let grpc = answer(&fault, true);
        assert_eq!(
            (grpc.status().as_u16(), &grpc.headers()["grpc-status"]),
            (200, &HeaderValue::from_str(grpc_status).expect("value"))
        );
        assert_eq!(grpc.headers()["grpc-message"], fault.to_string());
        assert!(grpc.body().is_empty());
        assert_eq!(grpc.extensions().get::<Fault>(), Some(&fault));
    }

    #[test]
    fn every_fault_has_its_status_and_flags() {
        check(Fault::BadRequest("why"), 400, "13", "-");
        check(Fault::Denied, 403, "7", "-");
        check(Fault::NotConfigured, 503, "14", "-");
        check(Fault::Internal, 500, "13", "-");
        check(Fault::NoRoute, 404, "12", "NR");
        check(Fault::NoCluster(StatusCode::SERVICE_UNAVAILABLE), 503, "14", "NC");
        check(Fault::NoCluster(StatusCode::INTERNAL_SERVER_ERROR), 500, "2", "NC");
        check(Fault::Unresolved, 503, "14", "NC");
        check(Fault::DeniedOutbound, 502, "14", "-");
        check(Fault::NoHealthyEndpoint, 503, "14", "UH");
        check(Fault::UpstreamConnect, 503, "14", "UF");
        check(Fault::Timeout, 504, "4", "UT");
        check(Fault::Overflow, 503, "14", "UO");
        check(Fault::UpstreamReset, 503, "14", "UR");
        check(Fault::UpstreamTermination, 503, "14", "UC");
        check(Fault::UpstreamProtocol, 502, "14", "UPE");
        check(Fault::RequestBody, 400, "13", "DC");
        check(Fault::ExternalAuth(StatusCode::FORBIDDEN), 403, "7", "UAEX");
        check(Fault::ExternalAuth(StatusCode::UNAUTHORIZED), 401, "16", "UAEX");
        check(Fault::ExternalAuth(StatusCode::NO_CONTENT), 204, "7", "UAEX");
        check(Fault::injected_http(StatusCode::TOO_MANY_REQUESTS), 429, "14", "FI");
        check(Fault::injected_grpc(14), 503, "14", "FI");
        check(Fault::injected_grpc(5), 404, "5", "FI");
        check(Fault::injected_grpc(2), 500, "2", "FI");
    }

    #[test]
    fn a_denial_has_the_body_that_istio_users_know() {
        assert_eq!(answer(&Fault::Denied, false).body(), "RBAC: access denied");
    }

    #[test]
    fn a_message_is_encoded_for_grpc() {
        let text = Bytes::from_static("100 % full – later".as_bytes());
        let response = reply(StatusCode::SERVICE_UNAVAILABLE, 14, text, true);
        assert_eq!(response.headers()["grpc-message"], "100 %25 full %E2%80%93 later");
    }

    #[test]
    fn a_grpc_call_is_known_by_its_content_type() {
        let check = |content_type: &'static str, expected| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(is_grpc(&headers), expected, "{content_type}");
        };
        check("application/grpc", true);
        check("application/grpc+proto", true);
        check("application/grpc;charset=utf-8", true);
        check("application/grpc-web", false);
        check("text/plain", false);
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
