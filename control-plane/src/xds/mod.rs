//! The ADS server: every stream gets the resources it subscribed to, as they are now, in delta or state of the world.
//!
//! ```text
//!   publish(World) ─► Change ─► cache drops what it touches ─► index: who subscribed? ─► their mailboxes
//!                                                                                            │
//!   client ◄── answer ◄── ServerStream (pure) ◄── look-up: translated and encoded once ◄── session
//! ```
//! Nothing is queued per stream: a session holds the names that may have changed, and makes the next answer when the
//! transport has room for it. So a slow client costs no memory and gets the latest state.
//!
//! # Layout
//!
//! `change`, `cache`, `index` are values and decisions; `hub` ties them together; `session` is one stream; `service` is gRPC.

mod cache;
mod change;
mod counters;
mod hub;
mod index;
mod mailbox;
mod service;
mod session;
mod status;

#[cfg(test)]
mod tests;

pub use change::Change;
pub use counters::Counts;
pub use hub::{Hub, Limits, StreamLimit};
pub use service::{AdsService, Authenticate, StreamCaller};
pub use status::StreamStatus;
