//! Faults injected on purpose: a wait, then an answer in the destination's place, each drawn for itself.
//!
//! The wait is no part of the route's timeout, as if the network were slow before the mesh. But a caller's own deadline goes on
//! meanwhile.

use std::future::poll_fn;
use std::time::Duration;

use fastrand::Rng;
use mesh_core::route::{FaultInjection, Fraction};
use tokio::time::Instant;

use crate::deadline::Timer;
use crate::error::ClientError;

/// Injects what is drawn; yields how long the request was held up.
pub(crate) async fn inject(
    fault: &FaultInjection,
    deadline: Option<Instant>,
    rng: &mut Rng,
) -> Result<Duration, ClientError> {
    let mut drawn = |fraction: Fraction| fraction.holds(Some(rng.f64())) == Some(true);
    let delay = fault.delay.filter(|delay| drawn(delay.fraction));
    let abort = fault.abort.filter(|abort| drawn(abort.fraction));
    let start = Instant::now();
    if let Some(delay) = delay {
        wait(start.checked_add(delay.duration), deadline).await?;
    }
    match abort {
        Some(abort) => Err(ClientError::Injected(abort.status)),
        None => Ok(delay.map_or(Duration::ZERO, |_| start.elapsed())),
    }
}

/// Waits until `end`, which may be farther away than time is counted, or until the deadline.
async fn wait(end: Option<Instant>, deadline: Option<Instant>) -> Result<(), ClientError> {
    let is_late = deadline.is_some_and(|deadline| end.is_none_or(|end| deadline < end));
    let Some(until) = (if is_late { deadline } else { end }) else { return std::future::pending().await };
    let mut timer = Timer::at(until.into_std());
    poll_fn(|cx| timer.poll(cx)).await;
    if is_late { Err(ClientError::Deadline) } else { Ok(()) }
}
