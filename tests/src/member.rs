//! A process of the mesh inside the test's own: two `Mesh` values share nothing, so one test holds a whole fleet.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::Mesh;
use mesh_server::{Counters, Server};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::{ControlPlane, Echo};

/// How long a server may take to end once it has been told to.
const DRAIN: Duration = Duration::from_secs(30);

/// A served instance; ends when it is dropped, at once, or drained by [`Served::stop`].
#[derive(Debug)]
pub struct Served {
    /// What answers.
    pub echo: Echo,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whom it let in and whom not.
    pub counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

impl ControlPlane {
    /// Joins with a new token for these words of `mesh token create`; nothing is saved.
    ///
    /// # Panics
    /// Where joining fails.
    pub async fn join(&self, token: &[&str]) -> Mesh {
        let join = self.token(token);
        Mesh::builder(join)
            .save_nothing()
            .start()
            .await
            .unwrap_or_else(|problem| panic!("{token:?}: {problem}"))
    }

    /// Serves an instance `name` of `service` (such as `echo:9080`) with a version label, on a free port.
    ///
    /// # Panics
    /// Where joining fails.
    pub async fn serve(&self, service: &str, version: &str, name: &str) -> Served {
        let mesh = self.join(&["--service", service, "--label", &format!("version={version}")]).await;
        Served::start(&mesh, Echo::new(name)).await
    }
}

impl Served {
    /// Serves `echo` as this member on a free loopback port.
    ///
    /// # Panics
    /// Where there is none.
    pub async fn start(mesh: &Mesh, echo: Echo) -> Self {
        Self::on(Server::builder(mesh).bind("127.0.0.1:0").await.expect("a free port"), echo)
    }

    /// Serves `echo` on a server that is bound already.
    pub fn on(server: Server, echo: Echo) -> Self {
        let (address, counters) = (server.address(), server.counters());
        let (stop, stopped) = oneshot::channel();
        let routes = echo.routes();
        let task = tokio::spawn(async move {
            server
                .serve_with_shutdown(routes, async {
                    // A dropped sender means the same as a sent word: stop.
                    let _ = stopped.await;
                })
                .await
        });
        Self { echo, address, counters, stop: Some(stop), task }
    }

    /// Drains and ends it.
    ///
    /// # Panics
    /// Where it does not end in time, or ended with an error.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        let ended = tokio::time::timeout(DRAIN, &mut self.task).await.expect("a drain has a deadline");
        ended.expect("the server does not panic").expect("the server ends well");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
