//! What probes of an endpoint have shown. Until the first one that is nothing, and the endpoint takes requests: a first call does not
//! wait for a probe, and the first answer, which is asked for at once, counts alone.

use std::sync::atomic::{AtomicU8, Ordering};

/// An endpoint's health as probes see it.
#[derive(Debug, Default)]
pub struct Probed(AtomicU8);

impl Probed {
    /// Notes what probes have come to; the cluster has to be told of the change.
    pub fn set(&self, healthy: bool) {
        self.0.store(if healthy { HEALTHY } else { UNHEALTHY }, Ordering::Release);
    }

    /// Nobody probes any longer.
    pub fn forget(&self) {
        self.0.store(UNKNOWN, Ordering::Release);
    }

    /// Whether probes say that it cannot take requests.
    pub fn is_unhealthy(&self) -> bool {
        self.0.load(Ordering::Acquire) == UNHEALTHY
    }
}

const UNKNOWN: u8 = 0;
const HEALTHY: u8 = 1;
const UNHEALTHY: u8 = 2;
