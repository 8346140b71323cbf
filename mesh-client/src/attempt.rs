//! One attempt: a connection of the endpoint's pool, the request on it, the response's head.

use std::sync::Arc;
use std::time::Duration;

use http::Response;

use crate::body::ResponseBody;
use crate::connection::{Failure, FailureKind, Outgoing};
use crate::error::ClientError;
use crate::pool::{AcquireError, Pool, WAITING_MAX};

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct AttemptError {
    /// What the caller is told if this was the last attempt.
    pub(crate) error: ClientError,
    /// What a retry policy looks at; `None` for what may not be repeated whatever it says.
    pub(crate) condition: Option<RetryCondition>,
    /// The request, where it can be sent again.
    pub(crate) request: Option<Outgoing>,
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
    /// A copy stays here, for another attempt.
    Copy,
    /// It goes away whole.
    Nothing,
}

/// Sends a request on one of the pool's connections.
///
/// A connection that turns out to be gone is no failed attempt, since the endpoint is not: another one is taken, a few times.
pub(crate) async fn attempt(
    pool: &Pool,
    connect_timeout: Duration,
    mut request: Outgoing,
    keep: Keep,
) -> Result<Response<ResponseBody>, AttemptError> {
    let mut connections_left = CONNECTIONS_MAX;
    loop {
        connections_left -= 1;
        let stream = match pool.acquire(connect_timeout).await {
            Ok(stream) => stream,
            Err(error) => return Err(AttemptError::acquire(error, pool, request)),
        };
        let copy = if keep == Keep::Copy { request.replay() } else { None };
        match stream.exchange(request).await {
            Ok(response) => return Ok(response),
            Err(Failure { unsent: Some(back), .. }) if connections_left > 0 => request = *back,
            Err(failure) => return Err(AttemptError::exchange(failure, pool, copy)),
        }
    }
}

impl AttemptError {
    fn acquire(error: AcquireError, pool: &Pool, request: Outgoing) -> Self {
        match error {
            AcquireError::Connect(error) => Self {
                error: error.into(),
                condition: Some(RetryCondition::ConnectFailure),
                request: Some(request),
            },
            AcquireError::Overflow => Self {
                error: ClientError::Overflow { endpoint: name(pool), waiting_max: WAITING_MAX },
                condition: None,
                request: None,
            },
        }
    }

    fn exchange(failure: Failure, pool: &Pool, copy: Option<Outgoing>) -> Self {
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
        let request = copy.or(failure.unsent.map(|request| *request));
        Self { error, condition, request }
    }
}

fn name(pool: &Pool) -> Arc<str> {
    pool.target().to_string().into()
}

/// How many connections are taken for one attempt before it counts as failed.
const CONNECTIONS_MAX: u32 = 4;
