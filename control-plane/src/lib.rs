//! The mesh's control plane: documents in, xDS and certificates out.

pub mod store;
