//! The signals that end the process in good order.

use tokio::signal::unix::{SignalKind, signal};

/// Returns on SIGTERM or SIGINT.
pub async fn termination() {
    let of = |kind| async move {
        match signal(kind) {
            Ok(mut received) => drop(received.recv().await),
            Err(error) => {
                // Without a handler the signal ends the process at once, which the store survives.
                tracing::warn!(%error, "a signal cannot be handled");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = of(SignalKind::terminate()) => {}
        () = of(SignalKind::interrupt()) => {}
    }
}
