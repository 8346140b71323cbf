//! The mesh's control plane: documents in, xDS and certificates out.
//!
//! The feature `server` (default) is what `mesh serve` needs; a user's CI that only asks `validate` and `explain` builds without it.

pub mod admin;
pub mod agent;
#[cfg(feature = "server")]
mod aside;
#[cfg(feature = "server")]
pub mod ca;
#[cfg(feature = "server")]
pub mod catalog;
pub mod cli;
pub mod document;
pub mod expectation;
pub mod explain;
#[cfg(feature = "server")]
pub mod foreign;
pub mod grant;
pub mod model;
#[cfg(feature = "server")]
pub mod peer;
#[cfg(feature = "server")]
pub mod registry;
#[cfg(feature = "server")]
pub mod serve;
pub mod simple;
#[cfg(feature = "server")]
pub mod store;
pub mod translate;
pub mod validate;
#[cfg(feature = "server")]
pub mod xds;
