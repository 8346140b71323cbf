//! Faults that a rule injects on purpose, so that people see how their services bear them.

use std::time::Duration;

use http::StatusCode;

use super::Fraction;
use crate::status::Fault;

/// What goes wrong on purpose. Delay and abort are drawn independently; the delay comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultInjection {
    /// Waiting before anything else is done; it is no part of the rule's timeout.
    pub delay: Option<Delay>,
    /// An answer in the destination's place.
    pub abort: Option<Abort>,
}

/// A wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// How long.
    pub duration: Duration,
    /// How many requests wait.
    pub fraction: Fraction,
}

/// An answer in the destination's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abort {
    /// With what.
    pub status: AbortStatus,
    /// How many requests are answered so.
    pub fraction: Fraction,
}

/// What an aborted request is answered with; a caller of the other protocol gets what it means there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AbortStatus {
    /// An HTTP status.
    Http(StatusCode),
    /// A gRPC status.
    Grpc(u8),
}

impl AbortStatus {
    /// The answer.
    pub fn fault(self) -> Fault {
        match self {
            Self::Http(status) => Fault::injected_http(status),
            Self::Grpc(status) => Fault::injected_grpc(status),
        }
    }
}
