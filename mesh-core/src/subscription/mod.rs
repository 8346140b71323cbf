//! xDS subscriptions as pure state machines: who wants what, who has what, what is acknowledged. No sockets, no clock.
//!
//! ```text
//!   client side                            server side
//!   want ─► DeltaClient ─► Request ──────► ServerStream ◄─ changed
//!   held ◄─ (versions)  ◄─ Response ◄──────  (known versions, one bookkeeping, two encodings)
//! ```
//! Both ends stand here because they are one protocol: the property tests run them against each other. Encoding to and from
//! Envoy's messages is in [`wire`].

mod client;
mod server;
pub mod wire;

pub use client::{DeltaClient, Request, Response};
pub use server::{
    Answer, Due, Encoding, Found, NackReport, ServerStream, SotwRequest, Subscribed, TooManyNames, TypeStatus,
};

#[cfg(test)]
mod tests;

/// How many bytes of reasons one NACK carries; what is more is cut.
pub const NACK_BYTES_MAX: usize = 4096;
