//! How an attempt went, told to the endpoint's state: once of each, also of those that nobody waited for.

use std::time::Instant;

use mesh_core::balance::{Endpoint, InFlight, Moment, Verdict};
use mesh_core::snapshot::Cluster;

/// An attempt whose end is still to be told. Dropped, it has been given up: by the deadline, if that has passed, else by the
/// caller.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    cluster: &'a Cluster,
    endpoint: &'a Endpoint,
    start: Moment,
    deadline: Moment,
    /// Until it is told.
    in_flight: Option<InFlight>,
}

impl<'a> Report<'a> {
    /// Begins an attempt.
    pub(crate) fn of(
        cluster: &'a Cluster,
        endpoint: &'a Endpoint,
        deadline: Option<Instant>,
        now: Moment,
    ) -> Self {
        let deadline = deadline.map_or(Moment::NEVER, Moment::from);
        Self { cluster, endpoint, start: now, deadline, in_flight: Some(cluster.begin(endpoint, now)) }
    }

    /// Where it is made.
    pub(crate) fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// Tells how it ended. The request goes on counting as in flight, for its answer may have begun.
    pub(crate) fn end(mut self, verdict: Verdict) -> InFlight {
        self.tell(verdict, Moment::now());
        self.in_flight.take().expect("it is there until the end is told, which consumes the report")
    }

    fn tell(&self, verdict: Verdict, now: Moment) {
        self.cluster.report(self.endpoint, verdict, now.since(self.start), now);
    }
}

impl Drop for Report<'_> {
    fn drop(&mut self) {
        if self.in_flight.is_some() {
            let now = Moment::now();
            let verdict = if now < self.deadline { Verdict::Cancelled } else { Verdict::TimedOut };
            self.tell(verdict, now);
        }
    }
}
