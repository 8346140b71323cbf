//! A share of requests, exact to a millionth, which is the finest that xDS counts.

/// A share of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fraction {
    millionths: u32,
}

impl Fraction {
    /// Every request.
    pub const ALL: Self = Self { millionths: MILLION };

    /// So many of a million; more than all are all.
    pub fn of_million(count: u32) -> Self {
        Self { millionths: count.min(MILLION) }
    }

    /// Of a hundred.
    pub fn percentage(self) -> f64 {
        f64::from(self.millionths) / 10_000.0
    }

    /// Whether a request is among them, given a number drawn from [0, 1). Without a draw only none and all are known.
    pub fn holds(self, draw: Option<f64>) -> Option<bool> {
        match (self.millionths, draw) {
            (0, _) => Some(false),
            (MILLION, _) => Some(true),
            (millionths, draw) => Some(draw? * f64::from(MILLION) < f64::from(millionths)),
        }
    }
}

const MILLION: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_is_among_a_share_below_its_size() {
        let check = |millionths, draw, expected| {
            assert_eq!(Fraction::of_million(millionths).holds(draw), expected, "{millionths} {draw:?}");
        };
        check(0, Some(0.0), Some(false));
        check(1, Some(0.0), Some(true));
        check(1, Some(0.000_001), Some(false));
        check(500_000, Some(0.499_999_9), Some(true));
        check(500_000, Some(0.5), Some(false));
        check(1_000_000, Some(1.0 - f64::EPSILON / 2.0), Some(true));
        check(u32::MAX, Some(0.9), Some(true));
    }

    #[test]
    fn without_a_draw_only_none_and_all_are_sure() {
        assert_eq!(Fraction::of_million(0).holds(None), Some(false));
        assert_eq!(Fraction::ALL.holds(None), Some(true));
        assert_eq!(Fraction::of_million(999_999).holds(None), None);
    }

    #[test]
    fn evenly_spread_draws_meet_a_share_exactly() {
        let share = Fraction::of_million(125);
        let met = (0..1_000_000).filter(|draw| share.holds(Some(f64::from(*draw) / 1e6)) == Some(true));
        assert_eq!(met.count(), 125);
    }
}
