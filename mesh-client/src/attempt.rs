//! One attempt: a connection of the endpoint's pool, the request on it, the response's head.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use crate::body::ResponseBody;
use crate::connection::{Failure, FailureKind, Outgoing, Stream};
use crate::error::ClientError;
use crate::pool::{AcquireError, Pool, WAITING_MAX};

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct AttemptError {
    /// What the caller is told if this was the last attempt.
    pub(crate) error: ClientError,
    /// What a retry policy looks at; `None` for what may not be repeated whatever it says.
    pub(crate) condition: Option<RetryCondition>,
    /// Whether the request is whole still, and so can be sent again.
    pub(crate) is_whole: bool,
}

/// The failures after which it is certain that the endpoint did nothing with the request, in Envoy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryCondition {
    /// `connect-failure`
    ConnectFailure,
    /// `refused-stream`
    RefusedStream,
    /// `reset-before-request`
    ResetBeforeRequest,
}

impl RetryCondition {
    /// As a retry policy writes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect-failure",
            Self::RefusedStream => "refused-stream",
            Self::ResetBeforeRequest => "reset-before-request",
        }
    }
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
    connect_timeout: Duration,
    request: &mut Outgoing,
    keep: Keep,
) -> Result<Response<ResponseBody>, AttemptError> {
    let mut connections_left = CONNECTIONS_MAX;
    loop {
        connections_left -= 1;
        let stream = match pool.acquire(connect_timeout).await {
            Ok(stream) => stream,
            Err(error) => return Err(AttemptError::acquire(error, pool)),
        };
        let (sending, mut is_whole) = dispatch(stream, request, keep);
        let mut failure = match sending.await {
            Ok(response) => return Ok(response),
            Err(failure) => failure,
        };
        if let Some(unsent) = failure.unsent.take() {
            *request = *unsent;
            is_whole = true;
            if connections_left > 0 {
                continue;
            }
        }
        return Err(AttemptError::exchange(failure, pool, is_whole));
    }
}

/// Hands the request, or a copy of it, to a connection; answers whether it is still here whole.
fn dispatch(
    stream: Stream,
    request: &mut Outgoing,
    keep: Keep,
) -> (impl Future<Output = Result<Response<ResponseBody>, Failure>> + use<>, bool) {
    let copy = if keep == Keep::Whole { request.replay() } else { None };
    match copy {
        Some(copy) => (stream.exchange(copy), true),
        None => (stream.exchange(request.take()), false),
    }
}

impl AttemptError {
    fn acquire(error: AcquireError, pool: &Pool) -> Self {
        let (error, condition) = match error {
            AcquireError::Connect(error) => (error.into(), Some(RetryCondition::ConnectFailure)),
            AcquireError::Overflow => {
                (ClientError::Overflow { endpoint: name(pool), waiting_max: WAITING_MAX }, None)
            }
        };
        Self { error, condition, is_whole: true }
    }

    fn exchange(failure: Failure, pool: &Pool, is_whole: bool) -> Self {
        let cause = failure.cause;
        let refused =
            |condition, cause| (ClientError::Refused { endpoint: name(pool), cause }, Some(condition));
        let broken = |reset, cause| (ClientError::Broken { endpoint: name(pool), cause, reset }, None);
        let (error, condition) = match failure.kind {
            FailureKind::Refused => refused(RetryCondition::RefusedStream, cause),
            FailureKind::Unsent => refused(RetryCondition::ResetBeforeRequest, cause),
            FailureKind::Reset => broken(true, cause),
            FailureKind::Terminated => broken(false, cause),
            FailureKind::CallerBody => (ClientError::RequestBody(cause), None),
            FailureKind::Unsendable => (ClientError::Unsendable(cause), None),
        };
        Self { error, condition, is_whole }
    }
}

fn name(pool: &Pool) -> Arc<str> {
    pool.target().to_string().into()
}

/// How many connections are taken for one attempt before it counts as failed.
const CONNECTIONS_MAX: u32 = 4;
