//! What an attempt counts as. Pure.

use super::Verdict;
use crate::resource::OutlierDetection;

/// What an attempt says of an endpoint, to those who count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    /// Whether it failed by what it answered; by all else too, where failures of local origin are not split off. `None`: nothing
    /// is known of that.
    pub(super) external: Option<bool>,
    /// Whether it failed as gateways do.
    pub(super) gateway: bool,
    /// Whether it failed by local origin, where that is split off.
    pub(super) local_origin: Option<bool>,
}

impl Signs {
    /// `None` for what says nothing.
    pub(super) fn of(detection: &OutlierDetection, verdict: Verdict) -> Option<Self> {
        let splits = detection.splits_local_origin;
        match verdict {
            Verdict::Cancelled => None,
            Verdict::Answered(status) => {
                let failed = match detection.error_statuses.as_slice() {
                    [] => verdict.is_server_error(),
                    errors => errors.contains(&status),
                };
                let gateway = failed && verdict.is_gateway_error();
                Some(Self { external: Some(failed), gateway, local_origin: splits.then_some(false) })
            }
            Verdict::Connected | Verdict::NotConnected | Verdict::Reset | Verdict::TimedOut => {
                let failed = verdict.is_local_origin();
                Some(match splits {
                    true => Self { external: None, gateway: false, local_origin: Some(failed) },
                    // As a 503 or 504 of a gateway before the endpoint would.
                    false => Self { external: Some(failed), gateway: failed, local_origin: None },
                })
            }
        }
    }

    /// Whether one that is ejected is so still: it did what it could have been ejected for.
    pub(super) fn fails_probe(&self, detection: &OutlierDetection) -> bool {
        let all_count = detection.consecutive_5xx.is_some() || detection.judges_rates();
        let gateways_count = detection.consecutive_gateway_failure.is_some();
        let external = self.external == Some(true) && (all_count || gateways_count && self.gateway);
        let local_counts = detection.consecutive_local_origin_failure.is_some() || detection.judges_rates();
        external || self.local_origin == Some(true) && local_counts
    }
}
