//! A moment that fits an atomic. The state of endpoints is read and written without a lock, and `Instant` is too large for
//! that.

use std::ops::{Add, Sub};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Nanoseconds since this process first asked for the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// Before every other.
    pub const START: Self = Self(0);
    /// After every other.
    pub const NEVER: Self = Self(u64::MAX);

    /// The time of the process's monotonic clock.
    pub fn now() -> Self {
        Self::START + ORIGIN.elapsed()
    }

    /// As an atomic keeps it.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// For an atomic to keep.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time between both; none where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl From<Instant> for Moment {
    /// An instant before the first moment is that one.
    fn from(instant: Instant) -> Self {
        Self::START + instant.saturating_duration_since(*ORIGIN)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_order_and_none_overflows() {
        let long = Duration::MAX;
        let earlier = Moment::now();
        assert!(Moment::START <= earlier && earlier <= Moment::now());
        assert_eq!((earlier + long, Moment::NEVER + long), (Moment::NEVER, Moment::NEVER));
        assert_eq!((earlier + Duration::from_secs(1)).since(earlier), Duration::from_secs(1));
        assert_eq!(earlier.since(Moment::NEVER), Duration::ZERO);
        assert_eq!(
            (earlier + Duration::from_secs(1) - Duration::from_secs(1), earlier - long),
            (earlier, Moment::START)
        );
        assert!(Moment::from(Instant::now()) >= earlier);
        assert_eq!(Moment::from_nanos(earlier.as_nanos()), earlier);
    }
}
