//! Endpoints that fail are left alone for a while, then asked once: outlier detection, as Envoy has it.
//!
//! ```text
//!   counted ── too many failures ──► ejected ── its time is over ──► due ── the next request ──► probed
//!      ▲                                ▲                             ▲                            │
//!      │                                ├──────────── for longer ─────┼───────────── it failed ────┤
//!      │                                │                             └──────────── no word of it ─┤
//!      └────────────────────────────────┴──────────────────────────────────────── it succeeded ────┘
//! ```
//! Envoy lets everybody come back when an ejection is over; here one request does, so that an endpoint that is still broken
//! costs the callers one attempt and not a share of all. As there, no more than a share is ejected at a time; and never the last
//! that takes requests.
//!
//! Counting is done by atomics on the way of the request. Ejections and readmissions, which are rare, take turns. No task
//! and no timer: rates are judged by the first attempt that ends when their interval is over, which may be later than that.
//!
//! # Layout
//! `record` what is known of an endpoint · `rates` which of them do worse than the others (pure) · `signs` what an attempt counts as

mod rates;
mod record;
mod signs;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::{ClusterState, Endpoint, Moment, Verdict};
use crate::resource::OutlierDetection;
use crate::resource::outlier_detection::Enforced;
use rates::Sample;
use signs::Signs;

pub(super) use record::OutlierRecord;

/// What is known of a cluster's outliers; survives configuration changes.
#[derive(Debug, Default)]
pub struct Outliers {
    /// Held while one is ejected or readmitted, so that no two are the last but one.
    turn: Mutex<()>,
    /// When rates were last judged.
    judged: AtomicU64,
    /// In the order of [`EjectionReason::ALL`].
    ejections: [AtomicU64; EjectionReason::ALL.len()],
    readmissions: AtomicU64,
}

/// Why an endpoint is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum EjectionReason {
    /// Failures in a row.
    Consecutive5xx,
    /// 502, 503 and 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failures of local origin in a row.
    ConsecutiveLocalOriginFailure,
    /// Far fewer successes than the others.
    SuccessRate,
    /// Far fewer successes than the others, of local origin.
    LocalOriginSuccessRate,
    /// Too many failures.
    FailurePercentage,
    /// Too many failures of local origin.
    LocalOriginFailurePercentage,
    /// It was ejected, and its probe failed.
    Probe,
}

impl EjectionReason {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Consecutive5xx,
        Self::ConsecutiveGatewayFailure,
        Self::ConsecutiveLocalOriginFailure,
        Self::SuccessRate,
        Self::LocalOriginSuccessRate,
        Self::FailurePercentage,
        Self::LocalOriginFailurePercentage,
        Self::Probe,
    ];

    /// As Envoy's counters call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            Self::SuccessRate => "success_rate",
            Self::LocalOriginSuccessRate => "local_origin_success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::LocalOriginFailurePercentage => "failure_percentage_local_origin",
            Self::Probe => "probe",
        }
    }
}

impl Outliers {
    /// How often an endpoint has been ejected for that reason.
    pub fn ejections(&self, reason: EjectionReason) -> u64 {
        self.ejections[reason as usize].load(Ordering::Relaxed)
    }

    /// How often one has been readmitted.
    pub fn readmissions(&self) -> u64 {
        self.readmissions.load(Ordering::Relaxed)
    }

    /// Whether rates are to be judged now, by whom this is told: once per interval.
    fn begins_judging(&self, detection: &OutlierDetection, now: Moment) -> bool {
        let last = self.judged.load(Ordering::Relaxed);
        let is_over = now.since(Moment::from_nanos(last)) >= detection.interval;
        if last != 0 && !is_over {
            return false;
        }
        // The first interval begins with the first attempt.
        let next = now.as_nanos().max(1);
        self.judged.compare_exchange(last, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() && last != 0
    }
}

/// An attempt that has ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) verdict: Verdict,
    pub(crate) start: Moment,
    pub(crate) now: Moment,
}

/// The endpoints of a cluster under what its configuration says of outliers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) cluster: &'a str,
    pub(crate) detection: Option<&'a OutlierDetection>,
    pub(crate) endpoints: &'a [Endpoint],
    pub(crate) state: &'a ClusterState,
}

impl Watch<'_> {
    /// Takes configuration that has changed: where nothing is to be detected, nobody is ejected.
    pub(crate) fn begin(&self) {
        if self.detection.is_none() {
            let ejected = self.endpoints.iter().filter(|endpoint| endpoint.state.outlier.is_ejected());
            ejected.for_each(|endpoint| self.readmit(endpoint, Moment::START));
        }
    }

    /// Takes how an attempt ended. `draw` draws from [0, 1).
    pub(crate) fn ended(&self, endpoint: &Endpoint, ended: Ended, draw: impl Fn() -> f64) {
        let record = &endpoint.state.outlier;
        // One that began before an ejection or readmission says nothing of the time since.
        if !record.is_of_now(ended.start) {
            return;
        }
        let Some(detection) = self.detection else {
            // Counted under a configuration that is gone, and ejected since.
            if record.is_ejected() {
                self.readmit(endpoint, ended.now);
            }
            return;
        };
        let Some(signs) = Signs::of(detection, ended.verdict) else { return };
        if record.is_ejected() {
            match signs.fails_probe(detection) {
                true => self.eject(endpoint, detection, EjectionReason::Probe, ended.now, &draw),
                false => self.readmit(endpoint, ended.now),
            }
            return;
        }
        if let Some((reason, enforced_percent)) = record.count(detection, &signs)
            && is_enforced(enforced_percent, &draw)
        {
            self.eject(endpoint, detection, reason, ended.now, &draw);
        }
        if detection.judges_rates() && self.state.outliers.begins_judging(detection, ended.now) {
            self.judge(detection, ended.now, &draw);
        }
    }

    /// Ejects those whose rates are too bad. Their counts begin anew.
    fn judge(&self, detection: &OutlierDetection, now: Moment, draw: &impl Fn() -> f64) {
        let samples = |take: fn(&OutlierRecord) -> Sample| {
            self.endpoints.iter().map(|endpoint| take(&endpoint.state.outlier)).collect::<Vec<_>>()
        };
        let external = samples(OutlierRecord::take_external);
        let local = samples(OutlierRecord::take_local_origin);
        let eject = |found: Vec<usize>, reason, enforced_percent| {
            for at in found {
                if is_enforced(enforced_percent, draw) {
                    self.eject(&self.endpoints[at], detection, reason, now, draw);
                }
            }
        };
        if let Some(rate) = &detection.success_rate {
            let Enforced { external_percent, local_origin_percent } = rate.enforced;
            eject(rates::far_below(rate, &external), EjectionReason::SuccessRate, external_percent);
            let reason = EjectionReason::LocalOriginSuccessRate;
            eject(rates::far_below(rate, &local), reason, local_origin_percent);
        }
        if let Some(rate) = &detection.failure_percentage {
            let Enforced { external_percent, local_origin_percent } = rate.enforced;
            eject(rates::too_many(rate, &external), EjectionReason::FailurePercentage, external_percent);
            let reason = EjectionReason::LocalOriginFailurePercentage;
            eject(rates::too_many(rate, &local), reason, local_origin_percent);
        }
    }

    fn eject(
        &self,
        endpoint: &Endpoint,
        detection: &OutlierDetection,
        reason: EjectionReason,
        now: Moment,
        draw: &impl Fn() -> f64,
    ) {
        let outliers = &self.state.outliers;
        let _turn = outliers.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let record = &endpoint.state.outlier;
        let is_again = reason == EjectionReason::Probe;
        if record.is_ejected() != is_again || !is_again && !self.may_lose(endpoint, detection, now) {
            return;
        }
        let time = record.eject(detection, now, draw());
        outliers.ejections[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.state.changed();
        let (cluster, endpoint, reason) = (self.cluster, endpoint.spec.address, reason.as_str());
        tracing::warn!(cluster, %endpoint, reason, ?time, "endpoint ejected");
    }

    fn readmit(&self, endpoint: &Endpoint, now: Moment) {
        let outliers = &self.state.outliers;
        let _turn = outliers.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if !endpoint.state.outlier.readmit(now) {
            return;
        }
        outliers.readmissions.fetch_add(1, Ordering::Relaxed);
        self.state.changed();
        let (cluster, endpoint) = (self.cluster, endpoint.spec.address);
        tracing::info!(cluster, %endpoint, "endpoint readmitted");
    }

    /// Whether one more may be ejected: not too many are, and another one takes requests.
    fn may_lose(&self, endpoint: &Endpoint, detection: &OutlierDetection, now: Moment) -> bool {
        let ejected = self.endpoints.iter().filter(|other| other.state.outlier.is_ejected()).count() as u64;
        let share = u64::from(detection.ejection_percent_max) * self.endpoints.len() as u64;
        let is_few = (ejected + 1) * 100 <= share || ejected == 0 && detection.always_ejects_one;
        let takes = |other: &Endpoint| other.availability(now).is_available();
        let is_other = |other: &Endpoint| !Arc::ptr_eq(&other.state, &endpoint.state);
        is_few && self.endpoints.iter().any(|other| is_other(other) && takes(other))
    }
}

fn is_enforced(percent: u32, draw: impl Fn() -> f64) -> bool {
    percent >= 100 || draw() * 100.0 < f64::from(percent)
}
