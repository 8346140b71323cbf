//! From single answers to an endpoint's health.
//!
//! The first answer counts alone, for nothing else is known; from then on it takes as many in a row as the check says. An endpoint
//! that comes back and soon goes again has to show twice as many good answers each time, so that one that flaps costs its
//! callers less and less:
//!
//! ```text
//!   first answer ─► healthy ── unhealthy_threshold bad in a row ──► unhealthy
//!                      ▲                                                │
//!                      └── healthy_threshold · 2^flaps good in a row ◄──┘      (flaps: 0 again after it has stayed)
//! ```

use super::HealthCheck;

/// What an endpoint's answers so far have come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tracker {
    healthy: Option<bool>,
    /// Answers in a row that speak against what it is.
    against: u32,
    /// Good answers since it has been healthy.
    stayed: u32,
    /// How often it has gone without having stayed.
    flaps: u32,
}

impl Tracker {
    /// Takes an answer; tells the endpoint's health where that is another one now.
    pub fn note(&mut self, check: &HealthCheck, good: bool) -> Option<bool> {
        let Some(healthy) = self.healthy else {
            self.healthy = Some(good);
            return self.healthy;
        };
        if good && healthy {
            self.stayed = self.stayed.saturating_add(1);
        }
        if good == healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if healthy { check.unhealthy_threshold } else { self.good_wanted(check) };
        if self.against < enough {
            return None;
        }
        if healthy {
            self.flaps = if self.stayed < STAYED { (self.flaps + 1).min(FLAPS_MAX) } else { 0 };
        }
        *self = Self { healthy: Some(good), against: 0, stayed: 0, flaps: self.flaps };
        self.healthy
    }

    /// How many good answers in a row an unhealthy endpoint has to give.
    fn good_wanted(&self, check: &HealthCheck) -> u32 {
        check.healthy_threshold.saturating_mul(1 << self.flaps.saturating_sub(1))
    }
}

/// An endpoint has stayed after so many good answers.
const STAYED: u32 = 60;
/// From here on the wanted number grows no more: 16 times the threshold.
const FLAPS_MAX: u32 = 5;

#[cfg(test)]
mod tests {
    use super::super::Probe;
    use super::*;

    fn check() -> HealthCheck {
        HealthCheck { unhealthy_threshold: 3, healthy_threshold: 2, ..HealthCheck::of(Probe::Tcp) }
    }

    /// How many answers of one kind it takes until its health is another one.
    fn until_changed(tracker: &mut Tracker, good: bool) -> usize {
        (1..1000).find(|_| tracker.note(&check(), good) == Some(good)).expect("a change")
    }

    #[test]
    fn the_first_answer_counts_alone_and_later_ones_in_a_row() {
        for first in [true, false] {
            assert_eq!(Tracker::default().note(&check(), first), Some(first));
        }
        let mut tracker = Tracker::default();
        let seen = [true, false, false, true, false, false, false, true, false, true, true]
            .map(|good| tracker.note(&check(), good));
        let changes: Vec<_> = seen.iter().enumerate().filter_map(|(at, seen)| Some((at, (*seen)?))).collect();
        assert_eq!(changes, [(0, true), (6, false), (10, true)]);
    }

    #[test]
    fn who_flaps_has_to_show_more_each_time_until_it_has_stayed() {
        let mut tracker = Tracker::default();
        tracker.note(&check(), true);
        let mut wanted = Vec::new();
        for _ in 0..7 {
            assert_eq!(until_changed(&mut tracker, false), 3);
            wanted.push(until_changed(&mut tracker, true));
        }
        assert_eq!(wanted, [2, 4, 8, 16, 32, 32, 32]);
        (0..STAYED).for_each(|_| assert_eq!(tracker.note(&check(), true), None));
        until_changed(&mut tracker, false);
        assert_eq!(until_changed(&mut tracker, true), 2);
    }
}
