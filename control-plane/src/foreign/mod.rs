//! What clients of other kinds (gRPC in other languages, Envoy) would silently leave out of what documents say.
//!
//! xDS clients pass over what they do not know, without a word. So a change of documents is held against the clients that are
//! connected: what they have asked for is translated as it would be for them, and whatever of it their kind does not honour is
//! told to the administrator, with the clients' names. README has the same facts as a table.
//!
//! # Layout
//! [`Loss`] what a kind makes of a resource (pure, over the messages that it gets) · `report` whom a change concerns.

mod loss;
mod report;
#[cfg(test)]
mod tests;

pub use loss::{Effect, Loss};
pub use report::{ForeignClient, findings};
