//! A child process of a test: its output is kept for the failure message, and it ends with the test.
//!
//! It ends with a test that is killed as well, when nothing is dropped any more: `setpriv` (util-linux, on every Debian) has the
//! kernel kill it with the thread that started it. So a child is not to be handed from a thread that ends to another.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::wait;

/// A binary of this workspace, beside the test's own in the target folder.
///
/// # Panics
/// Where it was not built; the test command builds all binaries first.
pub fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let folder = own.ancestors().find(|folder| folder.join(name).is_file());
    folder.map(|folder| folder.join(name)).unwrap_or_else(|| {
        panic!("`{name}` is not beside {}; run `cargo build --workspace --bins` first", own.display())
    })
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command`; `name` stands before its lines in failure messages.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(name: &str, command: &Command) -> Self {
        let mut command = guarded(command);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|problem| panic!("{name}: {problem}"));
        let output = Arc::new(Mutex::new(String::new()));
        let stdout = child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        let stderr = child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>);
        for pipe in [stdout, stderr].into_iter().flatten() {
            collect(pipe, output.clone());
        }
        Self { name: name.to_owned(), child, output }
    }

    /// Everything it has printed.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that holds `text`, and returns that line.
    ///
    /// # Panics
    /// Where the line does not come in time, with everything the process printed.
    pub fn line_with(&mut self, text: &str, limit: Duration) -> String {
        let ended = |process: &mut Self| process.child.try_wait().ok().flatten();
        wait::until(&format!("{}: a line with `{text}`", self.name), limit, || {
            let found = self.output().lines().find(|line| line.contains(text)).map(str::to_owned);
            if found.is_none()
                && let Some(status) = ended(self)
            {
                panic!("{} ended ({status}) without a line with `{text}`:\n{}", self.name, self.output());
            }
            found
        })
    }

    /// Sends a signal by name, such as `TERM`.
    ///
    /// # Panics
    /// Where `kill` is missing.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "{}: SIG{signal} could not be sent", self.name);
    }

    /// Kills it outright, as a crash would, and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end in time.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        wait::until(&format!("{name}: its end"), limit, || self.child.try_wait().ok().flatten())
    }

    /// Asks it to end and waits; returns its status.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        self.wait(limit)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- output of {} ----\n{}", self.name, self.output());
        }
    }
}

/// The command, run so that it ends at the latest with the thread that starts it; as it is, where there is no `setpriv`.
pub fn guarded(command: &Command) -> Command {
    let mut guarded = if has_setpriv() {
        let mut setpriv = Command::new("setpriv");
        // It becomes the command, under the same process id.
        setpriv.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    guarded.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => guarded.env(name, value),
            None => guarded.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        guarded.current_dir(directory);
    }
    guarded
}

fn has_setpriv() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let tried = Command::new("setpriv").args(["--pdeathsig", "KILL", "--", "true"]).output();
        tried.is_ok_and(|ended| ended.status.success())
    })
}

/// Runs a command to its end.
///
/// # Panics
/// Where it cannot be started.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Finished {
    let output = Command::new(binary(program)).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|problem| panic!("{program}: {problem}"));
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A command that ran to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit status; `None` after a signal.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Finished {
    /// Its output, once it ended well.
    ///
    /// # Panics
    /// Where it did not, with all it said.
    pub fn success(self) -> String {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self.stdout
    }
}

fn collect(pipe: impl Read + Send + 'static, output: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
            output.push_str(&line);
            output.push('\n');
        }
    });
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_nobody_drops_ends_with_its_thread() {
        let forget = || {
            let mut process =
                Process::start("sleep", Command::new("sh").args(["-c", "echo up; exec sleep 600"]));
            // By then the kernel has been asked.
            process.line_with("up", Duration::from_secs(30));
            let pid = process.pid();
            // As a killed test does.
            std::mem::forget(process);
            pid
        };
        let pid = std::thread::spawn(forget).join().expect("no panic");
        wait::until("its end", Duration::from_secs(10), || {
            // Dead, though nobody has waited for it: its state is Z.
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.split_whitespace().nth(2).is_none_or(|state| state == "Z").then_some(())
        });
    }
}
