//! Weighted destinations and the draw among them.

use std::sync::Arc;

use http::HeaderValue;

use super::HeaderOperations;

/// Weighted destinations.
#[derive(Debug)]
pub struct Split {
    /// In the document's order.
    pub destinations: Vec<WeightedDestination>,
}

/// One choice of a split.
#[derive(Debug)]
pub struct WeightedDestination {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Its place in [`crate::snapshot::HostConfig::clusters`].
    pub cluster_index: usize,
    /// Relative to the sum of all.
    pub weight: u32,
    /// What the authority becomes, unless the route says it.
    pub authority: Option<HeaderValue>,
    /// Applied after the route's.
    pub request_headers: HeaderOperations,
    /// Applied after the route's.
    pub response_headers: HeaderOperations,
}

impl Split {
    /// The destination for a number drawn from [0, 1). Weights are relative to their sum; 0 among others is never chosen, and
    /// a single destination is, whatever its weight.
    pub fn choose(&self, draw: f64) -> Option<&WeightedDestination> {
        if let [only] = self.destinations.as_slice() {
            return Some(only);
        }
        let total: u64 = self.destinations.iter().map(|destination| u64::from(destination.weight)).sum();
        // Rounding may carry a draw just below 1 up to the total, which belongs to no one.
        let mut point = ((draw * total as f64) as u64).min(total.saturating_sub(1));
        self.destinations.iter().find(|destination| {
            let weight = u64::from(destination.weight);
            let hit = point < weight;
            point = point.saturating_sub(weight);
            hit
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(weights: &[u32]) -> Split {
        let destination = |(at, weight): (usize, &u32)| WeightedDestination {
            cluster: at.to_string().into(),
            cluster_index: at,
            weight: *weight,
            authority: None,
            request_headers: HeaderOperations::default(),
            response_headers: HeaderOperations::default(),
        };
        Split { destinations: weights.iter().enumerate().map(destination).collect() }
    }

    #[track_caller]
    fn check(weights: &[u32], draw: f64, expected: Option<usize>) {
        assert_eq!(split(weights).choose(draw).map(|chosen| chosen.cluster_index), expected);
    }

    #[test]
    fn a_draw_falls_to_the_destination_whose_share_holds_it() {
        check(&[90, 10], 0.0, Some(0));
        check(&[90, 10], 0.8999, Some(0));
        check(&[90, 10], 0.9, Some(1));
        check(&[90, 10], 0.9999, Some(1));
        check(&[1, 2], 0.34, Some(1));
        check(&[u32::MAX, u32::MAX], 1.0 - f64::EPSILON / 2.0, Some(1));
    }

    #[test]
    fn nothing_falls_to_weight_zero_among_others() {
        check(&[0, 1], 0.0, Some(1));
        check(&[1, 0], 1.0 - f64::EPSILON / 2.0, Some(0));
        check(&[0, 0], 0.5, None);
        check(&[], 0.5, None);
    }

    #[test]
    fn a_single_destination_ignores_its_weight() {
        check(&[0], 0.5, Some(0));
    }

    #[test]
    fn evenly_spread_draws_fall_exactly_by_weight() {
        let split = split(&[7, 0, 2, 1]);
        let mut counts = [0; 4];
        for step in 0..1000 {
            let draw = f64::from(step) / 1000.0;
            counts[split.choose(draw).expect("a destination").cluster_index] += 1;
        }
        assert_eq!(counts, [700, 0, 200, 100]);
    }
}
