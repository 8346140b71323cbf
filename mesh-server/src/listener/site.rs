//! One listening address: its policy as of now, its port in policies, its counters. All its connections share it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mesh_core::Mesh;
use mesh_core::mesh::{InboundSubscription, Membership};
use mesh_core::resource::InboundListener;

/// A listening address.
#[derive(Debug)]
pub(crate) struct Site {
    /// `inbound/10.0.0.7:9080`, as bound: the name of its xDS listener.
    pub(crate) name: Arc<str>,
    /// What policies call the workload port.
    pub(crate) port: u16,
    /// Shared, so that they can be shown while the server that owns the listener runs.
    pub(crate) counters: Arc<Counters>,
    /// None without a mesh.
    subscription: Option<InboundSubscription>,
}

/// What is known at this moment of whom to let in.
#[derive(Debug, Clone)]
pub(crate) enum Inbound {
    /// Nothing yet, or nothing any more: nobody is let in.
    Pending,
    /// As the control plane says.
    Configured(Arc<InboundListener>),
    /// This process runs without a mesh (`MESH_JOIN=off`): plaintext, no policy.
    Outside,
}

/// What happened at one listening address since it was bound.
#[derive(Debug, Default)]
pub struct Counters {
    accepted: AtomicU64,
    refused_plaintext: AtomicU64,
    failed_handshakes: AtomicU64,
    timed_out_handshakes: AtomicU64,
    displaced_handshakes: AtomicU64,
    refused_connections: AtomicU64,
    denied_connections: AtomicU64,
    denied_requests: AtomicU64,
    panics: AtomicU64,
}

/// One thing that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A connection was let in.
    Accepted,
    /// Plaintext where mutual TLS is required.
    RefusedPlaintext,
    /// A TLS handshake failed, or its peer was refused.
    FailedHandshake,
    /// A peer was silent, or too slow, for the whole handshake timeout.
    TimedOutHandshake,
    /// The handshake that had waited longest made room for a new one.
    DisplacedHandshake,
    /// Closed at once: too many connections, or no configuration.
    RefusedConnection,
    /// Policy refused a connection of bytes.
    DeniedConnection,
    /// Policy refused a request.
    DeniedRequest,
    /// A handler panicked.
    Panic,
}

impl Site {
    pub(crate) fn new(mesh: &Mesh, bound: SocketAddr) -> Self {
        let name: Arc<str> = format!("inbound/{bound}").into();
        let subscription = match mesh.membership() {
            Membership::Off => None,
            Membership::Joined => Some(mesh.inbound(&name)),
        };
        Self { name, port: bound.port(), counters: Arc::default(), subscription }
    }

    /// Read anew for each connection and each request, so that open connections meet a new policy too.
    pub(crate) fn inbound(&self) -> Inbound {
        match &self.subscription {
            None => Inbound::Outside,
            Some(subscription) => subscription.current().map_or(Inbound::Pending, Inbound::Configured),
        }
    }

    /// Waits until there is something to enforce.
    pub(crate) async fn configured(&self) {
        if let Some(subscription) = &self.subscription {
            subscription.available().await;
        }
    }
}

impl Counters {
    /// How often `event` has happened.
    pub fn count(&self, event: Event) -> u64 {
        self.cell(event).load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, event: Event) {
        self.cell(event).fetch_add(1, Ordering::Relaxed);
    }

    fn cell(&self, event: Event) -> &AtomicU64 {
        match event {
            Event::Accepted => &self.accepted,
            Event::RefusedPlaintext => &self.refused_plaintext,
            Event::FailedHandshake => &self.failed_handshakes,
            Event::TimedOutHandshake => &self.timed_out_handshakes,
            Event::DisplacedHandshake => &self.displaced_handshakes,
            Event::RefusedConnection => &self.refused_connections,
            Event::DeniedConnection => &self.denied_connections,
            Event::DeniedRequest => &self.denied_requests,
            Event::Panic => &self.panics,
        }
    }
}
