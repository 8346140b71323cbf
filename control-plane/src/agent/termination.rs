//! The signals by which the agent is told to end. They are listened to from the start, so that none is lost while the command
//! starts.

use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind, signal};

/// SIGTERM and SIGINT of this process.
#[derive(Debug)]
pub(super) struct Termination {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Termination {
    /// Begins to listen; from then on neither signal ends the process by itself.
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(super) async fn requested(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
        }
    }
}
