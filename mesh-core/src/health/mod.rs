//! Active health checks: what an endpoint is asked, what its answers mean, and when it counts as healthy. Pure; whoever probes
//! carries bytes and keeps the time.
//!
//! # Layout
//! `check` what a cluster's endpoints are asked, and how it is written in an annotation · `tracker` from single answers to one
//! endpoint's health · `grpc` gRPC's own protocol for it.

mod check;
mod grpc;
mod tracker;

pub(crate) use check::is_path;
pub use check::{HealthCheck, NotAHealthCheck, Probe};
pub use grpc::{GRPC_PATH, is_serving, question};
pub use tracker::Tracker;
