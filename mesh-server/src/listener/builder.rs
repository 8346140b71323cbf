//! Options of a listener, and the act of binding it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mesh_core::Mesh;
use mesh_core::identity::{ALPN_OPAQUE, ClientCertificate, IdentitySource, server_config};
use mesh_core::mesh::{Membership, Registration, ServiceName, ServingPort};
use mesh_core::network::{Bound, Network};
use rustls::ServerConfig;
use tokio::net::{ToSocketAddrs, lookup_host};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::acceptor::Acceptor;
use super::site::Site;
use super::{MeshListener, OpaqueListener};
use crate::guards::Guards;

/// Options of a [`MeshListener`]; each has a default that needs no thought.
#[derive(Debug, Clone)]
pub struct ListenerBuilder {
    mesh: Mesh,
    service: Option<String>,
    advertised_address: Option<IpAddr>,
    limits: ListenerLimits,
}

/// What bounds a listener.
#[derive(Debug, Clone)]
pub(super) struct ListenerLimits {
    pub(super) handshake_timeout: Duration,
    pub(super) handshakes_max: usize,
    pub(super) connections_max: usize,
}

impl ListenerBuilder {
    pub(super) fn new(mesh: &Mesh) -> Self {
        Self {
            mesh: mesh.clone(),
            service: None,
            advertised_address: None,
            limits: ListenerLimits {
                handshake_timeout: Duration::from_secs(10),
                handshakes_max: 1024,
                connections_max: 16 * 1024,
            },
        }
    }

    /// Which of the services that the join token grants is served here, such as `reviews:9080`.
    ///
    /// Default: the granted service whose port is the bound one, or the only one.
    #[must_use]
    pub fn service(mut self, service: impl Into<String>) -> Self {
        self.service = Some(service.into());
        self
    }

    /// The address that callers dial, where it is neither the bound one nor, for a wildcard, the one that this process
    /// talks to the control plane from (NAT).
    #[must_use]
    pub fn advertise(mut self, address: IpAddr) -> Self {
        self.advertised_address = Some(address);
        self
    }

    /// How long a peer may take from connecting to the end of its handshake; default 10 s.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.limits.handshake_timeout = timeout;
        self
    }

    /// How many handshakes may be under way; one more closes the one that waited longest. Default 1,024.
    #[must_use]
    pub fn handshakes_max(mut self, handshakes_max: usize) -> Self {
        self.limits.handshakes_max = handshakes_max.max(1);
        self
    }

    /// How many connections may be open; one more is closed at once. Default 16,384.
    #[must_use]
    pub fn connections_max(mut self, connections_max: usize) -> Self {
        self.limits.connections_max = connections_max.clamp(1, Semaphore::MAX_PERMITS);
        self
    }

    /// Binds. Until the inbound configuration is here, the kernel refuses connections, and the port is not registered.
    ///
    /// # Errors
    /// Where the address cannot be resolved or bound, or [`service`](Self::service) was given no `NAME:PORT`.
    pub async fn bind(self, address: impl ToSocketAddrs) -> io::Result<MeshListener> {
        let guards = Guards::of(&self.mesh);
        self.bind_under(Some(guards), address).await
    }

    /// The same for a service that speaks no HTTP: each connection is judged by policy before it is handed over.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub async fn bind_opaque(self, address: impl ToSocketAddrs) -> io::Result<OpaqueListener> {
        self.bind_under(None, address).await.map(OpaqueListener::of)
    }

    async fn bind_under(
        self,
        guards: Option<Arc<Guards>>,
        address: impl ToSocketAddrs,
    ) -> io::Result<MeshListener> {
        let tls = self.mesh.identity().map(|identity| tls(identity, guards.is_some()));
        let service = self.service.as_deref().map(service_name).transpose()?;
        let (socket, address) = bind_first(self.mesh.network(), address).await?;
        let port = ServingPort {
            service,
            workload_port: address.port(),
            advertised_address: self
                .advertised_address
                .or((!address.ip().is_unspecified()).then_some(address.ip())),
        };
        let site = Arc::new(Site::new(&self.mesh, address));
        let (sender, conns) = mpsc::channel(READY_CONNECTIONS_MAX);
        let acceptor = Acceptor { site: Arc::clone(&site), guards, tls, limits: self.limits, conns: sender };
        let registration: Arc<OnceLock<Registration>> = Arc::default();
        let serving = {
            let (mesh, site, registration) =
                (self.mesh.clone(), Arc::clone(&site), Arc::clone(&registration));
            move || {
                tracing::info!(listener = %site.name, "accepting connections");
                if mesh.membership() == Membership::Joined {
                    // Called once, and set nowhere else.
                    let _ = registration.set(mesh.register(port));
                }
            }
        };
        let task = tokio::spawn(acceptor.run(socket, serving));
        let mesh = self.mesh;
        Ok(MeshListener { conns, address, site, mesh, registration, acceptor: AbortOnDropHandle::new(task) })
    }
}

/// Mutual TLS; what carries bytes takes the one protocol that says so, and what carries requests never takes that.
fn tls(identity: &Arc<IdentitySource>, requests: bool) -> Arc<ServerConfig> {
    let mut config = server_config(identity, ClientCertificate::Required);
    if !requests {
        Arc::make_mut(&mut config).alpn_protocols = vec![ALPN_OPAQUE.to_vec()];
    }
    config
}

fn service_name(text: &str) -> io::Result<ServiceName> {
    let parsed = text.rsplit_once(':').and_then(|(name, port)| {
        let port = port.parse().ok()?;
        (!name.is_empty()).then(|| ServiceName { name: name.to_owned(), port })
    });
    parsed.ok_or_else(|| {
        let reason = format!("`{text}` is no service: write its name and port, such as `reviews:9080`");
        io::Error::new(io::ErrorKind::InvalidInput, reason)
    })
}

/// The first of the addresses that can be bound; not listening yet.
async fn bind_first(network: &Network, address: impl ToSocketAddrs) -> io::Result<(Bound, SocketAddr)> {
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the address to bind resolves to nothing");
    for address in lookup_host(address).await? {
        match network.bind(address).and_then(|socket| Ok((socket.local_addr()?, socket))) {
            Ok((bound, socket)) => return Ok((socket, bound)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Handshakes done and not yet taken by the server; while it is slow to take them, the rest wait in their tasks.
const READY_CONNECTIONS_MAX: usize = 64;
