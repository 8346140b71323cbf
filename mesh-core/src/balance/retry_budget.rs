//! How many retries requests are worth. Pure; counts and time are passed in.
//!
//! A service that fails is asked again by everybody, and at every tier of a chain: three attempts on three tiers are 27 requests where
//! one was meant. So retries are paid for by requests: ten requests pay for one, whatever becomes of them. The load of a service of
//! which everything fails is then at most 1.10 times its requests, and of the third such tier 1.33 times.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Moment;
use crate::resource::RetryBudget;

/// The mesh's own budget of a cluster: tenths of retries.
#[derive(Debug)]
pub(super) struct Bucket {
    tenths: u64,
    /// How many requests have paid.
    requests_seen: u64,
    /// Up to when time has paid.
    paid_until: Option<Moment>,
}

/// How many requests began in the last while, by eighths of it.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Each the number of an eighth in the upper half, and its requests in the lower.
    eighths: [AtomicU64; EIGHTHS],
}

impl Bucket {
    /// Takes what a retry costs, if it is there, when `requests` have been made in all. Requests pay, or time where it
    /// pays more, so that a service with few callers has retries too.
    pub(super) fn withdraw(&mut self, requests: u64, now: Moment) -> bool {
        let paid_until = *self.paid_until.get_or_insert(now);
        let by_requests = requests.saturating_sub(self.requests_seen);
        let by_time = now.since(paid_until).as_nanos() / TENTH_TIME.as_nanos();
        let by_time = u64::try_from(by_time).unwrap_or(u64::MAX);
        let paid = by_requests.max(by_time);
        if paid > 0 {
            self.tenths = self.tenths.saturating_add(paid).min(TENTHS_MAX);
            (self.requests_seen, self.paid_until) = (requests, Some(now));
        }
        let is_there = self.tenths >= PRICE;
        self.tenths -= if is_there { PRICE } else { 0 };
        is_there
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self { tenths: TENTHS_MAX, requests_seen: 0, paid_until: None }
    }
}

impl RetryBudget {
    /// How many retries there may be beside so many requests.
    pub(super) fn retries_max(&self, requests: u32) -> u32 {
        let share = u64::from(requests) * u64::from(self.millionths) / 1_000_000;
        u32::try_from(share).unwrap_or(u32::MAX).max(self.retries_min)
    }
}

impl Recent {
    /// Counts a request that begins now.
    pub(super) fn add(&self, interval: Duration, now: Moment) {
        let number = eighth(interval, now);
        let more = |eighth: u64| match (eighth >> 32) == number {
            true => eighth + 1,
            false => (number << 32) + 1,
        };
        let eighth = &self.eighths[number as usize % EIGHTHS];
        // A failure is impossible, for there is always a next value.
        let _ = eighth.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |eighth| Some(more(eighth)));
    }

    /// How many began within the interval, up to an eighth of it.
    pub(super) fn count(&self, interval: Duration, now: Moment) -> u32 {
        let number = eighth(interval, now);
        let eighths = self.eighths.iter().map(|eighth| eighth.load(Ordering::Relaxed));
        let lately = eighths.filter(|eighth| number.wrapping_sub(eighth >> 32) < EIGHTHS as u64);
        lately.fold(0, |sum, eighth| sum.saturating_add(eighth as u32))
    }
}

/// The number of the present eighth, from 1, for 0 is one in which nothing was counted.
fn eighth(interval: Duration, now: Moment) -> u64 {
    let eighth = u64::try_from(interval.as_nanos() / EIGHTHS as u128).unwrap_or(u64::MAX).max(1);
    u64::from((now.as_nanos() / eighth) as u32).saturating_add(1)
}

const EIGHTHS: usize = 8;
/// Of a retry; each request pays one.
const PRICE: u64 = 10;
/// What can be saved: ten retries, which are there from the beginning.
const TENTHS_MAX: u64 = 10 * PRICE;
/// Time pays one retry in a second.
const TENTH_TIME: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    /// How many retries are granted of a service of which everything fails, asked so often, at so many requests a second.
    fn granted(requests: u64, per_second: u64, attempts: u64) -> u64 {
        let (mut bucket, start) = (Bucket::default(), Moment::now());
        let mut granted = 0;
        for request in 1..=requests {
            let now = start + Duration::from_nanos(request * 1_000_000_000 / per_second);
            granted += (1..attempts).take_while(|_| bucket.withdraw(request, now)).count() as u64;
        }
        granted
    }

    #[test]
    fn a_service_of_which_everything_fails_bears_a_tenth_more_and_the_floor() {
        for (requests, per_second) in [(1_000, 50), (10_000, 500), (100_000, 20_000)] {
            let granted = granted(requests, per_second, 3);
            assert!(granted <= requests / 10 + 10, "{granted} retries of {requests} requests");
            assert!(granted >= requests / 10, "{granted} retries of {requests} requests");
        }
    }

    #[test]
    fn a_service_with_few_callers_has_a_retry_each_second() {
        assert_eq!(granted(100, 1, 2), 100);
        let busier = granted(300, 5, 2);
        assert!((60..=75).contains(&busier), "{busier} in a minute");
    }

    #[test]
    fn no_more_is_saved_than_a_few_retries() {
        let (mut bucket, start) = (Bucket::default(), Moment::now());
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..1000).filter(|_| bucket.withdraw(1_000_000, later)).count(), 10);
    }

    #[test]
    fn recent_requests_are_forgotten_by_eighths() {
        let (recent, start, interval) = (Recent::default(), Moment::START, Duration::from_millis(800));
        let at = |millis| start + Duration::from_millis(millis);
        for request in 0..8 {
            recent.add(interval, at(request * 100));
        }
        assert_eq!(recent.count(interval, at(750)), 8);
        assert_eq!(recent.count(interval, at(1_150)), 4);
        recent.add(interval, at(1_600));
        assert_eq!(recent.count(interval, at(1_600)), 1);
        assert_eq!(recent.count(interval, at(99_000)), 0);
    }

    #[test]
    fn a_share_has_a_least() {
        let budget = RetryBudget { millionths: 200_000, retries_min: 3, interval: Duration::ZERO };
        assert_eq!([0, 15, 20, 100].map(|requests| budget.retries_max(requests)), [3, 3, 4, 20]);
        assert_eq!(budget.retries_max(u32::MAX), u32::MAX / 5);
    }
}
