//! The certificate authority: what it signs is decided by a grant, never by the request.
//!
//! # Layout
//! `request` the key that asks · `subject` whom it becomes · `lifetime` for how long · `authority` signs · `files` keeps
//! the keys.

mod authority;
mod files;
mod lifetime;
mod request;
mod subject;
#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError, AuthorityPem, Issued};
pub use files::{AuthorityFileError, open_authority};
pub use lifetime::{LeafLifetime, LifetimePolicy, LifetimePolicyError};
pub use request::{KeyFingerprint, RequestError, RequestedKey};
pub use subject::Subject;
