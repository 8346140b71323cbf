//! What the ADS server has done since it started, so that tests and operators can see that a small change costs little.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) lookups: AtomicU64,
    pub(super) translations: AtomicU64,
    pub(super) answers: AtomicU64,
    pub(super) resources: AtomicU64,
    pub(super) resource_bytes: AtomicU64,
    pub(super) refusals: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Resources looked up for a stream.
    pub lookups: u64,
    /// Of these, how many had to be translated and encoded.
    pub translations: u64,
    /// Answers sent.
    pub answers: u64,
    /// Resources in them.
    pub resources: u64,
    /// The bytes of these resources.
    pub resource_bytes: u64,
    /// Answers that clients refused.
    pub refusals: u64,
}

impl Counters {
    pub(super) fn counts(&self) -> Counts {
        Counts {
            lookups: self.lookups.load(Relaxed),
            translations: self.translations.load(Relaxed),
            answers: self.answers.load(Relaxed),
            resources: self.resources.load(Relaxed),
            resource_bytes: self.resource_bytes.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
        }
    }
}
