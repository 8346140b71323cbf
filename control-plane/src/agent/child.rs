//! The command that the agent runs: signals reach it, it ends within a bound, and its exit status is the agent's.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::termination::Termination;

/// How long the command may take to end after it was told to, as long as a server of the mesh takes to drain; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(25);

/// Starts `command` with the bootstrap file in its environment.
pub(super) fn start(command: &[OsString], bootstrap: &Path) -> io::Result<Child> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::other("no command was given"))?;
    Command::new(program).args(arguments).env("GRPC_XDS_BOOTSTRAP", bootstrap).kill_on_drop(true).spawn()
}

/// Passes a stop request on and waits for the end; the command is killed once it has had its time, or where a second request
/// comes.
pub(super) async fn stop(
    child: &mut Child,
    request: Signal,
    termination: &mut Termination,
) -> io::Result<ExitStatus> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // A process that ended meanwhile is not waited for yet, so its pid cannot be another's.
        let _ = kill_process(pid, request);
    }
    tokio::select! {
        ended = timeout(STOP_MAX, child.wait()) => if let Ok(status) = ended {
            return status;
        },
        _ = termination.requested() => {}
    }
    tracing::warn!("the command did not end when it was told to, and is killed");
    child.kill().await?;
    child.wait().await
}
