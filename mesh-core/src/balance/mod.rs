//! Choosing an endpoint: the runtime state of endpoints and the picker over it.
//!
//! Configuration says which endpoints there are, runtime state how busy each is. The state outlives the configuration that
//! named it: the same cluster and address keep it over every change, so that a change of weights closes no connection.

mod endpoint_states;
mod hash_table;
mod picker;

use std::any::Any;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::resource::EndpointSpec;

pub use endpoint_states::EndpointStates;
pub use picker::Picker;

/// What is known of an endpoint beyond its configuration; belongs to the `Mesh`, keyed by cluster and address, and survives
/// configuration changes.
#[derive(Debug, Default)]
pub struct EndpointState {
    /// Requests under way.
    pub in_flight: AtomicU32,
    /// What carries requests to it (the client crate's pool); made at first use.
    pub transport: OnceLock<Arc<dyn Transport>>,
}

/// What is known of a cluster beyond its configuration.
#[derive(Debug, Default)]
pub struct ClusterState {
    /// How many picks round robin has made.
    pub(crate) turns: AtomicU64,
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

/// A request under way; it counts until dropped.
#[derive(Debug)]
pub struct InFlight(Arc<EndpointState>);

impl EndpointState {
    /// Counts a request until the guard is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
