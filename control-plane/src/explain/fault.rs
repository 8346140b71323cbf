//! What a rule injects into the request of a question.

use mesh_core::route::{AbortStatus, FaultInjection};
use mesh_core::status::{Fault, ResponseFlag};

use super::outbound::duration;
use super::{Decision, FaultAbort, FaultDelay};

/// Says what is injected; an abort that is sure ends the request.
pub(super) fn inject(
    injection: &FaultInjection,
    draw: Option<f64>,
    decision: &mut Decision,
) -> Result<(), Fault> {
    if let Some(delay) = &injection.delay {
        let applies = delay.fraction.holds(draw);
        if applies == Some(true) {
            decision.response_flags = ResponseFlag::DI.as_str().to_owned();
        }
        decision.fault.delay = Some(FaultDelay {
            percentage: delay.fraction.percentage(),
            duration: duration(delay.duration),
            applies,
        });
    }
    let Some(abort) = &injection.abort else { return Ok(()) };
    let applies = abort.fraction.holds(draw);
    let (status, grpc_status) = match abort.status {
        AbortStatus::Http(status) => (Some(status.as_u16()), None),
        AbortStatus::Grpc(status) => (None, Some(status)),
    };
    let percentage = abort.fraction.percentage();
    decision.fault.abort = Some(FaultAbort { percentage, status, grpc_status, applies });
    match applies {
        Some(true) => Err(abort.status.fault()),
        Some(false) | None => Ok(()),
    }
}
