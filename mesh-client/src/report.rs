//! How an attempt went, told to the endpoint's state: once of each, also of those that nobody waited for.

use std::time::Instant;

use mesh_core::balance::{Endpoint, Moment, Verdict};
use mesh_core::snapshot::Cluster;

/// An attempt whose end is still to be told. Dropped, it has been given up: by the deadline, if that has passed, else by the
/// caller. `P` is its place among what is under way.
#[derive(Debug)]
pub(crate) struct Report<'a, P> {
    cluster: &'a Cluster,
    endpoint: &'a Endpoint,
    start: Moment,
    deadline: Moment,
    /// Until it is told.
    place: Option<P>,
}

impl<'a, P> Report<'a, P> {
    /// Of an attempt that begins.
    pub(crate) fn of(
        cluster: &'a Cluster,
        endpoint: &'a Endpoint,
        place: P,
        deadline: Option<Instant>,
        now: Moment,
    ) -> Self {
        let deadline = deadline.map_or(Moment::NEVER, Moment::from);
        Self { cluster, endpoint, start: now, deadline, place: Some(place) }
    }

    /// Where it is made.
    pub(crate) fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }

    /// Tells how it ended. It goes on counting as under way, for its answer may have begun.
    pub(crate) fn end(mut self, verdict: Verdict) -> P {
        self.tell(verdict, Moment::now());
        self.place.take().expect("it is there until the end is told, which consumes the report")
    }

    fn tell(&self, verdict: Verdict, now: Moment) {
        self.cluster.report(self.endpoint, verdict, now.since(self.start), now);
    }
}

impl<P> Drop for Report<'_, P> {
    fn drop(&mut self) {
        if self.place.is_some() {
            let now = Moment::now();
            let verdict = if now < self.deadline { Verdict::Cancelled } else { Verdict::TimedOut };
            self.tell(verdict, now);
        }
    }
}
