//! The signals by which a process is told to end. Only the calls that say so listen to them.
//!
//! Once they are listened to, none of them ends the process by itself any more. Whoever sends a second one does not want to wait
//! for requests under way, so it does what the first one would have done to a process that does not listen.

use std::io;

/// Starts listening at once, so that a signal during start-up is not lost; the answer ends at the first one, and the process at
/// the second.
#[cfg(unix)]
pub(crate) fn terminated() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => SignalKind::terminate(),
            _ = interrupt.recv() => SignalKind::interrupt(),
        }
    };
    Ok(async move {
        next().await;
        // Not owned by the server, for it is the process that ends, whatever the server is at by then.
        tokio::spawn(async move {
            let signal = next().await;
            tracing::warn!("told to end a second time: ending at once");
            std::process::exit(KILLED_BY + signal.as_raw_value());
        });
    })
}

/// Ends at Ctrl-C.
#[cfg(not(unix))]
pub(crate) fn terminated() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // An error says that Ctrl-C cannot be heard; then nothing ends this server but its owner.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// What shells add to a signal's number to make the exit status of whom it ended.
#[cfg(unix)]
const KILLED_BY: i32 = 128;
