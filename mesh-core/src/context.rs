//! What travels from an inbound request to the outbound requests of the same task.

use std::sync::Arc;
use std::time::Instant;

use http::HeaderMap;

/// Facts of the request that the current task serves; the outbound side reads them.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// When the whole request must be done; outbound calls get what remains.
    pub deadline: Option<Instant>,
    /// `traceparent` and `tracestate` as received, or empty.
    pub trace: HeaderMap,
    /// Headers named in configuration (default: `baggage`) that go on to the next hop.
    pub propagated: HeaderMap,
    /// The caller's SPIFFE ID, where the connection proved one.
    pub peer: Option<Arc<str>>,
}

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

impl RequestContext {
    /// The context of the request that this task serves, if it serves one.
    pub fn current() -> Option<Arc<RequestContext>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Runs `future` under this context; what it spawns with `tokio::spawn` does not inherit it and must be
    /// wrapped by this same call.
    pub async fn scope<F: Future>(self: Arc<Self>, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }
}
