//! What of a route's requests is tried again, and when: the decision over one attempt's outcome.
//!
//! The conditions are Envoy's, with Envoy's meaning (`envoy.config.route.v3.RetryPolicy.retry_on`): an attempt that ends without an
//! answer counts as a 5xx, since that is what the caller would be told. gRPC's are read where the answer's head tells the
//! status, as it does when nothing else is answered; a stream that has begun cannot be taken back.

use std::time::Duration;

use http::StatusCode;

use crate::backoff::Backoff;

/// What is done again, how often, and how long each attempt may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts beyond the first.
    pub attempts: u32,
    /// On any of these.
    pub on: Vec<RetryCondition>,
    /// The statuses of [`RetryCondition::RetriableStatusCodes`].
    pub status_codes: Vec<StatusCode>,
    /// Of each attempt, the first among them, until its answer begins.
    pub per_try_timeout: Option<Duration>,
    /// How long is waited before each further attempt. Without it, another endpoint is asked at once where nothing was processed, and
    /// else Envoy's own wait is made.
    pub backoff: Option<Backoff>,
    /// Whether another endpoint is asked first.
    pub avoids_previous: bool,
}

/// On what an attempt is followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryCondition {
    /// Any 5xx, and no answer at all.
    ServerError,
    /// 502, 503 or 504, and no answer at all.
    GatewayError,
    /// No answer: reset, broken, or none in the attempt's time.
    Reset,
    /// No answer, and the request was not sent.
    ResetBeforeRequest,
    /// No connection came about.
    ConnectFailure,
    /// 409.
    Retriable4xx,
    /// The endpoint said that it did not look at the request.
    RefusedStream,
    /// One of the policy's own statuses.
    RetriableStatusCodes,
    /// gRPC status 1.
    Cancelled,
    /// gRPC status 4.
    DeadlineExceeded,
    /// gRPC status 13.
    Internal,
    /// gRPC status 8.
    ResourceExhausted,
    /// gRPC status 14.
    Unavailable,
}

/// What became of an attempt that may be followed by another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No connection to the endpoint.
    NotConnected,
    /// The endpoint said that it did not look at the request (`REFUSED_STREAM`).
    Refused,
    /// It is going away and did not look at the request (`GOAWAY`).
    Left,
    /// The connection was gone before the request was written.
    NotSent,
    /// Reset or broken, and nobody knows how far the endpoint had come.
    Reset,
    /// Its time passed before an answer began.
    TimedOut,
    /// An answer's head has come.
    Answered {
        /// Its status.
        status: StatusCode,
        /// Its `grpc-status`, where the head has one already.
        grpc_status: Option<u16>,
    },
}

impl Outcome {
    /// Whether it is certain that the endpoint did nothing with the request.
    pub fn is_unprocessed(self) -> bool {
        matches!(self, Self::NotConnected | Self::Refused | Self::Left | Self::NotSent)
    }

    /// Whether the endpoint had work of it, so that asking again adds to a service's load.
    pub fn has_reached(self) -> bool {
        !matches!(self, Self::NotConnected | Self::Left | Self::NotSent)
    }

    /// Whether Envoy tells it as a reset of the stream.
    fn is_reset(self) -> bool {
        !matches!(self, Self::Answered { .. })
    }
}

impl RetryPolicy {
    /// Whether an attempt of this outcome is followed by another, if there is one left.
    pub fn repeats(&self, outcome: Outcome) -> bool {
        self.on.iter().any(|condition| self.meets(*condition, outcome))
    }

    /// Whether it repeats what may have been processed, for which a body has to be kept while it is sent.
    pub fn repeats_processed(&self) -> bool {
        let unprocessed = |condition: &RetryCondition| {
            use RetryCondition::{ConnectFailure, RefusedStream, ResetBeforeRequest};
            matches!(condition, ConnectFailure | RefusedStream | ResetBeforeRequest)
        };
        self.attempts > 0 && !self.on.iter().all(unprocessed)
    }

    /// How long to wait after so many failures, for a `draw` from [0, 1).
    pub fn pause(&self, failures: usize, draw: f64) -> Duration {
        let failures_before = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        self.backoff.unwrap_or(BACKOFF).wait(failures_before, draw)
    }

    fn meets(&self, condition: RetryCondition, outcome: Outcome) -> bool {
        let (status, grpc) = match outcome {
            Outcome::Answered { status, grpc_status } => (Some(status), grpc_status),
            _ => (None, None),
        };
        let reset = outcome.is_reset();
        match condition {
            RetryCondition::ServerError => reset || status.is_some_and(|status| status.is_server_error()),
            RetryCondition::GatewayError => {
                reset || status.is_some_and(|status| (502..=504).contains(&status.as_u16()))
            }
            RetryCondition::Reset => reset,
            RetryCondition::ResetBeforeRequest => outcome.is_unprocessed(),
            RetryCondition::ConnectFailure => outcome == Outcome::NotConnected,
            RetryCondition::RefusedStream => matches!(outcome, Outcome::Refused | Outcome::Left),
            RetryCondition::Retriable4xx => status == Some(StatusCode::CONFLICT),
            RetryCondition::RetriableStatusCodes => {
                status.is_some_and(|status| self.status_codes.contains(&status))
            }
            RetryCondition::Cancelled => grpc == Some(1),
            RetryCondition::DeadlineExceeded => grpc == Some(4),
            RetryCondition::ResourceExhausted => grpc == Some(8),
            RetryCondition::Internal => grpc == Some(13),
            RetryCondition::Unavailable => grpc == Some(14),
        }
    }
}

impl RetryCondition {
    /// All, in the order of their documentation.
    pub const ALL: [Self; 13] = [
        Self::ServerError,
        Self::GatewayError,
        Self::Reset,
        Self::ResetBeforeRequest,
        Self::ConnectFailure,
        Self::Retriable4xx,
        Self::RefusedStream,
        Self::RetriableStatusCodes,
        Self::Cancelled,
        Self::DeadlineExceeded,
        Self::Internal,
        Self::ResourceExhausted,
        Self::Unavailable,
    ];

    /// The condition that documents and xDS call so.
    ///
    /// ```
    /// use mesh_core::route::RetryCondition;
    ///
    /// assert_eq!(RetryCondition::named("gateway-error"), Some(RetryCondition::GatewayError));
    /// ```
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|condition| condition.as_str() == name)
    }

    /// As documents and xDS write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ServerError => "5xx",
            Self::GatewayError => "gateway-error",
            Self::Reset => "reset",
            Self::ResetBeforeRequest => "reset-before-request",
            Self::ConnectFailure => "connect-failure",
            Self::Retriable4xx => "retriable-4xx",
            Self::RefusedStream => "refused-stream",
            Self::RetriableStatusCodes => "retriable-status-codes",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::Internal => "internal",
            Self::ResourceExhausted => "resource-exhausted",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Default for RetryPolicy {
    /// Never again, without a limit in time.
    fn default() -> Self {
        Self {
            attempts: 0,
            on: Vec::new(),
            status_codes: Vec::new(),
            per_try_timeout: None,
            backoff: None,
            avoids_previous: true,
        }
    }
}

/// Envoy's own.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(250));

#[cfg(test)]
mod tests {
    use super::*;

    const RESETS: [Outcome; 6] = [
        Outcome::NotConnected,
        Outcome::Refused,
        Outcome::Left,
        Outcome::NotSent,
        Outcome::Reset,
        Outcome::TimedOut,
    ];

    fn answered(status: u16, grpc_status: Option<u16>) -> Outcome {
        Outcome::Answered { status: StatusCode::from_u16(status).expect("a status"), grpc_status }
    }

    /// Exactly these outcomes of all are repeated.
    #[track_caller]
    fn check(condition: &str, resets: &[Outcome], statuses: &[u16], grpc_statuses: &[u16]) {
        let policy = RetryPolicy {
            on: vec![RetryCondition::named(condition).expect("a condition")],
            status_codes: vec![StatusCode::IM_A_TEAPOT],
            ..RetryPolicy::default()
        };
        for outcome in RESETS {
            assert_eq!(policy.repeats(outcome), resets.contains(&outcome), "{condition} {outcome:?}");
        }
        for status in 200..600 {
            assert_eq!(policy.repeats(answered(status, None)), statuses.contains(&status), "{status}");
        }
        for grpc in 0..20 {
            assert_eq!(policy.repeats(answered(200, Some(grpc))), grpc_statuses.contains(&grpc), "{grpc}");
        }
    }

    #[test]
    fn each_condition_repeats_what_it_names() {
        use Outcome::{Left, NotConnected, NotSent, Refused};
        let server_errors: Vec<u16> = (500..600).collect();
        check("5xx", &RESETS, &server_errors, &[]);
        check("gateway-error", &RESETS, &[502, 503, 504], &[]);
        check("reset", &RESETS, &[], &[]);
        check("reset-before-request", &[NotConnected, Refused, Left, NotSent], &[], &[]);
        check("connect-failure", &[NotConnected], &[], &[]);
        check("refused-stream", &[Refused, Left], &[], &[]);
        check("retriable-4xx", &[], &[409], &[]);
        check("retriable-status-codes", &[], &[418], &[]);
        check("cancelled", &[], &[], &[1]);
        check("deadline-exceeded", &[], &[], &[4]);
        check("resource-exhausted", &[], &[], &[8]);
        check("internal", &[], &[], &[13]);
        check("unavailable", &[], &[], &[14]);
    }

    #[test]
    fn every_condition_is_found_by_its_name_and_no_other() {
        for condition in RetryCondition::ALL {
            assert_eq!(RetryCondition::named(condition.as_str()), Some(condition));
        }
        for strange in ["", "5XX", "503", "envoy-ratelimited", "http3-post-connect-failure"] {
            assert_eq!(RetryCondition::named(strange), None, "{strange}");
        }
    }

    #[test]
    fn nothing_is_kept_for_what_was_not_processed() {
        let repeats_processed = |on: &[&str], attempts| {
            let on = on.iter().filter_map(|name| RetryCondition::named(name)).collect();
            RetryPolicy { attempts, on, ..RetryPolicy::default() }.repeats_processed()
        };
        assert!(!repeats_processed(&["connect-failure", "refused-stream", "reset-before-request"], 2));
        assert!(repeats_processed(&["connect-failure", "unavailable"], 2));
        assert!(!repeats_processed(&["5xx"], 0));
    }
}
