//! When an endpoint is connected to: one decision for all who wait, with a back-off after failures. Pure; time is passed in.
//!
//! A connect belongs to the pool, not to the request that asked for it: others wait for the same one, and it goes on when
//! the request is given up.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::backoff::Backoff;

use crate::connection::ConnectError;

/// The connects of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Dial {
    under_way: u32,
    /// Ever; by it those who wait see that a connect failed since they came.
    failures: u64,
    /// Without a success between them.
    failures_in_a_row: u32,
    last: Option<(Arc<ConnectError>, Instant)>,
}

/// What to do for a request that found no connection.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Begin a connect; it has been counted.
    Connect,
    /// Wait for what is under way.
    Wait,
    /// The endpoint failed just now; another one may do.
    Refuse(Arc<ConnectError>),
}

impl Dial {
    /// How many connects have failed by now.
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// Decides for a request that came when `failures_seen` connects had failed. `under_way_max`: how many connects may
    /// run at a time; 0 where the endpoint has all the connections that it may have.
    pub(super) fn ask(&mut self, failures_seen: u64, under_way_max: u32, now: Instant) -> Verdict {
        if let Some((error, until)) = &self.last
            && (self.failures > failures_seen || now < *until)
        {
            return Verdict::Refuse(error.clone());
        }
        if self.under_way >= under_way_max {
            return Verdict::Wait;
        }
        self.under_way += 1;
        Verdict::Connect
    }

    /// Why a connect that nobody else waits for had better not be tried now.
    pub(super) fn refusal(&self, now: Instant) -> Option<Arc<ConnectError>> {
        self.last.as_ref().filter(|(_, until)| now < *until).map(|(error, _)| error.clone())
    }

    /// A connect came about.
    pub(super) fn succeeded(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
        self.failures_in_a_row = 0;
        self.last = None;
    }

    /// A connect came to no end, which says nothing of the endpoint.
    pub(super) fn given_up(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// A connect failed. `jitter` is drawn from [0, 1).
    pub(super) fn failed(&mut self, error: Arc<ConnectError>, jitter: f64, now: Instant) {
        self.under_way = self.under_way.saturating_sub(1);
        self.failures += 1;
        self.last = Some((error, now + BACKOFF.wait(self.failures_in_a_row, jitter)));
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
    }
}

const BACKOFF: Backoff = Backoff::new(BACKOFF_MIN, Duration::from_secs(1));
const BACKOFF_MIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::ConnectErrorKind;

    fn error() -> Arc<ConnectError> {
        let kind = ConnectErrorKind::Timeout(Duration::from_secs(1));
        Arc::new(ConnectError { endpoint: "127.0.0.1:1".to_owned(), kind })
    }

    #[test]
    fn those_who_wait_share_one_connect() {
        let (mut dial, now) = (Dial::default(), Instant::now());
        assert!(matches!(dial.ask(0, 1, now), Verdict::Connect));
        assert!(matches!(dial.ask(0, 1, now), Verdict::Wait));
        dial.succeeded();
        assert!(matches!(dial.ask(0, 1, now), Verdict::Connect));
        assert!(matches!(dial.ask(0, 0, now), Verdict::Wait));
    }

    #[test]
    fn a_failure_reaches_all_who_waited_for_it_and_keeps_others_off_for_a_while() {
        let (mut dial, now) = (Dial::default(), Instant::now());
        assert!(matches!(dial.ask(0, 1, now), Verdict::Connect));
        dial.failed(error(), 0.0, now);
        let later = now + BACKOFF_MIN;
        assert!(matches!(dial.ask(0, 1, later), Verdict::Refuse(_)), "waited for the one that failed");
        assert!(matches!(dial.ask(1, 1, now), Verdict::Refuse(_)), "came within the back-off");
        assert!(matches!(dial.ask(1, 1, later), Verdict::Connect), "came after it");
    }

    #[test]
    fn the_backoff_doubles_with_jitter_up_to_a_second_and_a_success_ends_it() {
        assert_eq!(BACKOFF.wait(0, 0.0), Duration::from_millis(25));
        assert_eq!(BACKOFF.wait(1, 0.5), Duration::from_millis(75));
        assert_eq!(BACKOFF.wait(40, 1.0), Duration::from_secs(1));
        let (mut dial, now) = (Dial::default(), Instant::now());
        for _ in 0..5 {
            dial.failed(error(), 0.0, now);
        }
        dial.succeeded();
        assert!(matches!(dial.ask(5, 1, now), Verdict::Connect));
        dial.failed(error(), 0.0, now);
        assert!(matches!(dial.ask(6, 1, now + BACKOFF_MIN), Verdict::Connect));
    }
}
