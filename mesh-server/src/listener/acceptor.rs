//! The accept loop: it waits for configuration, then for sockets, and never for a peer.
//!
//! ```text
//!   bind ── configuration here? ── listen ── accept ─┬─► handshake task ─► channel ─► MeshListener
//!           (until then the kernel refuses)          ├─► handshake task ─►
//!                                                    └─► …  (the one waiting longest makes room)
//! ```

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::accept::Handshakes;
use mesh_core::network::{Bound, Listener};
use rustls::ServerConfig;
use tokio::sync::{Semaphore, mpsc};
use tokio::time;

use super::builder::ListenerLimits;
use super::handshake::{Admission, Arrival, Carries};
use super::site::{Event, Inbound, Site};
use crate::connection::Conn;
use crate::guards::Guards;

/// Everything the accept loop owns; it stops when its future is dropped, and its handshakes with it.
pub(super) struct Acceptor {
    pub(super) site: Arc<Site>,
    /// What must stand before anything is accepted; bytes need none, since each connection of them is judged here.
    pub(super) guards: Option<Arc<Guards>>,
    /// None without a mesh, or where the mesh gave this process no identity.
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) limits: ListenerLimits,
    pub(super) conns: mpsc::Sender<io::Result<Conn>>,
}

impl Acceptor {
    /// Waits for the configuration, listens, and says so by calling `serving`. Ends only where it cannot listen at all.
    pub(super) async fn run(self, socket: Bound, serving: impl FnOnce()) {
        self.configured().await;
        match socket.listen(BACKLOG_CONNECTIONS_MAX) {
            Ok(listener) => {
                serving();
                self.accept_all(listener).await;
            }
            Err(error) => {
                // An error says that nobody is there to be told.
                let _ = self.conns.send(Err(error)).await;
            }
        }
    }

    async fn accept_all(self, mut listener: Listener) {
        let places = Arc::new(Semaphore::new(self.limits.connections_max));
        let mut handshakes = Handshakes::new(self.limits.handshakes_max);
        loop {
            let (socket, remote) = listener.accept().await;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                self.refuse(remote, "there are too many connections");
                continue;
            };
            // Read for each socket, so that a change of mode meets the very next one.
            let Some(admission) = self.admission() else {
                self.refuse(remote, "there is no inbound configuration, or no identity to enforce it with");
                continue;
            };
            let carries = if self.guards.is_some() { Carries::Requests } else { Carries::Bytes };
            let arrival = Arrival { socket, remote, place, site: Arc::clone(&self.site), admission, carries };
            if handshakes.begin(self.finish(arrival)) {
                self.site.counters.add(Event::DisplacedHandshake);
            }
        }
    }

    /// Waits until there is something to enforce, and somebody to enforce it; says so while it waits.
    async fn configured(&self) {
        let mut reminder = time::interval(CONFIGURATION_REMINDER);
        reminder.tick().await;
        let mut configured = pin!(async {
            if let Some(guards) = &self.guards {
                guards.wait().await;
            }
            self.site.configured().await;
        });
        loop {
            tokio::select! {
                () = &mut configured => return,
                _ = reminder.tick() => self.remind(),
            }
        }
    }

    fn remind(&self) {
        let reason = match self.guards.as_ref().is_none_or(|guards| guards.any()) {
            true => {
                "no inbound configuration yet; `mesh status` tells whether the control plane knows this workload"
            }
            false => {
                "no policy would be enforced; wrap the finished app: `let app = MeshLayer::new(&mesh).layer(app);`"
            }
        };
        tracing::warn!(listener = %self.site.name, "nothing is accepted: {reason}");
    }

    fn admission(&self) -> Option<Admission> {
        match (self.site.inbound(), &self.tls) {
            (Inbound::Outside, _) => Some(Admission::Plaintext),
            (Inbound::Configured(listener), tls) => Admission::of(listener.mtls_mode, tls.as_ref()),
            (Inbound::Pending, _) => None,
        }
    }

    fn refuse(&self, remote: SocketAddr, reason: &str) {
        self.site.counters.add(Event::RefusedConnection);
        tracing::warn!(listener = %self.site.name, peer = %remote, "connection refused: {reason}");
    }

    /// One handshake to its end, and the connection handed over.
    fn finish(&self, arrival: Arrival) -> impl Future<Output = ()> + Send + 'static {
        let site = Arc::clone(&self.site);
        let conns = self.conns.clone();
        let timeout = self.limits.handshake_timeout;
        async move {
            let remote = arrival.remote;
            match time::timeout(timeout, arrival.admit()).await {
                Ok(Ok(conn)) => {
                    site.counters.add(Event::Accepted);
                    // An error says that the listener is gone, and the connection with it.
                    let _ = conns.send(Ok(conn)).await;
                }
                Ok(Err(closed)) => {
                    if let Some(event) = closed.event() {
                        site.counters.add(event);
                        tracing::warn!(listener = %site.name, peer = %remote, "connection refused: {closed}");
                    }
                }
                Err(_) => {
                    site.counters.add(Event::TimedOutHandshake);
                    tracing::debug!(listener = %site.name, peer = %remote, "connection closed: no handshake in time");
                }
            }
        }
    }
}

const CONFIGURATION_REMINDER: Duration = Duration::from_secs(5);
const BACKLOG_CONNECTIONS_MAX: u32 = 1024;
