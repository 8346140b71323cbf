//! A mesh made by hand: no control plane, no background, just the snapshots that its owner publishes.
//!
//! For tests of services and of the two stacks.
//!
//! ```
//! use mesh_core::mesh::{Mesh, Parts};
//!
//! let (mesh, publisher) = Mesh::from_parts(Parts::default());
//! publisher.publish(Default::default());
//! assert!(mesh.snapshot().hosts.is_empty());
//! ```

use std::sync::Arc;

use super::{LocalStream, Membership, Mesh, Settings};
use crate::ads::View;
use crate::identity::IdentitySource;
use crate::network::Network;
use crate::snapshot::Snapshot;

/// What a mesh is made of.
#[derive(Debug, Default)]
pub struct Parts {
    /// The first snapshot.
    pub snapshot: Snapshot,
    /// Who this process is; without one it can speak plaintext only.
    pub identity: Option<Arc<IdentitySource>>,
    /// Its own decisions.
    pub settings: Settings,
    /// What its connections are made of.
    pub network: Network,
    /// Has its requests draw the same numbers each time; without one they draw by chance.
    pub seed: Option<u64>,
}

/// Takes the control plane's place in a mesh made by hand.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<View>);

impl Publisher {
    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.publish(snapshot);
    }

    /// Waits until the mesh wants other hosts or listeners than when this was last asked.
    pub async fn wanted(&self) {
        self.0.demand.changed().await;
    }

    /// Has a control plane in this process say what the snapshots are, instead of [`publish`](Self::publish).
    pub fn stream(&self) -> LocalStream {
        LocalStream::new(self.0.clone())
    }

    pub(super) fn of(view: Arc<View>) -> Self {
        Self(view)
    }
}

impl Mesh {
    /// A mesh from parts, and the hand that publishes its further snapshots.
    pub fn from_parts(parts: Parts) -> (Mesh, Publisher) {
        Mesh::passive(Membership::Joined, parts)
    }
}
