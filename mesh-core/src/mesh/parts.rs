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

use super::{Mesh, Settings};
use crate::ads::View;
use crate::identity::IdentitySource;
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
}

/// Takes the control plane's place in a mesh made by hand.
#[derive(Debug, Clone)]
pub struct Publisher(Arc<View>);

impl Publisher {
    /// Replaces the snapshot.
    pub fn publish(&self, snapshot: Snapshot) {
        self.0.publish(snapshot);
    }
}

impl Mesh {
    /// A mesh from parts, and the hand that publishes its further snapshots.
    pub fn from_parts(parts: Parts) -> (Mesh, Publisher) {
        let view = Arc::new(View::new(parts.snapshot, parts.settings.hosts_max));
        (
            Mesh::passive(super::Membership::Joined, view.clone(), parts.identity, parts.settings),
            Publisher(view),
        )
    }
}
