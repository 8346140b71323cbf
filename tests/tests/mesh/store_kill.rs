//! `kill -9` of a process that writes to the store, again and again on one file: nothing acknowledged is lost, nothing is
//! there by half.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use control_plane::store::{EmbeddedStore, Keys, Retention, Store};
use mesh_tests::process::guarded;

const KILLS: u32 = 50;
/// What the soak command asks for.
const KILLS_SOAK: u32 = 200;
/// A kill comes after this many acknowledgements at most.
const ACKNOWLEDGED_MAX: u64 = 300;

#[tokio::test]
async fn no_acknowledged_write_is_lost_and_none_is_half_there() {
    let kills = if std::env::var_os("MESH_SOAK").is_some() { KILLS_SOAK } else { KILLS };
    let mut seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
    println!("seed {seed}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("store.redb");
    let mut acknowledged = BTreeSet::new();
    let mut revision = 0;
    for round in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let count = 1 + (seed >> 33) % ACKNOWLEDGED_MAX;
        acknowledged.extend(killed_after(&path, round, count as usize));
        revision = check(&path, &acknowledged, revision).await;
    }
    println!("{kills} kills, {} acknowledged writes, revision {revision}", acknowledged.len());
}

/// Starts a writer, kills it after `count` acknowledgements and returns all that it gave.
fn killed_after(path: &Path, round: u32, count: usize) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_store_writer"));
    let mut writer = guarded(command.arg(path).arg(round.to_string()))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the writer starts");
    let mut lines = BufReader::new(writer.stdout.take().expect("stdout is piped"));
    let mut names = Vec::new();
    let mut line = String::new();
    // What stands in the pipe when the writer dies was acknowledged too; only a line cut short says nothing.
    while lines.read_line(&mut line).expect("text") > 0 {
        names.extend(line.strip_suffix('\n').map(str::to_owned));
        line.clear();
        if names.len() == count {
            writer.kill().expect("the writer can be killed");
        }
    }
    let status = writer.wait().expect("the writer has ended");
    assert!(names.len() >= count, "the writer ended by itself: {status}");
    names
}

/// Opens what the kill left behind; returns its revision.
async fn check(path: &Path, acknowledged: &BTreeSet<String>, revision_before: u64) -> u64 {
    let store = EmbeddedStore::open(path, Retention::default()).expect("the store opens after a kill");
    let names = async |prefix: &str| -> BTreeSet<String> {
        let listing = store.range(Keys::prefix(prefix), None).await.expect("the store reads");
        let name = |entry: control_plane::store::Entry| {
            assert_eq!(entry.key.strip_prefix(prefix).map(str::as_bytes), Some(entry.value.as_ref()));
            entry.key[prefix.len()..].to_owned()
        };
        listing.entries.into_iter().map(name).collect()
    };
    let (left, right) = (names("left/").await, names("right/").await);
    assert_eq!(left, right, "a write is there by half");
    let lost: Vec<_> = acknowledged.difference(&left).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let revision = store.range(Keys::prefix("counter/"), None).await.expect("the store reads").revision;
    assert!(revision > revision_before, "revision {revision} after {revision_before}");
    revision
}
