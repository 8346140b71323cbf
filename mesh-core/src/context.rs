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

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Option<String> {
        RequestContext::current().and_then(|context| context.peer.as_deref().map(str::to_owned))
    }

    fn context(peer: &str) -> Arc<RequestContext> {
        Arc::new(RequestContext { peer: Some(peer.into()), ..RequestContext::default() })
    }

    #[tokio::test]
    async fn a_context_lasts_as_long_as_its_scope() {
        assert_eq!(peer(), None);
        let inner = context("outer").scope(async {
            let inner = context("inner").scope(async { peer() }).await;
            assert_eq!(peer().as_deref(), Some("outer"));
            inner
        });
        assert_eq!(inner.await.as_deref(), Some("inner"));
        assert_eq!(peer(), None);
    }

    #[tokio::test]
    async fn a_spawned_task_has_a_context_only_where_it_is_carried_over() {
        let (lost, carried) = context("a")
            .scope(async {
                let lost = tokio::spawn(async { peer() });
                let here = RequestContext::current().expect("inside the scope");
                (lost.await, tokio::spawn(here.scope(async { peer() })).await)
            })
            .await;
        assert_eq!(lost.expect("joins"), None);
        assert_eq!(carried.expect("joins").as_deref(), Some("a"));
    }
}
