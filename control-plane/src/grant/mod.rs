//! Grants: who may join, as whom, and what it may register. The store keeps these values; the rules are here, and pure.
//!
//! Identity, labels, registrable services and views of the configuration all follow from a grant, never from what a
//! process says of itself.
//!
//! # Layout
//! `grant` identity, services, labels, and who that is to the model · `service` NAME:PORT · `token` admits a process to a grant · `record` the grant of a
//! certificate · `ledger` tokens and grants in the store · `format` the version in what is stored.

#[cfg(feature = "server")]
mod format;
#[allow(clippy::module_inception, reason = "the folder's noun is the file's")]
mod grant;
#[cfg(feature = "server")]
mod ledger;
#[cfg(feature = "server")]
mod record;
mod service;
#[cfg(feature = "server")]
mod token;

pub use grant::{Grant, GrantError, Wishes};
#[cfg(feature = "server")]
pub use ledger::{AdmissionError, GRANTS, Ledger, LedgerError, TOKENS};
#[cfg(feature = "server")]
pub use record::GrantRecord;
pub use service::{GrantedService, GrantedServiceError, services};
#[cfg(feature = "server")]
pub use token::{Refusal, StoredToken, TokenCreationError, TokenLimits, create_token, redeem};
