//! An answer in the application's place: `mesh_core::status` in the body type of the application that is guarded.

use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderValue, Response};
use mesh_core::status::{self, Fault};

/// Why the application does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) fault: Fault,
    /// For a denial, the number by which the operator finds the reason; the caller learns nothing else.
    pub(crate) decision: Option<u64>,
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
        Self { fault, decision: None }
    }
}

impl Refusal {
    /// The answer as the caller sees it.
    pub(crate) fn respond<B: RefusalBody>(self, is_grpc: bool) -> Response<B> {
        let mut response = status::answer(&self.fault, is_grpc).map(B::of);
        if let Some(decision) = self.decision
            && let Ok(value) = HeaderValue::try_from(format!("{decision:016x}"))
        {
            response.headers_mut().insert(DECISION, value);
        }
        response
    }
}

/// Carries the number by which an operator finds a denial in the log.
pub(crate) const DECISION: HeaderName = HeaderName::from_static("x-mesh-decision");
