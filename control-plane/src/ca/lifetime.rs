//! How long a certificate lives: never longer than the bound, whoever asks.

use std::time::Duration;

/// The lives that the authority gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifetimePolicy {
    default: Duration,
    max: Duration,
}

impl LifetimePolicy {
    /// A policy of `default` for whoever does not ask, and `max` for whoever does.
    ///
    /// # Errors
    /// When one is zero, the default exceeds the maximum, or the maximum exceeds 90 days.
    pub fn new(default: Duration, max: Duration) -> Result<Self, LifetimePolicyError> {
        if default.is_zero() || default > max || max > LIFETIME_MAX {
            return Err(LifetimePolicyError);
        }
        Ok(Self { default, max })
    }

    /// The life for a wish in seconds, as `CreateCertificate` carries it; zero or less is no wish.
    pub fn choose(&self, wished_seconds: i64) -> LeafLifetime {
        let wished = u64::try_from(wished_seconds).ok().filter(|seconds| *seconds > 0);
        LeafLifetime(wished.map_or(self.default, |seconds| Duration::from_secs(seconds).min(self.max)))
    }
}

impl Default for LifetimePolicy {
    /// 24 hours, and 90 days for whoever asks for more.
    fn default() -> Self {
        Self { default: Duration::from_secs(24 * 60 * 60), max: LIFETIME_MAX }
    }
}

/// A bounded life of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafLifetime(Duration);

impl LeafLifetime {
    /// As a duration.
    pub fn as_duration(self) -> Duration {
        self.0
    }
}

/// Lifetimes that make no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("certificates live longer than nothing, by default not longer than at most, and at most 90 days")]
pub struct LifetimePolicyError;

/// Clocks differ: a certificate is valid from a little before it was made.
pub(super) const BACKDATED: Duration = Duration::from_secs(5 * 60);
const LIFETIME_MAX: Duration = Duration::from_secs(90 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_granted_within_bounds() {
        let policy = LifetimePolicy::new(Duration::from_secs(100), Duration::from_secs(200)).unwrap();
        let check = |wished, seconds| {
            assert_eq!(policy.choose(wished).as_duration(), Duration::from_secs(seconds), "{wished}");
        };
        check(0, 100);
        check(-5, 100);
        check(i64::MIN, 100);
        check(150, 150);
        check(201, 200);
        check(i64::MAX, 200);
    }

    #[test]
    fn policies_without_sense_are_refused() {
        let seconds = Duration::from_secs;
        for (default, max) in [(0, 10), (20, 10), (10, 90 * 86400 + 1)] {
            assert!(LifetimePolicy::new(seconds(default), seconds(max)).is_err(), "{default} {max}");
        }
        assert!(LifetimePolicy::new(seconds(1), seconds(90 * 86400)).is_ok());
    }
}
