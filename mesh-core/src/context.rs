//! What travels from an inbound request to the outbound requests of the same task, with no code in the application.
//!
//! A task that a handler spawns is another task, and serves no request until it is told so. [`RequestContext::carry`] is the
//! one call that tells it:
//!
//! ```
//! use mesh_core::context::RequestContext;
//!
//! async fn handler() {
//!     // Calls made in there keep deadline, trace and propagated headers of the request that `handler` serves.
//!     tokio::spawn(RequestContext::carry(async { /* call other services */ }));
//! }
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(handler());
//! ```

use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, HeaderName};

/// Facts of the request that the current task serves; the outbound side reads them.
#[derive(Debug, Clone, Default)]
pub struct RequestContext {
    /// When the whole request must be done; outbound calls get what remains.
    pub deadline: Option<Instant>,
    /// `traceparent` and `tracestate` as received, or empty.
    pub trace: HeaderMap,
    /// Headers named in configuration (MeshSettings, `propagatedHeaders`) that go on to the next hop.
    pub propagated: HeaderMap,
    /// The caller's SPIFFE ID, where the connection proved one.
    pub peer: Option<Arc<str>>,
}

/// The headers that go on where no configuration names them: W3C's, which is made for it.
pub static PROPAGATED_BY_DEFAULT: [HeaderName; 1] = [HeaderName::from_static("baggage")];

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

impl RequestContext {
    /// The context of the request that this task serves, if it serves one.
    pub fn current() -> Option<Arc<RequestContext>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Carries the current task's context, if it has one, over into a task that is spawned with this future.
    pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
        let context = Self::current();
        async move {
            match context {
                Some(context) => context.scope(future).await,
                None => future.await,
            }
        }
    }

    /// Runs `future` under this context; what it spawns does not inherit it, and is wrapped by [`carry`](Self::carry).
    pub fn scope<F: Future>(self: Arc<Self>, future: F) -> impl Future<Output = F::Output> {
        // No `async fn`, which would hold `future` twice: as its argument and as what it awaits.
        CURRENT.scope(self, future)
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
                (lost.await, tokio::spawn(RequestContext::carry(async { peer() })).await)
            })
            .await;
        assert_eq!(lost.expect("joins"), None);
        assert_eq!(carried.expect("joins").as_deref(), Some("a"));
        assert_eq!(RequestContext::carry(async { peer() }).await, None);
    }
}
