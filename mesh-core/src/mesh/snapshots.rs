//! The snapshots of a mesh, one after the other, for whoever acts on changes and on no request.

use std::sync::Arc;

use tokio::sync::watch;

use crate::ads::View;
use crate::snapshot::Snapshot;

/// Follows a mesh's snapshots, and does not keep the mesh.
#[derive(Debug)]
pub struct Snapshots {
    view: Arc<View>,
    published: watch::Receiver<u64>,
}

impl Snapshots {
    pub(super) fn of(view: Arc<View>) -> Self {
        let mut published = view.published();
        published.mark_changed();
        Self { view, published }
    }

    /// The present one at first, and then the next one; of several in a row the last. Cancelling loses nothing.
    pub async fn next(&mut self) -> Arc<Snapshot> {
        // The sender lives in the view, so an error cannot come; waiting on would be right even then.
        if self.published.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        Arc::clone(&self.view.snapshot())
    }
}
