//! Whether this process wants requests. It says so itself, for it alone knows: caches that are filled, a database that answers.
//!
//! What it says travels with its registration: at once when it changes, and with every renewal, so that a restarted control
//! plane knows it too. Callers then send new requests elsewhere; connections and requests that are there stay.

use std::sync::Arc;

use super::registration::RegistrationTable;

/// Says whether this process is ready; all of a mesh's are one. It is until it says otherwise.
///
/// A process that is not ready before it serves says so first:
///
/// ```no_run
/// # async fn fill_caches() {}
/// # async fn example(app: ()) -> Result<(), Box<dyn std::error::Error>> {
/// let mesh = mesh_core::Mesh::from_env().await?;
/// let readiness = mesh.readiness();
/// readiness.set(false);
/// tokio::spawn(async move {
///     fill_caches().await;
///     readiness.set(true);
/// });
/// // … mesh_server::serve(&mesh, "0.0.0.0:9080", app).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RegistrationTable>);

impl Readiness {
    pub(super) fn of(table: &Arc<RegistrationTable>) -> Self {
        Self(table.clone())
    }

    /// Tells the mesh. What is said already costs nothing.
    pub fn set(&self, ready: bool) {
        self.0.set_ready(ready);
    }

    /// What was said last.
    pub fn is_ready(&self) -> bool {
        self.0.registered().ready
    }
}
