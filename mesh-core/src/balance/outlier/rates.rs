//! Which endpoints do worse than they should, by what was counted in an interval. Pure.

use crate::resource::outlier_detection::{FailurePercentage, SuccessRate};

/// What was counted of one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) requests: u32,
    pub(super) failures: u32,
}

impl Sample {
    /// The share of failures, from 0 to 100.
    fn failure_percent(self) -> f64 {
        f64::from(self.failures) * 100.0 / f64::from(self.requests.max(1))
    }
}

/// The places of those whose share of successes is further below the average than so many standard deviations.
pub(super) fn far_below(rate: &SuccessRate, samples: &[Sample]) -> Vec<usize> {
    let judged = judged(samples, rate.requests_min, rate.endpoints_min);
    let count = judged.len() as f64;
    let success = |sample: &Sample| 100.0 - sample.failure_percent();
    let average = judged.iter().map(|(_, sample)| success(sample)).sum::<f64>() / count;
    let variance = judged.iter().map(|(_, sample)| (success(sample) - average).powi(2)).sum::<f64>() / count;
    let threshold = average - variance.sqrt() * f64::from(rate.stdev_factor_thousandths) / 1000.0;
    judged.iter().filter(|(_, sample)| success(sample) < threshold).map(|(at, _)| *at).collect()
}

/// The places of those that failed too often.
pub(super) fn too_many(rate: &FailurePercentage, samples: &[Sample]) -> Vec<usize> {
    let judged = judged(samples, rate.requests_min, rate.endpoints_min);
    let fails = |sample: &Sample| sample.failure_percent() >= f64::from(rate.threshold_percent);
    judged.iter().filter(|(_, sample)| fails(sample)).map(|(at, _)| *at).collect()
}

/// Those who had enough requests, if they are enough.
fn judged(samples: &[Sample], requests_min: u32, endpoints_min: u32) -> Vec<(usize, Sample)> {
    let enough = |(_, sample): &(usize, Sample)| sample.requests >= requests_min.max(1);
    let judged: Vec<_> = samples.iter().copied().enumerate().filter(enough).collect();
    if judged.len() < endpoints_min as usize { Vec::new() } else { judged }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::outlier_detection::Enforced;

    const ENFORCED: Enforced = Enforced { external_percent: 100, local_origin_percent: 0 };

    fn samples(failures: &[u32]) -> Vec<Sample> {
        failures.iter().map(|failures| Sample { requests: 100, failures: *failures }).collect()
    }

    #[test]
    fn one_far_below_the_others_is_found() {
        let rate = SuccessRate {
            endpoints_min: 5,
            requests_min: 100,
            stdev_factor_thousandths: 1900,
            enforced: ENFORCED,
        };
        let check = |failures: &[u32], expected: &[usize]| {
            assert_eq!(far_below(&rate, &samples(failures)), expected, "{failures:?}");
        };
        check(&[0, 0, 0, 0, 50], &[4]);
        check(&[1, 2, 1, 2, 1, 90], &[5]);
        check(&[50, 50, 50, 50, 50], &[]);
        check(&[0, 50, 0, 50, 0], &[]);
        check(&[0, 0, 0, 50], &[]);
        check(&[], &[]);
        let mut few = samples(&[0, 0, 0, 0, 50]);
        few[4].requests = 99;
        assert!(far_below(&rate, &few).is_empty());
    }

    #[test]
    fn one_that_fails_too_often_is_found_whatever_the_others_do() {
        let rate = FailurePercentage {
            endpoints_min: 2,
            requests_min: 50,
            threshold_percent: 85,
            enforced: ENFORCED,
        };
        let check = |failures: &[u32], expected: &[usize]| {
            assert_eq!(too_many(&rate, &samples(failures)), expected, "{failures:?}");
        };
        check(&[0, 84, 85], &[2]);
        check(&[100, 100], &[0, 1]);
        check(&[100], &[]);
    }
}
