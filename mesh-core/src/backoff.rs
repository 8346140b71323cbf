//! How long to wait after failures: doubled from one to the next, up to a limit. Pure: the random number comes in.
//!
//! Doubling keeps whoever is down from being hammered; the draw keeps thousands that failed together from coming back together.

use std::time::Duration;

/// A wait that doubles with each failure in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// From `min` after the first failure up to `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// The longest wait after a failure that `failures_before` went before.
    pub fn longest(&self, failures_before: u32) -> Duration {
        self.min.saturating_mul(1 << failures_before.min(DOUBLINGS_MAX)).min(self.max)
    }

    /// The wait after a failure that `failures_before` went before, for a `draw` from [0, 1): at least half of the longest, so that
    /// a lucky draw is no busy loop.
    pub fn wait(&self, failures_before: u32, draw: f64) -> Duration {
        self.longest(failures_before).mul_f64(0.5 + draw.clamp(0.0, 1.0) / 2.0)
    }
}

/// What a `u32` bears.
const DOUBLINGS_MAX: u32 = 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_limit() {
        let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        let check = |failures_before, draw, millis| {
            let wait = backoff.wait(failures_before, draw);
            assert_eq!(wait, Duration::from_millis(millis), "{failures_before} {draw}");
        };
        for (failures_before, millis) in (0..).zip([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]) {
            check(failures_before, 1.0, millis);
            assert_eq!(backoff.longest(failures_before), Duration::from_millis(millis));
        }
        check(u32::MAX, 1.0, 10_000);
        check(0, 0.0, 50);
        check(1, 0.5, 150);
        check(u32::MAX, 0.0, 5_000);
        check(0, f64::MAX, 100);
    }

    #[test]
    fn the_limit_holds_for_the_first_wait_too() {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_millis(10));
        assert_eq!(backoff.longest(0), Duration::from_millis(10));
    }
}
