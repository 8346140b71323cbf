//! Path and host as every matcher, policy and handler sees them: one string, made once, before the first decision.

mod authority;
#[cfg(test)]
mod corpus_tests;
mod path;
mod request_authority;

pub use authority::{HostPort, NotAHost};
pub(crate) use path::with_path;
pub use path::{CanonicalPath, NotCanonical, PathNormalization, canonicalize_path, canonicalize_uri};
pub use request_authority::{inbound_authority, outbound_authority};
