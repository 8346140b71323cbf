//! What the members in this process tell their operators: everything logged at the level that services run with.
//!
//! One log for all tests of a process, since a process has one; a test finds its own lines by the addresses in them.

use std::io;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::wait;

static STARTED: Once = Once::new();
static LINES: Mutex<String> = Mutex::new(String::new());

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Begins to listen; what was logged before is lost.
///
/// # Panics
/// Where something else listens already.
pub fn listen() {
    STARTED.call_once(|| {
        tracing_subscriber::fmt()
            .with_max_level(LevelFilter::INFO)
            .with_ansi(false)
            .with_writer(|| Writer)
            .init();
    });
}

/// Waits for a line that holds all of `words`.
///
/// # Panics
/// Where it does not come in time.
pub fn line_with(words: &[&str]) -> String {
    let find = || {
        let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    };
    wait::until(&format!("a log line with {words:?}"), PATIENCE, find)
}

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
