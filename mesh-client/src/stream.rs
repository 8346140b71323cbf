//! [`MeshStream`]: an open connection, what is known of its other end, and how long it may live.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use mesh_core::balance::OpaqueConnection;
use mesh_core::identity::peer_identity;
use mesh_core::resource::{ConnectionTerms, EndpointSpec, Provenance};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::connection::Carrier;

/// An open connection of bytes; closed on drop.
///
/// Each direction ends by itself: after [`shutdown`](tokio::io::AsyncWriteExt::shutdown) the peer reads the end and may go on
/// sending. Under TLS an end that the peer did not announce (a cut) reads as an error, never as an end.
///
/// A DestinationRule limits its life (`connectionPool.tcp`, `idleTimeout`, an hour if nothing is said, and `maxConnectionDuration`):
/// past that, whoever reads or writes gets an error of the kind [`TimedOut`](io::ErrorKind::TimedOut), and it is closed. One that
/// nobody reads or writes is closed when somebody does.
#[derive(Debug)]
pub struct MeshStream {
    carrier: Option<Carrier>,
    life: Option<OpaqueLife>,
    endpoint: Option<SocketAddr>,
    peer: Option<Arc<str>>,
    rule: Option<Provenance>,
    /// Counts at the cluster and, for balancers that ask how busy it is, at the endpoint.
    connection: Option<OpaqueConnection>,
}

/// Why the mesh has closed a connection of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpaqueOver {
    /// Nothing came and nothing went for so long.
    #[error("closed, for no byte passed for {0:?} (connectionPool.tcp.idleTimeout)")]
    Idle(Duration),
    /// It was open for so long.
    #[error("closed at the age of {0:?} (connectionPool.tcp.maxConnectionDuration)")]
    Age(Duration),
}

/// How long a connection of bytes may live.
#[derive(Debug)]
struct OpaqueLife {
    idle_timeout: Duration,
    age_max: Option<Duration>,
    begun: Instant,
    /// When a byte passed last.
    touched: Instant,
    timer: Pin<Box<Sleep>>,
}

impl OpaqueLife {
    fn new(terms: &ConnectionTerms) -> Self {
        let now = Instant::now();
        let idle_timeout = terms.opaque_idle_timeout.unwrap_or(IDLE_TIME);
        let first = terms.age_max.unwrap_or(idle_timeout).min(idle_timeout);
        let timer = Box::pin(tokio::time::sleep(first));
        Self { idle_timeout, age_max: terms.age_max, begun: now, touched: now, timer }
    }

    fn over(&self, now: Instant) -> Option<OpaqueOver> {
        let age = self.age_max.filter(|max| now.duration_since(self.begun) >= *max).map(OpaqueOver::Age);
        age.or_else(|| {
            let is_idle = now.duration_since(self.touched) >= self.idle_timeout;
            is_idle.then_some(OpaqueOver::Idle(self.idle_timeout))
        })
    }

    /// Waits for the end; the timer is set anew only where it goes off too early.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<OpaqueOver> {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if let Some(over) = self.over(now) {
                return Poll::Ready(over);
            }
            let idle_left = self.idle_timeout.saturating_sub(now.duration_since(self.touched));
            let age_left = self.age_max.map(|max| max.saturating_sub(now.duration_since(self.begun)));
            let left = age_left.unwrap_or(idle_left).min(idle_left);
            self.timer.set(tokio::time::sleep(left));
        }
        Poll::Pending
    }
}

impl MeshStream {
    /// To a host outside the mesh.
    pub(crate) fn outside(carrier: Carrier) -> Self {
        let carrier = Some(carrier);
        Self { carrier, life: None, endpoint: None, peer: None, rule: None, connection: None }
    }

    /// To an endpoint of a cluster.
    pub(crate) fn to(
        endpoint: &EndpointSpec,
        carrier: Carrier,
        connection: OpaqueConnection,
        terms: &ConnectionTerms,
    ) -> Self {
        let peer = match &carrier {
            Carrier::Plain(_) => None,
            Carrier::Tls(tls) => peer_identity(tls.get_ref().1).map(|id| id.as_str().into()),
        };
        let endpoint = endpoint.pipe.is_none().then_some(endpoint.address);
        let (carrier, life) = (Some(carrier), Some(OpaqueLife::new(terms)));
        Self { carrier, life, endpoint, peer, rule: None, connection: Some(connection) }
    }

    /// The same, by this rule.
    pub(crate) fn by(self, rule: Provenance) -> Self {
        Self { rule: Some(rule), ..self }
    }

    /// The endpoint at the other end; `None` outside the mesh and at a Unix socket.
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.endpoint
    }

    /// The SPIFFE ID that the peer proved, such as `spiffe://cluster.local/ns/default/sa/db`; `None` without mTLS.
    pub fn peer_id(&self) -> Option<&str> {
        self.peer.as_deref()
    }

    /// The rule by which the connection went; `None` outside the mesh.
    pub fn rule(&self) -> Option<&Provenance> {
        self.rule.as_ref()
    }

    /// Does something with the connection, as long as it lives; `passed` says whether bytes passed.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        act: impl FnOnce(Pin<&mut Carrier>, &mut Context<'_>) -> Poll<io::Result<T>>,
        passed: impl FnOnce(&T) -> bool,
    ) -> Poll<io::Result<T>> {
        let Some(carrier) = &mut self.carrier else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        let acted = act(Pin::new(carrier), cx);
        let Some(life) = &mut self.life else { return acted };
        let over = match &acted {
            Poll::Pending => life.poll_over(cx),
            Poll::Ready(Ok(done)) => {
                let now = Instant::now();
                let over = life.over(now);
                if passed(done) {
                    life.touched = now;
                }
                over.map_or(Poll::Pending, Poll::Ready)
            }
            Poll::Ready(Err(_)) => Poll::Pending,
        };
        let Poll::Ready(over) = over else { return acted };
        (self.carrier, self.connection) = (None, None);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, over)))
    }
}

impl AsyncRead for MeshStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let act = |carrier: Pin<&mut Carrier>, cx: &mut Context<'_>| {
            carrier.poll_read(cx, buffer).map_ok(|()| buffer.filled().len())
        };
        self.get_mut().poll(cx, act, |filled| *filled > before).map_ok(drop)
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, |carrier, cx| carrier.poll_write(cx, bytes), |written| *written > 0)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll(cx, |carrier, cx| carrier.poll_write_vectored(cx, slices), |written| *written > 0)
    }

    fn is_write_vectored(&self) -> bool {
        self.carrier.as_ref().is_some_and(Carrier::is_write_vectored)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(cx, |carrier, cx| carrier.poll_flush(cx), |()| false)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll(cx, |carrier, cx| carrier.poll_shutdown(cx), |()| false)
    }
}

/// As Istio has it.
const IDLE_TIME: Duration = Duration::from_secs(3600);
