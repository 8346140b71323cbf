//! The `Mesh` value: one per process as a rule, cheap to clone, two of them share nothing.
//!
//! ```no_run
//! # async fn example() -> Result<(), mesh_core::mesh::StartError> {
//! let mesh = mesh_core::Mesh::from_env().await?;
//! # Ok(()) }
//! ```
//!
//! ```text
//!   requests ──load──► View (snapshot, demand) ◄──publish── ads, on its own thread
//!   listeners ─► registration table ─────────────────────► registrar, on the same thread
//! ```

mod background;
mod builder;
mod draws;
mod inbound;
mod local_stream;
mod parts;
mod readiness;
mod registrar;
mod registration;
mod resolve;
mod runtime;
mod settings;
mod snapshots;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::runtime::Handle;

pub use builder::{MeshBuilder, StartError};
pub use inbound::InboundSubscription;
pub use local_stream::LocalStream;
pub use parts::{Parts, Publisher};
pub use readiness::Readiness;
pub use registration::{Registration, RegistrationState, ServiceName, ServingPort};
pub use resolve::ResolveError;
pub use settings::{OutboundTrafficPolicy, Settings};
pub use snapshots::Snapshots;

use crate::ads::View;
use crate::canonical::HostPort;
use crate::identity::IdentitySource;
use crate::network::Network;
use crate::snapshot::{HostState, Snapshot};
use background::Background;
use draws::Draws;
use registration::{Kept, RegistrationTable};
use runtime::RuntimeStates;

/// A process's membership in the mesh: identity, configuration, and all runtime state of its connections.
///
/// What runs in the background for it ends when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Mesh(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    membership: Membership,
    view: Arc<View>,
    identity: Option<Arc<IdentitySource>>,
    settings: Settings,
    network: Network,
    draws: Draws,
    registrations: Arc<RegistrationTable>,
    runtime: RuntimeStates,
    /// Ends with the last clone.
    background: Option<Background>,
}

/// Whether there is a mesh at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// `MESH_JOIN=off`: clients call hosts as they are, servers serve plaintext and ask no policy.
    Off,
    /// In a mesh: what has no configuration yet is refused.
    Joined,
}

impl Mesh {
    /// Joins the mesh that `MESH_JOIN` or the file `MESH_JOIN_FILE` names; `MESH_JOIN=off` runs without one.
    ///
    /// # Errors
    /// Says what is wrong and the next step, also where neither variable is set.
    pub async fn from_env() -> Result<Mesh, StartError> {
        MeshBuilder::from_env()?.start().await
    }

    /// Begins a mesh with options; `join` is the line that `mesh token create` prints, or `off`.
    pub fn builder(join: impl AsRef<str>) -> MeshBuilder {
        MeshBuilder::from_text(join.as_ref())
    }

    /// No mesh: every host is outside it, and servers are plain.
    pub fn off() -> Mesh {
        Mesh::passive(Membership::Off, Parts::default()).0
    }

    /// Whether there is a mesh at all.
    pub fn membership(&self) -> Membership {
        self.0.membership
    }

    /// The configuration as of now; a request loads it once.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.view.snapshot())
    }

    /// The configuration as of now, and then each time that it is another one.
    pub fn snapshots(&self) -> Snapshots {
        Snapshots::of(Arc::clone(&self.0.view))
    }

    /// The runtime of the mesh's own thread, which a service that blocks its workers does not block. Nothing that a request waits
    /// for belongs there. `None` where nothing runs in the background.
    pub fn background(&self) -> Option<Handle> {
        self.0.background.as_ref().map(|background| background.runtime().clone())
    }

    /// What is known of a dialled host, without waiting and without allocating; counts as a use of it.
    pub fn host(&self, host: &HostPort) -> Option<HostState> {
        if self.0.membership == Membership::Off {
            return Some(HostState::Absent);
        }
        self.host_as_written(host.as_str())
    }

    /// As [`host`](Self::host), for an authority as a request writes it: where that is the canonical spelling of a known host,
    /// the request path need not parse it. `None` says nothing but that it must.
    pub fn host_as_written(&self, authority: &str) -> Option<HostState> {
        let state = self.0.view.snapshot().hosts.get(authority).cloned();
        if state.is_some() {
            self.0.view.demand.mark(authority);
        }
        state
    }

    /// Subscribes to a host and waits (at most `wait`) until its closure is here or known absent.
    ///
    /// # Errors
    /// Names what did not come.
    pub async fn resolve(&self, host: &HostPort, wait: Duration) -> Result<HostState, ResolveError> {
        match self.host(host) {
            Some(state) => Ok(state),
            None => resolve::resolve(&self.0.view, host, wait).await,
        }
    }

    /// Who this process is and whom it trusts; `None` without a mesh.
    pub fn identity(&self) -> Option<&Arc<IdentitySource>> {
        self.0.identity.as_ref()
    }

    /// What this process decided for itself.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What its connections are made of.
    pub fn network(&self) -> &Network {
        &self.0.network
    }

    /// What one request's draws come from.
    pub fn rng(&self) -> Rng {
        self.0.draws.next()
    }

    /// Makes a serving port known to the mesh while the returned value lives. Without a mesh nobody is told.
    pub fn register(&self, port: ServingPort) -> Registration {
        self.0.registrations.add(port)
    }

    /// By which this process says whether it wants requests. Without a mesh nobody is told.
    pub fn readiness(&self) -> Readiness {
        Readiness::of(&self.0.registrations)
    }

    /// Subscribes to the policy of a serving address, by its name `inbound/IP:PORT`.
    pub fn inbound(&self, name: &str) -> InboundSubscription {
        InboundSubscription::new(&self.0.view, name)
    }

    /// The one value of type `T` that belongs to this mesh, made by `make` at first use: pools, counters and whatever else
    /// must survive configuration changes. Takes a lock; fetch it when a client is made, not per request.
    pub fn runtime<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        self.0.runtime.of(make)
    }

    fn active(
        view: Arc<View>,
        identity: Arc<IdentitySource>,
        settings: Settings,
        registrations: Arc<RegistrationTable>,
        background: Background,
    ) -> Mesh {
        Mesh(Arc::new(Inner {
            membership: Membership::Joined,
            view,
            identity: Some(identity),
            settings,
            network: Network::Tcp,
            draws: Draws::Chance,
            registrations,
            runtime: RuntimeStates::default(),
            background: Some(background),
        }))
    }

    /// A mesh that nothing keeps current but whoever holds its view.
    fn passive(membership: Membership, parts: Parts) -> (Mesh, Publisher) {
        let Parts { snapshot, identity, settings, network, seed } = parts;
        let view = Arc::new(View::new(snapshot, settings.hosts_max));
        let mesh = Mesh(Arc::new(Inner {
            membership,
            view: view.clone(),
            identity,
            settings,
            network,
            draws: Draws::of(seed),
            registrations: Arc::new(RegistrationTable::new(Kept::ByNobody)),
            runtime: RuntimeStates::default(),
            background: None,
        }));
        (mesh, Publisher::of(view))
    }
}

#[cfg(test)]
mod tests;
