//! Joining a mesh: the join string, the first certificate, its renewal, and the way to the control plane.
//!
//! ```text
//!  source ─► string(address, token) ─► member ─┬─► saved identity, else client ─► connect(pin) ─► answer
//!                                              └─► renewal(schedule) ─► client
//! ```
//! `string`, `token`, `address`, `pin`, `answer` and `schedule` are pure.

mod address;
mod answer;
mod client;
mod connect;
mod member;
mod pin;
mod renewal;
mod schedule;
mod source;
mod string;
#[cfg(test)]
mod tests;
mod token;

pub use address::{ControlPlaneAddress, ControlPlaneAddressError};
pub use answer::AnswerError;
pub use client::{JoinError, join, renew};
pub use connect::{Attempt, ConnectError, ControlPlaneConnector, NoAddress, innermost};
pub use member::{Member, Origin};
pub use renewal::{Renewal, RenewalError};
pub use source::{JoinSource, JoinSourceError};
pub use string::{JoinString, JoinStringError};
pub use token::{JoinToken, SECRET_BYTES, TokenError, TokenId, TokenSecret};
