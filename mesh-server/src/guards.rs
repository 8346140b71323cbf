//! Whether anybody made a `MeshLayer`: a listener whose connections no policy would judge must not listen.

use std::sync::Arc;

use mesh_core::Mesh;
use tokio::sync::watch;

/// One per `Mesh`.
#[derive(Debug)]
pub(crate) struct Guards(watch::Sender<bool>);

impl Guards {
    pub(crate) fn of(mesh: &Mesh) -> Arc<Self> {
        mesh.runtime(|| Self(watch::Sender::new(false)))
    }

    /// Says that there is a layer.
    pub(crate) fn made(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn any(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until there is one.
    pub(crate) async fn wait(&self) {
        // We hold the sender, so there is no error but the end of this process.
        let _ = self.0.subscribe().wait_for(|made| *made).await;
    }
}
