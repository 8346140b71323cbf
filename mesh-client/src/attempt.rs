//! One attempt: a connection of the endpoint's pool, the request on it, the response's head.

use std::sync::Arc;

use http::Response;
use mesh_core::resource::ConnectionPool;
use mesh_core::route::Outcome;

use crate::body::ResponseBody;
use crate::connection::{Failure, FailureKind, Outgoing};
use crate::error::ClientError;
use crate::pool::{AcquireError, Pool};
use crate::upgrade::Upgrade;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct AttemptError {
    /// What the caller is told if this was the last attempt.
    pub(crate) error: ClientError,
    /// What a retry policy looks at; `None` for what may not be repeated whatever it says.
    pub(crate) outcome: Option<Outcome>,
    /// Whether it can be sent again though no copy was kept: nothing of it has been read.
    pub(crate) is_unsent: bool,
}

/// What becomes of the request when it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// A copy of it goes, so that there can be another attempt.
    Whole,
    /// It goes itself.
    Nothing,
}

/// Sends a request on one of the pool's connections.
///
/// A connection that turns out to be gone is no failed attempt, since the endpoint is not: another one is taken, a few times.
/// The request stays where it is and is borrowed by all that waits: moved from future to future, it would be part of each.
pub(crate) async fn attempt(
    pool: &Pool,
    settings: &ConnectionPool,
    request: &mut Outgoing,
    keep: Keep,
) -> Result<Response<ResponseBody>, AttemptError> {
    let upgrade = request.upgrade;
    let mut connections_left = CONNECTIONS_MAX;
    loop {
        connections_left -= 1;
        let acquired = match upgrade {
            Upgrade::Nothing => pool.acquire(settings).await,
            // Boxed, so that a connect is no part of every call's future.
            Upgrade::WebSocket => Box::pin(pool.acquire_apart(settings)).await,
        };
        let stream = match acquired {
            Ok(stream) => stream,
            Err(error) => return Err(AttemptError::acquire(error, pool)),
        };
        let copy = if keep == Keep::Whole { request.replay() } else { None };
        let sending = stream.exchange(copy.unwrap_or_else(|| request.take()));
        let mut failure = match sending.await {
            Ok(response) => return admit(upgrade, response, pool),
            Err(failure) => failure,
        };
        let unsent = failure.unsent.take();
        let is_unsent = unsent.is_some();
        if let Some(unsent) = unsent {
            *request = *unsent;
            if connections_left > 0 {
                continue;
            }
        }
        return Err(AttemptError::exchange(failure, pool, is_unsent));
    }
}

/// Nobody may leave HTTP unasked: what came next on the connection would be taken for what it is not.
fn admit(
    upgrade: Upgrade,
    response: Response<ResponseBody>,
    pool: &Pool,
) -> Result<Response<ResponseBody>, AttemptError> {
    let Err(protocol) = upgrade.admits(&response) else { return Ok(response) };
    let error = ClientError::Switched { endpoint: name(pool), protocol };
    Err(AttemptError { error, outcome: None, is_unsent: false })
}

impl AttemptError {
    fn acquire(error: AcquireError, pool: &Pool) -> Self {
        let (error, outcome) = match error {
            AcquireError::Connect(error) => (error.into(), Some(Outcome::NotConnected)),
            AcquireError::Overflow(limit) => (ClientError::Overflow { of: name(pool), limit }, None),
        };
        Self { error, outcome, is_unsent: true }
    }

    fn exchange(failure: Failure, pool: &Pool, is_unsent: bool) -> Self {
        let cause = failure.cause;
        let refused = |outcome, cause| (ClientError::Refused { endpoint: name(pool), cause }, Some(outcome));
        let broken =
            |reset, cause| (ClientError::Broken { endpoint: name(pool), cause, reset }, Some(Outcome::Reset));
        let (error, outcome) = match failure.kind {
            FailureKind::Refused => refused(Outcome::Refused, cause),
            FailureKind::Left => refused(Outcome::Left, cause),
            FailureKind::Unsent => refused(Outcome::NotSent, cause),
            FailureKind::Reset => broken(true, cause),
            FailureKind::Terminated => broken(false, cause),
            FailureKind::Garbled => {
                (ClientError::Protocol { endpoint: name(pool), cause }, Some(Outcome::Reset))
            }
            FailureKind::CallerBody => (ClientError::RequestBody(cause), None),
            FailureKind::Unsendable => (ClientError::Unsendable(cause), None),
        };
        Self { error, outcome, is_unsent }
    }
}

fn name(pool: &Pool) -> Arc<str> {
    pool.target().to_string().into()
}

/// How many connections are taken for one attempt before it counts as failed.
const CONNECTIONS_MAX: u32 = 4;
