//! What goes on behind a `Mesh`, on a thread and runtime of its own: a service that blocks all its workers must not lose its
//! configuration and its registration for it.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::registrar::Registrar;
use crate::ads::ConfigStream;
use crate::join::Member;

/// Everything that goes on until it is dropped.
#[derive(Debug)]
pub(super) struct Background {
    stop: CancellationToken,
    runtime: Handle,
    thread: Option<JoinHandle<()>>,
}

/// What the thread does.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) stream: ConfigStream,
    pub(super) registrar: Registrar,
    /// Its certificate is renewed for as long as it is held.
    pub(super) member: Member,
}

impl Background {
    /// Starts the thread.
    pub(super) fn start(work: Work) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::Builder::new().name("mesh".into()).spawn(move || {
            runtime.block_on(work.until(stopped));
            // A name look-up that hangs must not hold up the process that wants to end.
            runtime.shutdown_background();
        })?;
        Ok(Self { stop, runtime: handle, thread: Some(thread) })
    }

    /// The thread's runtime.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Background {
    /// Stops the thread and waits for it: it saves what is unsaved, and nothing of it is left behind.
    fn drop(&mut self) {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else { return };
        if thread.thread().id() != thread::current().id() {
            // A panic over there has been reported by its hook.
            let _ = thread.join();
        }
    }
}

impl Work {
    async fn until(mut self, stopped: CancellationToken) {
        // One connection carries both; it needs the runtime that it is made in.
        let connect = || self.member.control_plane.channel();
        let channels = watch::Sender::new(connect());
        let registering = self.registrar.run(channels.subscribe());
        let work = async { tokio::join!(self.stream.run(connect, &channels), registering) };
        tokio::select! {
            _ = work => {}
            () = stopped.cancelled() => {}
        }
        self.stream.save();
    }
}
