//! The connections to one endpoint, shared by all requests to it.
//!
//! ```text
//!   request ── acquire ──► HTTP/2 with room?  yes: a stream of it        (one atomic load, no lock)
//!                          HTTP/1.1 idle?     yes: that connection       (a lock for one pop)
//!                          else wait ◄── connect, one for all who wait, in its own task
//! ```
//! The pool belongs to the endpoint's runtime state, and so outlives configuration changes; where one changes how the endpoint
//! is spoken to (other identities, plaintext), the endpoint begins anew with another pool. A renewed SVID of ours is shown
//! by each new connection.

mod dial;
mod idle;
mod newcomers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::future::{self, Either};
use mesh_core::Mesh;
use mesh_core::balance::{ClusterState, Newcomers, Transport};
use mesh_core::identity::IdentitySource;
use mesh_core::network::Network;
use mesh_core::resource::{ConnectionPool, ConnectionTerms, UpstreamProtocol};
use tokio::runtime::Handle;

use crate::connection::{
    ConnectError, Connected, Connector, Home, Http1Connection, Http2Connection, Life, Making, Open, Stream,
    Target, Upstream, Vacancy,
};
use crate::error::Limit;
use dial::{Dial, Verdict};
use idle::Idle;
use newcomers::Arrivals;

/// One endpoint's connections.
#[derive(Debug)]
pub(crate) struct Pool {
    this: Weak<Pool>,
    cluster: Arc<ClusterState>,
    connector: Connector,
    http2: ArcSwap<Vec<Arc<Http2Connection>>>,
    http1: Mutex<Idle>,
    /// What TLS negotiated last, where the cluster leaves it open.
    negotiated_http1: AtomicBool,
    dial: Mutex<Dial>,
    /// Where the mesh's connections live: of the first request to this endpoint or to a companion.
    runtime: Option<Handle>,
    arrivals: Arc<Arrivals>,
}

/// Why there is no connection; the endpoint saw nothing of the request.
#[derive(Debug)]
pub(crate) enum AcquireError {
    /// It could not be connected to.
    Connect(Arc<ConnectError>),
    /// A limit was reached.
    Overflow(Limit),
}

impl Pool {
    /// An endpoint's connections, as `mesh` makes them.
    pub(crate) fn new(
        mesh: &Mesh,
        target: Target,
        upstream: Upstream,
        cluster: Arc<ClusterState>,
    ) -> Arc<Self> {
        let (identity, network) = (mesh.identity().cloned(), mesh.network().clone());
        let (vacancy, http1_open) = Default::default();
        let home = Weak::<Self>::new();
        let connector = Connector { target, upstream, identity, network, vacancy, http1_open, home };
        Self::of(connector, Handle::try_current().ok(), mesh.runtime(Arrivals::default), cluster)
    }

    /// Connections of nobody else's to an endpoint, made by whoever asks for them.
    pub(crate) fn apart(
        identity: Option<Arc<IdentitySource>>,
        network: Network,
        target: Target,
        upstream: Upstream,
    ) -> Arc<Self> {
        let (vacancy, http1_open) = Default::default();
        let home = Weak::<Self>::new();
        let connector = Connector { target, upstream, identity, network, vacancy, http1_open, home };
        Self::of(connector, Handle::try_current().ok(), Arc::default(), Arc::default())
    }

    /// Another endpoint's, made as this one was.
    fn beside(&self, target: Target, upstream: Upstream, cluster: Arc<ClusterState>) -> Arc<Self> {
        let (identity, network) = (self.connector.identity.clone(), self.connector.network.clone());
        let (vacancy, http1_open) = Default::default();
        let home = Weak::<Self>::new();
        let connector = Connector { target, upstream, identity, network, vacancy, http1_open, home };
        Self::of(connector, self.runtime.clone(), self.arrivals.clone(), cluster)
    }

    fn of(
        connector: Connector,
        runtime: Option<Handle>,
        arrivals: Arc<Arrivals>,
        cluster: Arc<ClusterState>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this: &Weak<Self>| Self {
            this: this.clone(),
            cluster,
            connector: Connector { home: this.clone(), ..connector },
            http2: ArcSwap::default(),
            http1: Mutex::default(),
            negotiated_http1: AtomicBool::new(false),
            dial: Mutex::default(),
            runtime,
            arrivals,
        })
    }

    /// The endpoint.
    pub(crate) fn target(&self) -> &Target {
        &self.connector.target
    }

    /// The right to send one request, at once where a connection has room. No `async fn`, which would hold what it passes on twice.
    pub(crate) fn acquire<'a>(
        &'a self,
        settings: &'a ConnectionPool,
    ) -> impl Future<Output = Result<Stream, AcquireError>> + 'a {
        match self.ready(&settings.terms) {
            Some(stream) => Either::Left(future::ready(Ok(stream))),
            None => Either::Right(self.wait(settings)),
        }
    }

    /// A connection of HTTP/1.1 for one request that will keep it: made for it, and not given back whatever comes of it. So the
    /// others lose no connection to it; nor do they hear of its failure, for the endpoint may speak HTTP/2 alone.
    pub(crate) async fn acquire_apart(&self, settings: &ConnectionPool) -> Result<Stream, AcquireError> {
        let refusal = self.dialling().refusal(Instant::now());
        if let Some(error) = refusal {
            return Err(AcquireError::Connect(error));
        }
        let overflow = || AcquireError::Overflow(Limit::Connections(settings.breaker.connections_max));
        let making = self.making(settings).ok_or_else(overflow)?;
        match self.connector.connect_http1(making).await {
            Ok(connection) => Ok(Stream::Http1(connection.lease(Weak::<Pool>::new()))),
            Err(error) => {
                error.report(&self.connector.upstream.tls);
                Err(AcquireError::Connect(Arc::new(error)))
            }
        }
    }

    fn ready(&self, terms: &ConnectionTerms) -> Option<Stream> {
        let alike = |connection: &&Arc<Http2Connection>| connection.life.terms == *terms;
        if let Some(stream) = self.http2.load().iter().filter(alike).find_map(Http2Connection::open) {
            let life = stream.life();
            if terms.requests_max < u32::MAX && life.is_over(Instant::now()) {
                self.let_go(life);
            }
            return Some(Stream::Http2(stream));
        }
        if self.connector.http1_open.count() == 0 {
            return None;
        }
        let idle = self.idle().take(terms, Instant::now())?;
        let home: Weak<dyn Home> = self.this.clone();
        Some(Stream::Http1(idle.lease(home)))
    }

    async fn wait(&self, settings: &ConnectionPool) -> Result<Stream, AcquireError> {
        let max = settings.breaker.pending_max;
        let overflow = |max| AcquireError::Overflow(Limit::Pending(max));
        let _pending = self.cluster.usage.pending.take(max).ok_or(overflow(max))?;
        let _waiting = Waiting::begin(&self.connector.vacancy).ok_or(overflow(WAITING_MAX))?;
        let failures_seen = self.dialling().failures();
        loop {
            let changed = self.connector.vacancy.changed.notified();
            tokio::pin!(changed);
            // Enlisted before looking, so that what changes between the look and the wait is not missed.
            changed.as_mut().enable();
            if let Some(stream) = self.ready(&settings.terms) {
                return Ok(stream);
            }
            let allowed = self.connects_allowed(&settings.terms);
            let verdict = self.dialling().ask(failures_seen, allowed, Instant::now());
            match verdict {
                Verdict::Refuse(error) => return Err(AcquireError::Connect(error)),
                Verdict::Connect => self.begin_connect(settings),
                Verdict::Wait => {}
            }
            changed.await;
        }
    }

    /// How many connects may be under way at a time: one that all wait for, or, where a connection serves one request only,
    /// one for each who waits; none where the endpoint has all the connections that it may have.
    fn connects_allowed(&self, terms: &ConnectionTerms) -> u32 {
        let http1 = match self.connector.upstream.protocol {
            UpstreamProtocol::Http1 => true,
            UpstreamProtocol::Http2 => false,
            UpstreamProtocol::Auto => self.negotiated_http1.load(Ordering::Relaxed),
        };
        if http1 {
            let room = HTTP1_CONNECTIONS_MAX.saturating_sub(self.connector.http1_open.count());
            return room.min(self.connector.vacancy.waiting.load(Ordering::Relaxed));
        }
        if terms.requests_max == 1 {
            return self.connector.vacancy.waiting.load(Ordering::Relaxed);
        }
        let connections = self.http2.load();
        let alike = |one: &&Arc<Http2Connection>| one.life.terms == *terms && !one.is_closed();
        u32::from(connections.iter().filter(alike).count() < HTTP2_CONNECTIONS_MAX)
    }

    /// Connects in a task of its own, so that the connection comes about also if the request is given up meanwhile. Where the
    /// cluster has all the connections that it may have, whoever waits goes on to wait for one of this endpoint.
    fn begin_connect(&self, settings: &ConnectionPool) {
        let (Some(pool), Some(making)) = (self.this.upgrade(), self.making(settings)) else {
            self.dialling().given_up();
            return;
        };
        tokio::spawn(Connecting { pool, ended: false }.run(making));
    }

    /// Whether a connect is to be made that no request waits for; it has been counted.
    fn begin_ahead(&self) -> bool {
        let mut dial = self.dialling();
        let failures = dial.failures();
        !self.is_connected() && matches!(dial.ask(failures, 1, Instant::now()), Verdict::Connect)
    }

    /// What it takes to make a connection; none where the cluster has all that it may have.
    fn making(&self, settings: &ConnectionPool) -> Option<Making> {
        let open = Open::new(&self.connector.vacancy, &self.cluster, settings.breaker.connections_max)?;
        Some(Making { timeout: settings.connect_timeout, terms: settings.terms, open })
    }

    fn connected(&self, connected: Result<Connected, ConnectError>) {
        match connected {
            Ok(Connected::Http2(connection)) => {
                self.negotiated_http1.store(false, Ordering::Relaxed);
                self.add(&connection);
                self.dialling().succeeded();
            }
            Ok(Connected::Http1(connection)) => {
                self.negotiated_http1.store(true, Ordering::Relaxed);
                self.dialling().succeeded();
                self.take_back(connection);
            }
            Err(error) => {
                // The back-off between connects bounds how often it is said.
                error.report(&self.connector.upstream.tls);
                self.dialling().failed(Arc::new(error), fastrand::f64(), Instant::now());
            }
        }
        self.connector.vacancy.changed.notify_waiters();
    }

    /// Adds a connection in the place of those that are closed.
    fn add(&self, connection: &Arc<Http2Connection>) {
        self.http2.rcu(|present| {
            let terms = &connection.life.terms;
            let open = present.iter().filter(|other| !other.is_closed() && other.life.terms == *terms);
            open.chain([connection]).cloned().collect::<Vec<_>>()
        });
    }

    fn dialling(&self) -> MutexGuard<'_, Dial> {
        self.dial.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.http1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes idle connections when their time has come, until there are none.
    fn watch_idle(&self, look_time: Duration) {
        let pool = self.this.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(look_time).await;
                let Some(pool) = pool.upgrade() else { return };
                if !pool.idle().sweep(Instant::now()) {
                    return;
                }
            }
        });
    }
}

impl Home for Pool {
    fn take_back(&self, connection: Http1Connection) {
        let look_time = connection.life.look_time();
        let first = self.idle().put(connection, Instant::now());
        if first {
            self.watch_idle(look_time);
        }
        self.connector.vacancy.tell_one();
    }

    fn let_go(&self, life: &Arc<Life>) {
        self.http2.rcu(|present| {
            let others = present.iter().filter(|connection| !Arc::ptr_eq(&connection.life, life));
            others.cloned().collect::<Vec<_>>()
        });
    }
}

impl Transport for Pool {
    fn is_connected(&self) -> bool {
        self.connector.http1_open.count() > 0 || self.http2.load().iter().any(|one| !one.is_closed())
    }

    fn welcome(&self, newcomers: Newcomers<'_>) {
        self.connect_to(newcomers);
    }

    /// Lets go of all connections: each finishes the requests that it has, then closes.
    fn close(&self) {
        self.http2.store(Arc::default());
        *self.idle() = Idle::default();
    }
}

/// A connect under way. Its task ends early only with the runtime that it was begun on; then others are told to make their own.
struct Connecting {
    pool: Arc<Pool>,
    ended: bool,
}

impl Connecting {
    async fn run(mut self, making: Making) {
        let connected = self.pool.connector.connect(making).await;
        self.ended = true;
        self.pool.connected(connected);
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if !self.ended {
            self.pool.dialling().given_up();
            self.pool.connector.vacancy.changed.notify_waiters();
        }
    }
}

/// A place among those who wait; bounded, so that an endpoint that has gone mute gathers no crowd.
struct Waiting<'a>(&'a Vacancy);

impl<'a> Waiting<'a> {
    fn begin(vacancy: &'a Vacancy) -> Option<Self> {
        let waiting = Self(vacancy);
        // Counted first and compared after, so that those who come at once cannot all see the last free place.
        (vacancy.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many requests may wait for a connection to one endpoint.
const WAITING_MAX: u32 = 1024;
/// How many HTTP/2 connections an endpoint may have; a further one is made only when all are out of streams.
const HTTP2_CONNECTIONS_MAX: usize = 8;
/// How many HTTP/1.1 connections an endpoint may have.
const HTTP1_CONNECTIONS_MAX: u32 = 512;
