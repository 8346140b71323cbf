//! Places on a line, each as long as its share: drawn in constant time, however many there are.
//!
//! ```text
//!   ends     2        5  6                 12      place 0 holds 0..2, place 1 holds 2..5, and so on
//!   guide    |     |     |     |                   where the search for a point of each equal part begins
//! ```
//! Chen and Asau, "On Generating Random Variates from an Empirical Distribution" (1974): with as many parts as places, a point's
//! place is fewer than two steps away on average. Unlike an alias table it keeps neighbours together, so that points that
//! are spread evenly meet places evenly.

use fastrand::Rng;

/// How places are shared out; there may be none.
#[derive(Debug)]
pub(super) enum Shares {
    /// So many, all alike.
    Equal(usize),
    /// By weight.
    Weighted { ends: Box<[u64]>, guide: Box<[u32]> },
}

impl Shares {
    /// A place of weight 0 is drawn only where all have that weight.
    pub(super) fn new(weights: &[u64]) -> Self {
        let total = weights.iter().fold(0_u64, |sum, weight| sum.saturating_add(*weight));
        if total == 0 || weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self::Equal(weights.len());
        }
        let running = weights.iter().scan(0_u64, |end, weight| {
            *end = end.saturating_add(*weight);
            Some(*end)
        });
        let ends: Box<[u64]> = running.collect();
        let mut place = 0;
        let begin = |part: usize| {
            let point = scaled(part_start(part, ends.len()), total);
            while ends[place] <= point {
                place += 1;
            }
            u32::try_from(place).unwrap_or(u32::MAX)
        };
        let guide = (0..ends.len()).map(begin).collect();
        Self::Weighted { ends, guide }
    }

    /// Whether all places are alike.
    pub(super) fn are_equal(&self) -> bool {
        matches!(self, Self::Equal(_))
    }

    /// A place's share as a multiple of the average.
    pub(super) fn relative(&self, place: usize) -> f32 {
        let Self::Weighted { ends, .. } = self else { return 1.0 };
        let begin = if place == 0 { 0 } else { ends[place - 1] };
        let average = ends[ends.len() - 1] as f32 / ends.len() as f32;
        (ends[place] - begin) as f32 / average
    }

    /// A place by chance; there is one.
    pub(super) fn draw(&self, rng: &mut Rng) -> usize {
        match self {
            Self::Equal(count) => rng.usize(..*count),
            Self::Weighted { .. } => self.at(rng.u64(..)),
        }
    }

    /// The place that holds that fraction (of 2⁶⁴) of the line; there is one.
    pub(super) fn at(&self, fraction: u64) -> usize {
        let (ends, guide) = match self {
            Self::Equal(count) => return scaled(fraction, *count as u64) as usize,
            Self::Weighted { ends, guide } => (ends, guide),
        };
        let point = scaled(fraction, ends[ends.len() - 1]);
        let part = scaled(fraction, guide.len() as u64) as usize;
        let mut place = guide[part] as usize;
        // A part that begins in this place may end many places on, of which each has little.
        for _ in 0..STEPS_MAX {
            if point < ends[place] {
                return place;
            }
            place += 1;
        }
        place + ends[place..].partition_point(|end| *end <= point)
    }
}

/// The fraction at which one of `parts` equal parts begins.
fn part_start(part: usize, parts: usize) -> u64 {
    let fraction = ((part as u128) << 64).div_ceil(parts as u128);
    u64::try_from(fraction).unwrap_or(u64::MAX)
}

/// That fraction (of 2⁶⁴) of a whole, rounded down.
fn scaled(fraction: u64, whole: u64) -> u64 {
    ((u128::from(fraction) * u128::from(whole)) >> 64) as u64
}

const STEPS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assume, prop_oneof, proptest};

    use super::*;

    proptest! {
        #[test]
        fn a_fraction_meets_the_place_that_holds_it(
            weights in proptest::collection::vec(prop_oneof![0_u64..4, 0_u64..1_000_000], 1..200),
            fractions in proptest::collection::vec(any::<u64>(), 50),
        ) {
            let shares = Shares::new(&weights);
            prop_assume!(!shares.are_equal());
            let total: u64 = weights.iter().sum();
            for fraction in fractions.into_iter().chain([0, u64::MAX]) {
                let place = shares.at(fraction);
                let begin: u64 = weights[..place].iter().sum();
                let point = scaled(fraction, total);
                prop_assert!((begin..begin + weights[place]).contains(&point), "{place} of {weights:?}");
            }
        }
    }

    #[test]
    fn places_of_no_weight_are_drawn_only_among_their_like() {
        let mut rng = Rng::with_seed(1);
        assert!((0..100).all(|_| Shares::new(&[0, 3, 0]).draw(&mut rng) == 1));
        let met: std::collections::BTreeSet<_> =
            (0..100).map(|_| Shares::new(&[0, 0]).draw(&mut rng)).collect();
        assert_eq!(met.len(), 2);
    }
}
