//! Allocations and instructions of a call, counted on one thread, client and server together.

use std::process::Command;

use tokio::runtime::{Builder, Runtime};

use super::contender::{Contender, Kind};
use super::fleet::Fleet;

/// The first word of a child's arguments.
pub(super) const CHILD: &str = "under-callgrind";
const CALLS: usize = 1_000;

/// Prints allocations per call, and how many the mesh adds to tonic's.
pub(super) fn print_allocations() {
    println!("allocations per call, client and server together");
    let runtime = one_thread();
    let fleet = Fleet::start(&runtime, &runtime);
    print_counts(Kind::ALL.map(|kind| {
        let mut contender = fleet.contender(&runtime, kind);
        let counted = allocation_counter::measure(|| calls_to_count(&runtime, &mut contender));
        Some(counted.count_total as f64 / CALLS as f64)
    }));
}

/// Prints instructions per call, as callgrind counts them.
pub(super) fn print_instructions() {
    println!("instructions per call, client and server together, outside the kernel");
    if Command::new("valgrind").arg("--version").output().is_err() {
        return println!("  not measured: valgrind is not installed (Debian package valgrind)");
    }
    print_counts(Kind::ALL.map(|kind| Some(under_callgrind(kind)? as f64 / CALLS as f64)));
}

/// What callgrind runs.
pub(super) fn child(name: &str) {
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).expect("a contender's name");
    let runtime = one_thread();
    let fleet = Fleet::start(&runtime, &runtime);
    calls_to_count(&runtime, &mut fleet.contender(&runtime, kind));
}

/// Never inlined, since callgrind finds it by its name and counts from its beginning to its end.
#[inline(never)]
fn calls_to_count(runtime: &Runtime, contender: &mut Contender) {
    runtime.block_on(contender.calls(CALLS));
}

fn under_callgrind(kind: Kind) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*calls_to_count*"])
        .arg(std::env::current_exe().ok()?)
        .args([CHILD, kind.name()])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    said.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok())
}

fn print_counts(counts: [Option<f64>; 3]) {
    for (kind, count) in Kind::ALL.into_iter().zip(counts) {
        match count {
            Some(count) => println!("  {:<8} {count:>9.1}", kind.name()),
            None => println!("  {:<8} not measured: valgrind failed", kind.name()),
        }
    }
    if let [Some(mesh), Some(tonic), _] = counts {
        println!("  the mesh adds {:+.1} to tonic", mesh - tonic);
    }
}

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}
