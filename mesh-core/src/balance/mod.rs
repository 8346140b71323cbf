//! Choosing an endpoint: the runtime state of endpoints and the pickers over it.

use std::any::Any;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use crate::resource::EndpointSpec;

/// What is known of an endpoint beyond its configuration; belongs to the `Mesh`, keyed by cluster and address, and survives
/// configuration changes.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Requests under way.
    pub in_flight: AtomicU32,
    /// What carries requests to it (the client crate's pool); made at first use.
    pub transport: OnceLock<Arc<dyn Transport>>,
}

/// What the client crate keeps per endpoint. `close` is called once the endpoint has left the configuration: connections
/// finish what they have and close.
pub trait Transport: Any + Send + Sync + std::fmt::Debug {
    /// Drains the connections.
    fn close(&self);
}

/// An endpoint in the snapshot: its configuration and its state.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Configuration.
    pub spec: EndpointSpec,
    /// Runtime state.
    pub state: Arc<EndpointState>,
}
