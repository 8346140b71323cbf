//! When to renew, and when to try again after a failure. Pure: what is left of a life, and a random number, come in.

use std::time::Duration;

use crate::backoff::Backoff;

/// How long to wait before renewing an SVID that has `remaining` to live: half of it, give or take a tenth, so that
/// processes that started together do not come back together. `random` lies in `0.0..1.0`.
pub(super) fn renewal_delay(remaining: Duration, random: f64) -> Duration {
    remaining.mul_f64(0.45 + 0.1 * random.clamp(0.0, 1.0))
}

/// How long to wait after the given number of `failures` in a row. It doubles up to five minutes, and is never longer than
/// a tenth of what remains, so that a short life still sees several attempts.
pub(super) fn renewal_retry_delay(failures: u32, remaining: Duration, random: f64) -> Duration {
    let longest = RENEWAL_RETRY_MAX.min(remaining / 10).max(RENEWAL_RETRY_MIN);
    Backoff::new(RENEWAL_RETRY_MIN, longest).wait(failures, random)
}

const RENEWAL_RETRY_MIN: Duration = Duration::from_secs(1);
const RENEWAL_RETRY_MAX: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn renewal_comes_at_half_life_more_or_less() {
        for random in [0.0, 0.3, 0.999, f64::MAX] {
            let delay = renewal_delay(HOUR * 24, random);
            assert!((HOUR * 10..=HOUR * 14).contains(&delay), "{delay:?}");
        }
        assert!(renewal_delay(HOUR, 0.0) < renewal_delay(HOUR, 0.9));
        assert_eq!(renewal_delay(Duration::ZERO, 0.5), Duration::ZERO);
    }

    #[test]
    fn retries_back_off_within_what_remains() {
        let check = |failures, remaining, seconds| {
            assert_eq!(renewal_retry_delay(failures, remaining, 1.0), Duration::from_secs(seconds));
        };
        check(0, HOUR * 12, 1);
        check(3, HOUR * 12, 8);
        check(40, HOUR * 12, 300);
        check(40, HOUR / 12, 30);
        check(40, Duration::ZERO, 1);
        assert!(renewal_retry_delay(0, HOUR, 0.0) >= RENEWAL_RETRY_MIN / 2);
    }
}
