//! `mesh serve` as a process, and the commands that an operator gives it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Finished, Process, binary, run};
use crate::wait::until;

/// How long a control plane may take to start on a busy machine of two cores.
const START: Duration = Duration::from_secs(30);

/// A running control plane with its own data directory.
#[derive(Debug)]
pub struct ControlPlane {
    directory: TempDir,
    process: Process,
    trust_domain: String,
    address: String,
    plain: String,
}

impl ControlPlane {
    /// Starts one on free ports.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn start() -> Self {
        Self::of_trust_domain("cluster.local")
    }

    /// Starts one of a trust domain of that name on free ports.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn of_trust_domain(name: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (process, address, plain) = serve(directory.path(), name, ["127.0.0.1:0", "127.0.0.1:0"]);
        Self { directory, process, trust_domain: name.to_owned(), address, plain }
    }

    /// Kills it as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same data and the same addresses.
    pub fn restart(&mut self) {
        self.process.kill();
        let addresses = [&*self.address, &*self.plain];
        self.process = serve(self.directory.path(), &self.trust_domain, addresses).0;
    }

    /// The address of xDS, CA, registry and administration.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The plain loopback address.
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// What it has printed.
    pub fn output(&self) -> String {
        self.process.output()
    }

    /// A directory that ends with the control plane, for whatever a test keeps.
    pub fn scratch(&self) -> &Path {
        self.directory.path()
    }

    /// The administrator's credential.
    pub fn credential(&self) -> PathBuf {
        self.directory.path().join("data/admin.json")
    }

    /// Runs a `mesh` command as the administrator.
    pub fn mesh(&self, arguments: &[&str]) -> Finished {
        let credential = self.credential();
        let credential = credential.to_str().expect("temporary paths are UTF-8");
        let mut all = arguments.to_vec();
        // Before `--`, behind which the words belong to another command.
        let place = all.iter().position(|word| *word == "--").unwrap_or(all.len());
        all.splice(place..place, ["--admin", credential]);
        run("mesh", &all)
    }

    /// A join string for a service.
    ///
    /// # Panics
    /// Where the control plane refuses.
    pub fn token(&self, arguments: &[&str]) -> String {
        let mut all = vec!["token", "create"];
        all.extend_from_slice(arguments);
        self.mesh(&all).success().trim().to_owned()
    }

    /// Divides a service's traffic, as soon as each of its versions has an instance.
    ///
    /// # Panics
    /// Where one does not come.
    pub fn split(&self, service: &str, shares: &[&str]) -> String {
        let words = [&["split", service], shares].concat();
        until("a split without findings", START, || {
            let said = self.mesh(&words);
            (said.code == Some(0)).then_some(said.stdout)
        })
    }

    /// Applies a document given as text.
    ///
    /// # Panics
    /// Where it is refused.
    pub fn apply(&self, name: &str, text: &str) -> String {
        let file = self.scratch().join(name);
        std::fs::write(&file, text).expect("the temporary directory can be written");
        self.mesh(&["apply", "-f", file.to_str().expect("temporary paths are UTF-8")]).success()
    }
}

fn serve(directory: &Path, trust_domain: &str, [listen, plain]: [&str; 2]) -> (Process, String, String) {
    let mut command = Command::new(binary("mesh"));
    command.arg("serve").arg("--data").arg(directory.join("data"));
    command.args(["--listen", listen, "--plain", plain, "--trust-domain", trust_domain]);
    command.env("HOME", directory).env_remove("MESH_ADMIN");
    let mut process = Process::start("control plane", &command);
    let line = process.line_with("mesh: serving", START);
    let word = |name: &str| {
        let found = line.split_whitespace().find_map(|word| word.strip_prefix(name));
        found.unwrap_or_else(|| panic!("no {name} in `{line}`")).to_owned()
    };
    (process, word("listen="), word("plain="))
}
