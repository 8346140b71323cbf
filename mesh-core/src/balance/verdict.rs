//! How an attempt at an endpoint ended, as far as it says something of the endpoint.

use http::StatusCode;

/// The end of one attempt. Each attempt has one, also that which was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An answer's head has come, of this status; where gRPC's own status is in the head already, of the one that it stands for.
    Answered(StatusCode),
    /// A connection of bytes has come about.
    Connected,
    /// No connection has.
    NotConnected,
    /// The connection broke or the stream was reset before an answer.
    Reset,
    /// The time for it passed before an answer began.
    TimedOut,
    /// It was ended on this side: the caller left, or its own part failed. All that is known is for how long there was no answer.
    Cancelled,
}

impl Verdict {
    /// Of an answer with that gRPC status in its head.
    pub fn answered(status: StatusCode, grpc_status: Option<u16>) -> Self {
        let grpc_status = grpc_status.map(|code| u8::try_from(code).unwrap_or(GRPC_UNKNOWN));
        Self::Answered(grpc_status.map_or(status, crate::status::http_status_of))
    }

    /// Whether the endpoint answered that it failed (5xx).
    pub fn is_server_error(self) -> bool {
        matches!(self, Self::Answered(status) if status.is_server_error())
    }

    /// Whether it answered 502, 503 or 504.
    pub fn is_gateway_error(self) -> bool {
        matches!(self, Self::Answered(status) if (502..=504).contains(&status.as_u16()))
    }

    /// Whether this side found it failing: Envoy's local origin.
    pub fn is_local_origin(self) -> bool {
        matches!(self, Self::NotConnected | Self::Reset | Self::TimedOut)
    }

    /// Whether it failed in one way or the other.
    pub fn is_failure(self) -> bool {
        self.is_server_error() || self.is_local_origin()
    }
}

const GRPC_UNKNOWN: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_the_endpoints_answer_or_none_from_it() {
        let check = |verdict: Verdict, expected: [bool; 4]| {
            let said = [
                verdict.is_failure(),
                verdict.is_server_error(),
                verdict.is_gateway_error(),
                verdict.is_local_origin(),
            ];
            assert_eq!(said, expected, "{verdict:?}");
        };
        let answered =
            |status, grpc| Verdict::answered(StatusCode::from_u16(status).expect("a status"), grpc);
        check(answered(200, None), [false; 4]);
        check(answered(404, None), [false; 4]);
        check(answered(500, None), [true, true, false, false]);
        check(answered(503, None), [true, true, true, false]);
        check(answered(200, Some(0)), [false; 4]);
        check(answered(200, Some(5)), [false; 4]);
        check(answered(200, Some(14)), [true, true, true, false]);
        check(answered(200, Some(999)), [true, true, false, false]);
        for local in [Verdict::NotConnected, Verdict::Reset, Verdict::TimedOut] {
            check(local, [true, false, false, true]);
        }
        check(Verdict::Cancelled, [false; 4]);
        check(Verdict::Connected, [false; 4]);
    }
}
