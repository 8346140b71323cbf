//! Path and host as every matcher, policy and handler sees them: one string, made once, before the first decision.

mod authority;
mod path;

pub use authority::{HostPort, NotAHost};
pub use path::{CanonicalPath, NotCanonical, PathNormalization, canonicalize_uri};
