//! The mesh's control plane: documents in, xDS and certificates out.

pub mod admin;
pub mod agent;
pub mod ca;
pub mod catalog;
pub mod cli;
pub mod document;
pub mod explain;
pub mod grant;
pub mod model;
pub mod peer;
pub mod registry;
pub mod serve;
pub mod simple;
pub mod store;
pub mod translate;
pub mod validate;
pub mod xds;
