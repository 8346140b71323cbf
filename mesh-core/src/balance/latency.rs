//! How long an endpoint lets its callers wait, and how often it fails: what its load is multiplied by.
//!
//! Peak EWMA, an idea of Finagle's: one slow answer counts in full at once, a faster one after and after, and what is not
//! confirmed fades. An endpoint that nobody asks any more seems fast again in the end, and is asked. By speed alone the endpoint that
//! fails at once would be the best of all, so failures multiply what its answers took, and are no answers.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::{Moment, Verdict};

/// What is remembered of an endpoint's answers.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// Nanoseconds until an answer began.
    wait: Fading,
    /// The share of attempts that failed.
    failures: Fading,
    /// Attempts that have not ended.
    unanswered: AtomicU32,
    /// When the last one was answered, or the first of the unanswered began if that was later.
    heard: AtomicU64,
}

impl Latency {
    /// Counts an attempt, until it is [ended](Self::end).
    pub(super) fn begin(&self, now: Moment) {
        if self.unanswered.fetch_add(1, Ordering::Relaxed) == 0 {
            self.heard.store(now.as_nanos(), Ordering::Relaxed);
        }
    }

    /// Takes how an attempt ended.
    pub(super) fn end(&self, verdict: Verdict, elapsed: Duration, now: Moment) {
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
        let nanos = elapsed.as_nanos() as f32;
        match verdict {
            // It would have taken at least so long.
            Verdict::Cancelled => return self.wait.raise(nanos, now),
            Verdict::TimedOut => {}
            _ => self.heard.store(now.as_nanos(), Ordering::Relaxed),
        }
        let is_failure = verdict.is_failure();
        self.failures.blend(f32::from(u8::from(is_failure)), now);
        match is_failure {
            true => self.wait.raise(nanos, now),
            false => self.wait.peak(nanos, now),
        }
    }

    /// By how much a request to it costs more than one that is answered at once; none while nothing is known.
    pub(super) fn cost(&self, now: Moment) -> Option<f32> {
        let mut wait = self.wait.at(now);
        if self.unanswered.load(Ordering::Relaxed) > 0 {
            // One that has fallen silent is as slow as its silence is long.
            let silence = now.since(Moment::from_nanos(self.heard.load(Ordering::Relaxed)));
            wait = Some(wait.unwrap_or_default().max(silence.as_nanos() as f32));
        }
        let failures = self.failures.at(now).unwrap_or_default() * FAILURE_WEIGHT;
        Some((wait? + WAIT_MIN) * (1.0 + failures * failures))
    }
}

/// A number that fades with time, and when it was set: both in one atomic. Zero is nothing.
#[derive(Debug, Default)]
struct Fading(AtomicU64);

impl Fading {
    /// What is left of it.
    fn at(&self, now: Moment) -> Option<f32> {
        let (value, set_at) = unpack(self.0.load(Ordering::Relaxed))?;
        Some(value * remaining(set_at, now))
    }

    /// Moves towards `sample`, the more, the longer there was none; there all at once if it is the first.
    fn blend(&self, sample: f32, now: Moment) {
        self.set(now, |value, remains| match value {
            Some(value) => value * remains + sample * (1.0 - remains),
            None => sample,
        });
    }

    /// As [`blend`](Self::blend), but a higher sample counts in full.
    fn peak(&self, sample: f32, now: Moment) {
        self.set(now, |value, remains| match value {
            Some(value) => sample.max(value * remains + sample * (1.0 - remains)),
            None => sample,
        });
    }

    /// Takes a sample if it is higher, and else is confirmed.
    fn raise(&self, sample: f32, now: Moment) {
        self.set(now, |value, _| value.unwrap_or_default().max(sample));
    }

    fn set(&self, now: Moment, next: impl Fn(Option<f32>, f32) -> f32) {
        let step = |packed| {
            let before = unpack(packed);
            let remains = before.map_or(0.0, |(_, set_at)| remaining(set_at, now));
            let packed_next = pack(next(before.map(|(value, _)| value), remains), now);
            (packed_next != packed).then_some(packed_next)
        };
        // Nothing is written where nothing changes.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step);
    }
}

fn pack(value: f32, now: Moment) -> u64 {
    u64::from(value.to_bits()) << 32 | u64::from(millis(now))
}

fn unpack(packed: u64) -> Option<(f32, u32)> {
    (packed != 0).then(|| (f32::from_bits((packed >> 32) as u32), packed as u32))
}

/// Wraps after seven weeks, by when all has faded.
fn millis(now: Moment) -> u32 {
    (now.as_nanos() / 1_000_000) as u32
}

/// The part that is left of what was set then; all of it where others have set it since `now`.
fn remaining(set_at: u32, now: Moment) -> f32 {
    let elapsed = millis(now).wrapping_sub(set_at) as i32;
    if elapsed <= 0 { 1.0 } else { (elapsed as f32 / -FADING_MILLIS).exp() }
}

/// After so long, 37 % are left.
const FADING_MILLIS: f32 = 10_000.0;
/// In nanoseconds. Differences far below it are the network's and the scheduler's, not the endpoint's.
const WAIT_MIN: f32 = 1e6;
/// One failure in 32 doubles the cost; if all fail, it is a thousandfold, so that it takes as many requests in flight elsewhere
/// to make the endpoint look good.
const FAILURE_WEIGHT: f32 = 32.0;

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    const OK: Verdict = Verdict::Answered(StatusCode::OK);
    const UNAVAILABLE: Verdict = Verdict::Answered(StatusCode::SERVICE_UNAVAILABLE);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Moment {
        Moment::START + ms(1_000 + millis)
    }

    /// Attempts by when each ends, how and after how many milliseconds.
    fn told(ends: impl IntoIterator<Item = (u64, Verdict, u64)>) -> Latency {
        let latency = Latency::default();
        for (end, verdict, elapsed) in ends {
            latency.begin(at(end.saturating_sub(elapsed)));
            latency.end(verdict, ms(elapsed), at(end));
        }
        latency
    }

    /// The cost in milliseconds of waiting, less the one that all have.
    #[track_caller]
    fn check(latency: &Latency, now: u64, expected: std::ops::Range<f32>) {
        let cost = latency.cost(at(now)).expect("something is known") / 1e6 - 1.0;
        assert!(expected.contains(&cost), "{cost} ms at {now} ms");
    }

    #[test]
    fn a_slow_answer_counts_at_once_and_fades_as_faster_ones_come() {
        assert_eq!(Latency::default().cost(at(0)), None);
        let latency = told([(0, OK, 10), (10, OK, 100), (20, OK, 10)]);
        check(&latency, 20, 99.0..100.1);
        let latency = told((0..1000).map(|tick| (tick * 30, OK, if tick == 0 { 100 } else { 10 })));
        check(&latency, 30_000, 13.0..16.0);
    }

    #[test]
    fn what_is_not_confirmed_fades() {
        let latency = told([(0, OK, 1_000)]);
        check(&latency, 10_000, 360.0..375.0);
        check(&latency, 100_000, 0.0..0.1);
    }

    #[test]
    fn one_that_fails_fast_is_worse_than_one_that_is_slow() {
        let failing = told((0..100).map(|tick| (tick * 10, UNAVAILABLE, 0)));
        check(&failing, 1_000, 900.0..1_100.0);
        // It was good before: that takes a moment, and no longer.
        let turning =
            |count| told((0..count).map(|tick| (tick * 10, if tick < 100 { OK } else { UNAVAILABLE }, 1)));
        check(&turning(100), 1_000, 0.9..1.1);
        check(&turning(150), 1_500, 5.0..8.0);
        check(&turning(300), 3_000, 60.0..90.0);
    }

    #[test]
    fn a_rare_failure_weighs_little() {
        let latency =
            told((0..1000).map(|tick| (tick * 10, if tick % 100 == 50 { Verdict::Reset } else { OK }, 1)));
        check(&latency, 10_000, 1.0..1.5);
    }

    #[test]
    fn one_that_failed_is_asked_again_when_that_has_faded() {
        let latency = told([(0, Verdict::NotConnected, 0)]);
        check(&latency, 0, 900.0..1_100.0);
        check(&latency, 40_000, 0.0..0.5);
    }

    #[test]
    fn an_attempt_that_was_given_up_counts_if_it_was_slow() {
        let patient = told([(0, OK, 10), (20, Verdict::Cancelled, 500)]);
        check(&patient, 20, 499.0..501.0);
        let impatient = told([(0, OK, 100), (20, Verdict::Cancelled, 1)]);
        check(&impatient, 20, 99.0..101.0);
        let timed_out = told([(0, OK, 10), (20, Verdict::TimedOut, 500)]);
        check(&timed_out, 20, 499.0..600.0);
    }

    #[test]
    fn one_that_has_fallen_silent_is_as_slow_as_its_silence_is_long() {
        let latency = told([(0, OK, 1)]);
        latency.begin(at(1_000));
        latency.begin(at(1_400));
        check(&latency, 1_500, 499.0..501.0);
        latency.end(OK, ms(150), at(1_550));
        check(&latency, 1_600, 149.0..151.0);
        latency.end(Verdict::Cancelled, ms(1_000), at(2_000));
        check(&latency, 2_000, 999.0..1_001.0);
    }

    #[test]
    fn one_who_tells_late_does_not_turn_time_back() {
        let latency = told([(100, OK, 10)]);
        latency.begin(at(0));
        latency.end(OK, ms(20), at(50));
        check(&latency, 100, 19.0..21.0);
    }
}
