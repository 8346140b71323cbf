//! Waiting for a fact, bounded, so that a test that cannot pass ends with a sentence instead of a hang.

use std::time::{Duration, Instant};

/// How often a fact is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Waits until `fact` gives a value.
///
/// # Panics
/// After `limit`, naming `what`.
pub fn until<T>(what: &str, limit: Duration, mut fact: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = fact() {
            return value;
        }
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(POLL);
    }
}
