//! The command that the agent runs: signals reach it, and its exit status is the agent's.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitStatus;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// Starts `command` with the bootstrap file in its environment.
pub(super) fn start(command: &[OsString], bootstrap: &Path) -> io::Result<Child> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::other("no command was given"))?;
    Command::new(program).args(arguments).env("GRPC_XDS_BOOTSTRAP", bootstrap).kill_on_drop(true).spawn()
}

/// Waits for SIGTERM or SIGINT.
pub(super) async fn stop_requested() -> io::Result<Signal> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => Signal::TERM,
        _ = interrupt.recv() => Signal::INT,
    })
}

/// Passes a stop request on and waits for the end.
pub(super) async fn stop(child: &mut Child, request: Signal) -> io::Result<ExitStatus> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // A process that ended meanwhile is not waited for yet, so its pid cannot be another's.
        let _ = kill_process(pid, request);
    }
    child.wait().await
}
