//! How long to wait before the next attempt to reach the control plane.
//!
//! Doubling keeps a dead control plane from being hammered; full jitter keeps thousands of clients from coming back at the
//! same instant after it restarts.

use std::time::Duration;

/// Doubles with each failure up to a limit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure, for a number drawn from [0, 1).
    pub(crate) fn failed(&mut self, draw: f64) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        // At least a half, so that a lucky draw is no busy loop.
        ceiling.mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
    }

    /// An attempt went well.
    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..9).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.failed(0.0), Duration::from_secs(5));
        backoff.succeeded();
        assert_eq!(backoff.failed(0.0), Duration::from_millis(50));
    }
}
