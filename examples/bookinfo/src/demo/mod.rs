//! `bookinfo demo`: the whole example with one command. Builds, starts the control plane and every service as a process of
//! its own, applies documents, drives load, and shows in the terminal how the split of `reviews` moves.

mod fleet;
mod load;
mod screen;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use fleet::Fleet;
use load::{Counts, Load};
use screen::Screen;

use crate::output;

/// What the demo's documents say; written beside the control plane's data and applied from there.
const DOCUMENTS: [(&str, &str); 2] = [
    ("peer-authentication.yaml", include_str!("../../documents/peer-authentication.yaml")),
    ("authorization.yaml", include_str!("../../documents/authorization.yaml")),
];

/// The shares of v1 and v2, stage by stage.
const STAGES: [(u32, u32); 4] = [(100, 0), (90, 10), (50, 50), (0, 100)];

/// Settings of the demo.
#[derive(Debug, Args)]
#[command(before_help = "Example:
  bookinfo demo
  bookinfo demo --stage 60 --keep    # time to look at the page")]
pub(crate) struct Options {
    /// How long each stage of the split lasts
    #[arg(long, default_value_t = 8, value_name = "SECONDS")]
    stage: u64,
    /// How many callers ask at a time
    #[arg(long, default_value_t = 8)]
    callers: usize,
    /// Leave everything running at the end, for the browser, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Use the binaries that are there instead of building them
    #[arg(long)]
    no_build: bool,
}

/// Runs the demo to its end; fails where a single request failed.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    if !options.no_build {
        build()?;
    }
    // From here on Ctrl-C ends what has been started, and not only this process.
    let mut interrupt = signal(SignalKind::interrupt()).context("Ctrl-C cannot be waited for")?;
    let fleet = tokio::select! {
        fleet = Fleet::start() => fleet?,
        _ = interrupt.recv() => return Ok(()),
    };
    let shown = show(&fleet, &options, &mut interrupt).await;
    fleet.stop().await?;
    let total = shown?;
    ensure!(
        total.failed == 0,
        "{} of {} requests failed; the last: {}",
        total.failed,
        total.requests(),
        total.problem()
    );
    Ok(())
}

/// Loads the page and moves the split; returns what the callers saw.
async fn show(fleet: &Fleet, options: &Options, interrupt: &mut Signal) -> anyhow::Result<Counts> {
    for (name, text) in DOCUMENTS {
        fleet.apply(name, text)?;
    }
    fleet.split(STAGES[0].0, STAGES[0].1)?;
    let page = format!("http://{}/productpage", fleet.productpage());
    let load = Load::start(fleet.productpage(), options.callers);
    load.until_answered(Duration::from_secs(20))
        .await
        .context("no page came; see the processes' output above")?;
    output::line(format_args!("\n  A page to look at: {page}\n"));
    let mut screen = Screen::new(&STAGES);
    let moved = tokio::select! {
        moved = stages(fleet, &load, &mut screen, Duration::from_secs(options.stage)) => Some(moved),
        _ = interrupt.recv() => None,
    };
    let total = load.stop().await;
    screen.end(&total);
    if let Some(moved) = moved {
        moved?;
        if options.keep {
            output::line(format_args!("  Still running (Ctrl-C ends it): {page}"));
            let credential = fleet.credential();
            output::line(format_args!(
                "  Your own documents: MESH_ADMIN={} mesh apply -f FILE",
                credential.display()
            ));
            interrupt.recv().await;
        }
    }
    Ok(total)
}

async fn stages(fleet: &Fleet, load: &Load, screen: &mut Screen, length: Duration) -> anyhow::Result<()> {
    for (stage, (v1, v2)) in STAGES.into_iter().enumerate() {
        fleet.split(v1, v2)?;
        let before = load.counts();
        let start = Instant::now();
        while start.elapsed() < length {
            tokio::time::sleep(REDRAW).await;
            screen.draw(stage, &load.counts().since(&before), load.counts().failed);
        }
        screen.line_end();
    }
    Ok(())
}

/// Builds this example and the control plane in the profile that this program was built in.
fn build() -> anyhow::Result<()> {
    output::line("building the control plane and the services …");
    let mut cargo =
        Command::new(std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from));
    cargo.args(["build", "--package", "control-plane", "--package", "bookinfo", "--bins"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let status =
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("cargo could not be started")?;
    ensure!(status.success(), "the build failed");
    Ok(())
}

const REDRAW: Duration = Duration::from_millis(200);
