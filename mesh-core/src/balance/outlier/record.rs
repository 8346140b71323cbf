//! What is known of one endpoint: what was counted of it, whether it is ejected, and how often it was.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::rates::Sample;
use super::signs::Signs;
use super::{EjectionReason, Moment};
use crate::resource::OutlierDetection;
use crate::resource::outlier_detection::Consecutive;

/// An endpoint's record; part of its state, and so kept over configuration changes.
#[derive(Debug, Default)]
pub(in crate::balance) struct OutlierRecord {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_failure: AtomicU32,
    consecutive_local_origin_failure: AtomicU32,
    external: Window,
    local_origin: Window,
    /// When it is to be asked again; 0 while it is not ejected.
    until: AtomicU64,
    /// From when on attempts count: the last readmission or, while it is probed, the probe's beginning. Never while it is left
    /// alone.
    since: AtomicU64,
    /// How often it has been ejected, less what has been forgotten by `since`.
    times: AtomicU32,
    /// For how long a probe is waited for, before there is another one.
    patience: AtomicU64,
}

/// Requests and failures, in the upper and the lower half, so that both are taken at once.
#[derive(Debug, Default)]
struct Window(AtomicU64);

impl OutlierRecord {
    pub(in crate::balance) fn is_ejected(&self) -> bool {
        self.until.load(Ordering::Relaxed) != 0
    }

    /// Until when it is left alone, if it is.
    pub(in crate::balance) fn ejected_until(&self) -> Option<Moment> {
        Some(self.until.load(Ordering::Relaxed)).filter(|until| *until != 0).map(Moment::from_nanos)
    }

    /// Whether the request that asks is to probe it: one does, when its time is over, and another one if nothing is heard of
    /// that for long.
    pub(in crate::balance) fn claims_probe(&self, now: Moment) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        if until == 0 || Moment::from_nanos(until) > now {
            return false;
        }
        let patience = Duration::from_nanos(self.patience.load(Ordering::Relaxed));
        let next = (now + patience).as_nanos();
        let claimed = self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if claimed {
            self.since.store(now.as_nanos(), Ordering::Relaxed);
        }
        claimed
    }

    pub(super) fn is_of_now(&self, start: Moment) -> bool {
        start.as_nanos() >= self.since.load(Ordering::Relaxed)
    }

    /// Counts an attempt; says why it is one too many, and in how many of a hundred cases that has consequences.
    pub(super) fn count(&self, detection: &OutlierDetection, signs: &Signs) -> Option<(EjectionReason, u32)> {
        let mut found = None;
        if let Some(failed) = signs.external {
            let gateway = detection.consecutive_gateway_failure;
            let too_many = in_a_row(&self.consecutive_gateway_failure, gateway, failed && signs.gateway);
            found = found.or(too_many.map(|enforced| (EjectionReason::ConsecutiveGatewayFailure, enforced)));
            let too_many = in_a_row(&self.consecutive_5xx, detection.consecutive_5xx, failed);
            found = found.or(too_many.map(|enforced| (EjectionReason::Consecutive5xx, enforced)));
        }
        if let Some(failed) = signs.local_origin {
            let wanted = detection.consecutive_local_origin_failure;
            let too_many = in_a_row(&self.consecutive_local_origin_failure, wanted, failed);
            let reason = EjectionReason::ConsecutiveLocalOriginFailure;
            found = found.or(too_many.map(|enforced| (reason, enforced)));
        }
        if detection.judges_rates() {
            signs.external.into_iter().for_each(|failed| self.external.count(failed));
            signs.local_origin.into_iter().for_each(|failed| self.local_origin.count(failed));
        }
        found
    }

    /// What was counted by what it answered, which begins anew.
    pub(super) fn take_external(&self) -> Sample {
        self.external.take()
    }

    /// What was counted of local origin, which begins anew.
    pub(super) fn take_local_origin(&self) -> Sample {
        self.local_origin.take()
    }

    /// Ejects it, or once more, and says for how long. `jitter` is drawn from [0, 1).
    pub(super) fn eject(&self, detection: &OutlierDetection, now: Moment, jitter: f64) -> Duration {
        let times = self.times.load(Ordering::Relaxed);
        let forgotten = match self.is_ejected() {
            true => 0,
            // As many intervals as it did well for are as many ejections fewer.
            false => {
                let well = now.since(Moment::from_nanos(self.since.load(Ordering::Relaxed)));
                u32::try_from(well.as_nanos() / detection.interval.as_nanos().max(1)).unwrap_or(u32::MAX)
            }
        };
        let times = times.saturating_sub(forgotten).saturating_add(1);
        let base = detection.base_ejection_time;
        let time = base.saturating_mul(times).min(detection.ejection_time_max);
        let time = time + detection.ejection_time_jitter_max.mul_f64(jitter);
        self.forget_counts();
        self.times.store(times, Ordering::Relaxed);
        self.patience.store(u64::try_from(base.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.since.store(Moment::NEVER.as_nanos(), Ordering::Relaxed);
        self.until.store((now + time).as_nanos(), Ordering::Relaxed);
        time
    }

    /// Readmits it; says whether it was ejected.
    pub(super) fn readmit(&self, now: Moment) -> bool {
        self.forget_counts();
        let was_ejected = self.until.swap(0, Ordering::Relaxed) != 0;
        if was_ejected {
            self.since.store(now.as_nanos(), Ordering::Relaxed);
        }
        was_ejected
    }

    fn forget_counts(&self) {
        let in_a_row = [
            &self.consecutive_5xx,
            &self.consecutive_gateway_failure,
            &self.consecutive_local_origin_failure,
        ];
        in_a_row.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        self.external.take();
        self.local_origin.take();
    }
}

/// Counts failures in a row; where they are as many as wanted, says how often that has consequences, and begins anew.
fn in_a_row(count: &AtomicU32, wanted: Option<Consecutive>, failed: bool) -> Option<u32> {
    let wanted = wanted?;
    if !failed {
        // Nothing is written where all goes well.
        if count.load(Ordering::Relaxed) != 0 {
            count.store(0, Ordering::Relaxed);
        }
        return None;
    }
    if count.fetch_add(1, Ordering::Relaxed).saturating_add(1) < wanted.failures {
        return None;
    }
    count.store(0, Ordering::Relaxed);
    Some(wanted.enforced_percent)
}

impl Window {
    fn count(&self, failed: bool) {
        self.0.fetch_add(1 << 32 | u64::from(failed), Ordering::Relaxed);
    }

    fn take(&self) -> Sample {
        let both = self.0.swap(0, Ordering::Relaxed);
        Sample { requests: (both >> 32) as u32, failures: both as u32 }
    }
}
