//! External authorization: what a service is asked about a request, and what its answer means. Pure, so that whoever asks, on
//! either side of the mesh, only has to carry bytes.
//!
//! An answer is a [`Verdict`] or [`NoVerdict`], and whoever asks denies what has no verdict. So garbage, an error of the service
//! and an answer that asks for what this mesh does not do all deny.

mod check;
mod headers;
mod verdict;

pub use check::{CheckBody, CheckFacts, GRPC_PATH};
pub use verdict::{Allowed, Answer, Denial, NoVerdict, Verdict};

use std::time::Duration;

/// How long is waited for an answer at most.
pub const CHECK_TIME_MAX: Duration = Duration::from_secs(5);
/// How much of a request's body is told at most.
pub const CHECK_BODY_BYTES_MAX: usize = 64 * 1024;
/// How large the body of an answer may be.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests;
