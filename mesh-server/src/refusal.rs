//! An answer in the application's place: `mesh_core::status` in the body type of the application that is guarded.

use bytes::Bytes;
use http::header::{CONNECTION, HeaderName};
use http::{HeaderValue, Response, Version};
use mesh_core::status::{self, Fault};

/// Why the application does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    /// For a denial, the number by which the operator finds the reason; the caller learns nothing else.
    pub(crate) decision: Option<u64>,
    pub(crate) connection: Connection,
}

/// What becomes of the connection that a refused request came on. On a response, [`Ends`](Self::Ends) is an extension for
/// whoever drives the connection: HTTP/2 has no header that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connection {
    Stays,
    Ends,
}

/// A response body that can hold a refusal's few words, so that a guarded application keeps its own body type.
pub trait RefusalBody {
    /// A body of these bytes.
    fn of(text: Bytes) -> Self;
}

impl RefusalBody for axum::body::Body {
    fn of(text: Bytes) -> Self {
        Self::from(text)
    }
}

impl RefusalBody for tonic::body::Body {
    fn of(text: Bytes) -> Self {
        Self::new(http_body_util::Full::new(text))
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self { fault, decision: None, connection: Connection::Stays }
    }
}

impl Refusal {
    /// The answer as the caller sees it.
    pub(crate) fn respond<B: RefusalBody>(self, is_grpc: bool, version: Version) -> Response<B> {
        let mut response = status::answer(&self.fault, is_grpc).map(B::of);
        if let Some(decision) = self.decision
            && let Ok(value) = HeaderValue::try_from(format!("{decision:016x}"))
        {
            response.headers_mut().insert(DECISION, value);
        }
        if self.connection == Connection::Ends {
            response.extensions_mut().insert(self.connection);
            if version < Version::HTTP_2 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }
}

/// Carries the number by which an operator finds a denial in the log.
pub(crate) const DECISION: HeaderName = HeaderName::from_static("x-mesh-decision");
