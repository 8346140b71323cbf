//! The answers that the mesh itself gives in place of a peer: one mapping to HTTP and gRPC status and to the response flags
//! that metrics and logs show.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// Why the mesh answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The request cannot be made canonical.
    #[error("bad request: {0}")]
    BadRequest(&'static str),
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
    /// No connection to an endpoint could be made, or it ended before an answer.
    #[error("upstream connect error or disconnect/reset before headers")]
    UpstreamConnect,
    /// The time for the request is over.
    #[error("upstream request timeout")]
    Timeout,
}

impl Fault {
    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoCluster(status) => *status,
            Self::DeniedOutbound => StatusCode::BAD_GATEWAY,
            Self::NotConfigured | Self::Unresolved | Self::NoHealthyEndpoint | Self::UpstreamConnect => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The gRPC status, as gRPC reads the HTTP one; a timeout is `DEADLINE_EXCEEDED` to a gRPC caller, and what failed in the
    /// service is `INTERNAL`.
    pub fn grpc_status(&self) -> u8 {
        match (self, self.status()) {
            (Self::Timeout, _) => 4,
            (Self::Internal, _) => 13,
            (_, status) => grpc_status_of(status),
        }
    }

    /// Envoy's response flags, `-` where it has none.
    pub fn response_flags(&self) -> &'static str {
        match self {
            Self::NoRoute => "NR",
            Self::NoCluster(_) | Self::Unresolved => "NC",
            Self::NoHealthyEndpoint => "UH",
            Self::UpstreamConnect => "UF",
            Self::Timeout => "UT",
            Self::BadRequest(_)
            | Self::Denied
            | Self::NotConfigured
            | Self::Internal
            | Self::DeniedOutbound => "-",
        }
    }
}

/// The answer for a fault. A gRPC caller gets a response without body whose headers are the trailers; the fault itself goes
/// along as an extension, for metrics.
pub fn answer(fault: &Fault, is_grpc: bool) -> Response<Bytes> {
    let mut response = match is_grpc {
        true => grpc_answer(fault.grpc_status(), &fault.to_string()),
        false => http_answer(fault.status(), fault.to_string().into()),
    };
    response.extensions_mut().insert(*fault);
    response
}

/// Whether a request is a gRPC call, by its content type.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let Some(rest) = content_type.strip_prefix(b"application/grpc") else { return false };
    matches!(rest.first(), None | Some(b'+' | b';'))
}

/// gRPC's own table of what an HTTP status means.
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

fn http_answer(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

fn grpc_answer(status: u8, message: &str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status)));
    // Messages are our own words, which need none of gRPC's escaping; one that did would be left out.
    if let Ok(message) = HeaderValue::from_str(message) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

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
    }

    #[test]
    fn a_denial_has_the_body_that_istio_users_know() {
        assert_eq!(answer(&Fault::Denied, false).body(), "RBAC: access denied");
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
