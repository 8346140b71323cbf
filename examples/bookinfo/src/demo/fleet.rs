//! The processes of the demo: the control plane, and each service with a join token of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::output;

/// The services of the example, each with its version label.
const SERVICES: [(&str, &str); 6] = [
    ("details", "v1"),
    ("ratings", "v1"),
    ("reviews", "v1"),
    ("reviews", "v2"),
    ("reviews", "v3"),
    ("productpage", "v1"),
];

/// How long a process may take to say where it listens.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end.
const END: Duration = Duration::from_secs(30);

/// All processes, and the folder that ends with them.
pub(super) struct Fleet {
    folder: tempfile::TempDir,
    control_plane: Child,
    services: Vec<(String, Child)>,
    productpage: SocketAddr,
}

impl Fleet {
    /// Starts the control plane, then every service.
    pub(super) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let mut serve = Command::new(beside("mesh")?);
        serve.arg("serve").arg("--data").arg(data(folder.path()));
        serve.args(["--listen", "127.0.0.1:0", "--plain", "127.0.0.1:0"]);
        // Or it would leave the credential of a mesh that ends with the demo in the user's own place.
        serve.env("MESH_ADMIN", credential(folder.path()));
        let (control_plane, line) = start("mesh serve", serve, "mesh: serving").await?;
        output::line(&line);
        let mut fleet =
            Self { folder, control_plane, services: Vec::new(), productpage: ([127, 0, 0, 1], 0).into() };
        for (service, version) in SERVICES {
            let address = fleet.start_service(service, version).await?;
            output::line(format_args!("{service} {version} listens on {address}"));
            if service == "productpage" {
                fleet.productpage = address;
            }
        }
        Ok(fleet)
    }

    /// Where the page is.
    pub(super) fn productpage(&self) -> SocketAddr {
        self.productpage
    }

    /// What a command needs to reach this control plane.
    pub(super) fn credential(&self) -> PathBuf {
        credential(self.folder.path())
    }

    /// Applies one of the example's documents.
    pub(super) fn apply(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("{}", path.display()))?;
        output::line(format_args!("$ mesh apply -f examples/bookinfo/documents/{name}"));
        self.mesh(&["apply", "-f", &path.to_string_lossy()]).map(output::print)
    }

    /// Moves the split of `reviews`.
    pub(super) fn split(&self, v1: u32, v2: u32) -> anyhow::Result<()> {
        self.mesh(&["split", "reviews", &format!("v1={v1}"), &format!("v2={v2}")]).map(drop)
    }

    /// Ends every process, the services first, each drained.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        while let Some((name, child)) = self.services.pop() {
            end(&name, child).await?;
        }
        end("mesh serve", self.control_plane).await
    }

    async fn start_service(&mut self, service: &str, version: &str) -> anyhow::Result<SocketAddr> {
        let name = format!("{service}-{version}");
        let token = self.mesh(&[
            "token",
            "create",
            "--service",
            &format!("{service}:9080"),
            "--service-account",
            &format!("bookinfo-{service}"),
            "--label",
            &format!("version={version}"),
        ])?;
        let mut command = Command::new(std::env::current_exe().context("this program has no path")?);
        command.args([service, "--version", version, "--listen", "127.0.0.1:0"]);
        command.env("MESH_JOIN", token.trim()).env("MESH_STATE_DIR", self.folder.path().join(&name));
        let (child, line) = start(&name, command, " serves ").await?;
        self.services.push((name, child));
        let address =
            line.split(" serves ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        address.parse().with_context(|| format!("no address in `{line}`"))
    }

    fn mesh(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = std::process::Command::new(beside("mesh")?)
            .args(arguments)
            .env("MESH_ADMIN", self.credential())
            .output()
            .context("mesh could not be started")?;
        let said = String::from_utf8_lossy(&output.stderr);
        // 3 is success with findings, which stand on stderr.
        ensure!(matches!(output.status.code(), Some(0 | 3)), "mesh {}: {said}", arguments.join(" "));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// The administrator's credential.
fn credential(folder: &Path) -> PathBuf {
    data(folder).join("admin.json")
}

/// A binary that was built together with this one.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("this program has no path")?;
    let path = own.with_file_name(name);
    ensure!(
        path.is_file(),
        "{} is missing; leave out --no-build, or run `cargo build --workspace --bins`",
        path.display()
    );
    Ok(path)
}

/// Starts a process and waits for the line in which it says that it is ready.
async fn start(name: &str, mut command: Command, ready: &str) -> anyhow::Result<(Child, String)> {
    let mut child = command
        .env("RUST_LOG", "warn")
        // Ctrl-C in the terminal is for the demo, which ends the others in their order.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{name} could not be started"))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = tokio::time::timeout(START, async {
        while let Some(line) = lines.next_line().await? {
            if line.contains(ready) {
                return Ok(line);
            }
        }
        Err(anyhow!("{name} ended before it was ready; its reason stands above"))
    })
    .await
    .with_context(|| format!("{name} was not ready within {START:?}"))??;
    // What it prints from now on must not fill the pipe.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok((child, line))
}

async fn end(name: &str, mut child: Child) -> anyhow::Result<()> {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself; then there is nothing to ask.
        let _ = kill_process(pid, Signal::TERM);
    }
    let status =
        tokio::time::timeout(END, child.wait()).await.with_context(|| format!("{name} did not end"))??;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}
