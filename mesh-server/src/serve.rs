//! The whole server in one call: bind, guard, serve, drain.
//!
//! ```text
//!   signal ─► registry: draining ─► notice period, still serving ─► no new connections, GOAWAY ─► deadline ─► withdrawn
//! ```

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::Mesh;
use mesh_core::mesh::RegistrationState;
use tokio::net::ToSocketAddrs;
use tokio::time;
use tower::Layer;

use crate::app::App;
use crate::drain::Connections;
use crate::layer::{MeshLayer, MeshService};
use crate::listener::{Counters, ListenerBuilder, MeshListener};
use crate::termination::terminated;

/// Serves `app` on `address` until SIGTERM or SIGINT, then drains. A second signal ends the process at once, with 128 and the
/// signal's number as its exit status.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mesh = mesh_core::Mesh::from_env().await?;
/// let app = axum::Router::new().route("/", axum::routing::get(|| async { "hello" }));
/// mesh_server::serve(&mesh, "0.0.0.0:9080", app).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Where the address cannot be bound or listened on.
pub async fn serve(mesh: &Mesh, address: impl ToSocketAddrs, app: impl App) -> io::Result<()> {
    let termination = terminated()?;
    serve_with_shutdown(mesh, address, app, termination).await
}

/// Serves `app` on `address` until `signal` ends, then drains. Touches no signal handler of the process.
///
/// # Errors
/// Where the address cannot be bound or listened on.
pub async fn serve_with_shutdown(
    mesh: &Mesh,
    address: impl ToSocketAddrs,
    app: impl App,
    signal: impl Future<Output = ()>,
) -> io::Result<()> {
    Server::builder(mesh).bind(address).await?.serve_with_shutdown(app, signal).await
}

/// A bound server, its address known before it serves.
#[derive(Debug)]
pub struct Server {
    listener: MeshListener,
    drain: DrainTimes,
}

/// Options of a [`Server`]; each has a default that needs no thought.
#[derive(Debug, Clone)]
pub struct ServerBuilder {
    listener: ListenerBuilder,
    drain: DrainTimes,
}

/// How long a server takes to end.
#[derive(Debug, Clone, Copy)]
struct DrainTimes {
    notice: Duration,
    deadline: Duration,
}

impl Server {
    /// Options first.
    pub fn builder(mesh: &Mesh) -> ServerBuilder {
        let drain = DrainTimes { notice: Duration::from_secs(1), deadline: Duration::from_secs(25) };
        ServerBuilder { listener: MeshListener::builder(mesh), drain }
    }

    /// The address bound, with its real port.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What happened here so far, and goes on being counted while the server runs.
    pub fn counters(&self) -> Arc<Counters> {
        self.listener.counters()
    }

    /// Serves `app` until SIGTERM or SIGINT, then drains. A second signal ends the process at once, with 128 and the signal's
    /// number as its exit status.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn serve(self, app: impl App) -> io::Result<()> {
        let termination = terminated()?;
        self.serve_with_shutdown(app, termination).await
    }

    /// Serves `app` until `signal` ends, then drains. Touches no signal handler of the process.
    ///
    /// # Errors
    /// Where the address cannot be listened on.
    pub async fn serve_with_shutdown(
        mut self,
        app: impl App,
        signal: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let service = MeshLayer::new(self.listener.mesh()).layer(app.into_router());
        let mut connections = Connections::new();
        let mut signal = std::pin::pin!(signal);
        tokio::select! {
            result = accept(&mut self.listener, &service, &mut connections) => match result? {},
            () = &mut signal => {}
        }
        self.drain(&service, connections).await
    }

    async fn drain(
        mut self,
        service: &MeshService<axum::Router>,
        mut connections: Connections,
    ) -> io::Result<()> {
        let name = self.listener.name();
        tracing::info!(listener = %name, "draining");
        if let Some(registration) = self.listener.registration() {
            registration.drain();
            // Callers hear of it through the control plane, and call us until they have: go on serving meanwhile.
            tokio::select! {
                result = accept(&mut self.listener, service, &mut connections) => match result? {},
                () = time::sleep(self.drain.notice) => {}
            }
        }
        let registration = self.listener.close().await;
        let broken = connections.drain(self.drain.deadline).await;
        if broken > 0 {
            tracing::warn!(listener = %name, connections = broken, "requests outlived the drain deadline and were cut");
        }
        if let Some(registration) = registration
            // A control plane that did not hear of the drain in time is away; the lease will end it.
            && registration.state() == RegistrationState::Registered
        {
            let _ = time::timeout(WITHDRAWAL_TIMEOUT, registration.withdraw()).await;
        }
        Ok(())
    }
}

impl ServerBuilder {
    /// Which of the services that the join token grants is served here, such as `reviews:9080`.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.listener = self.listener.service(service);
        self
    }

    /// The address that callers dial, where the mesh cannot know it (NAT).
    #[must_use]
    pub fn advertise(mut self, address: IpAddr) -> Self {
        self.listener = self.listener.advertise(address);
        self
    }

    /// How long to go on serving after the mesh was told that we end; default 1 s.
    #[must_use]
    pub fn drain_notice(mut self, notice: Duration) -> Self {
        self.drain.notice = notice;
        self
    }

    /// How long requests under way may take after that; default 25 s, within Kubernetes' 30.
    #[must_use]
    pub fn drain_deadline(mut self, deadline: Duration) -> Self {
        self.drain.deadline = deadline;
        self
    }

    /// The listener's further options.
    #[must_use]
    pub fn listener(mut self, change: impl FnOnce(ListenerBuilder) -> ListenerBuilder) -> Self {
        self.listener = change(self.listener);
        self
    }

    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// Where the address cannot be resolved or bound.
    pub async fn bind(self, address: impl ToSocketAddrs) -> io::Result<Server> {
        Ok(Server { listener: self.listener.bind(address).await?, drain: self.drain })
    }
}

/// Ends only where there will be no more connections, with the reason.
async fn accept(
    listener: &mut MeshListener,
    service: &MeshService<axum::Router>,
    connections: &mut Connections,
) -> io::Result<Infallible> {
    loop {
        let conn = listener.next().await?;
        connections.serve(conn, service.clone());
    }
}

const WITHDRAWAL_TIMEOUT: Duration = Duration::from_secs(2);
