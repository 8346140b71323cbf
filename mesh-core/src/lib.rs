//! What both sides of the mesh share: identity, configuration as it comes over xDS, and the decisions made on it.
//!
//! # Layout
//!
//! Pure values and decisions: [`canonical`], [`context`], [`matcher`], [`resource`], [`route`], [`authz`], [`ext_authz`], [`balance`], [`health`], [`locality`], [`snapshot`],
//! [`status`], [`subscription`], [`backoff`], [`upgrade`]. Effects: [`accept`] and [`network`] (sockets), `ads` (the configuration stream), [`join`] (certificates),
//! [`saved`] (state on disk), [`mesh`] (the value a service holds).

pub mod accept;
mod ads;
pub mod authz;
pub mod backoff;
pub mod balance;
pub mod canonical;
pub mod context;
pub mod ext_authz;
pub mod health;
pub mod identity;
pub mod join;
pub mod locality;
pub mod matcher;
pub mod mesh;
pub mod network;
pub mod proto;
pub mod resource;
pub mod route;
pub mod saved;
pub mod snapshot;
pub mod status;
pub mod subscription;
pub mod trace;
pub mod upgrade;

pub use mesh::Mesh;
