//! Work that holds a processor for long, done aside from the threads that answer.
//!
//! Reading ten thousand documents takes seconds. On a thread of the runtime that also serves ADS and registrations, these
//! would wait, and members take the silence for a control plane that is gone.

use std::panic::resume_unwind;

/// Does `work` aside; a panic in it goes on here.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // Only a runtime that ends gives work up, and with it whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}
