//! How long a connection lives: until it has been idle for too long, is too old or has carried all that it may.
//!
//! A connection whose time is over leaves its pool, takes no new request from there on, and ends with the last one that it has: nothing
//! fails for it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use mesh_core::balance::{ClusterState, OpenConnection};
use mesh_core::resource::ConnectionTerms;

use super::{Http1Connection, Vacancy};

/// Where a connection belongs.
pub(crate) trait Home: Send + Sync + std::fmt::Debug {
    /// Takes a connection that is ready for its next request.
    fn take_back(&self, connection: Http1Connection);

    /// Gives a connection, known by its life, to no further request.
    fn let_go(&self, life: &Arc<Life>);
}

/// The life of one connection.
#[derive(Debug)]
pub(crate) struct Life {
    /// On what terms it was made.
    pub(crate) terms: ConnectionTerms,
    pub(crate) home: Weak<dyn Home>,
    begun: Instant,
    requests: AtomicU32,
    /// Counts each beginning and each end of a request.
    pub(super) touched: AtomicU32,
}

/// What it takes to make a connection.
#[derive(Debug)]
pub(crate) struct Making {
    /// Within this time.
    pub(crate) timeout: Duration,
    pub(crate) terms: ConnectionTerms,
    /// Held as long as its bytes are.
    pub(crate) open: Open,
}

/// An open connection's place among those of its endpoint and of its cluster.
#[derive(Debug)]
pub(crate) struct Open {
    vacancy: Arc<Vacancy>,
    cluster: Option<OpenConnection>,
}

impl Open {
    /// A place, unless the cluster has `max` connections. The first one of an endpoint has one in any case, for else requests would wait
    /// there for what only others can give back.
    pub(crate) fn new(vacancy: &Arc<Vacancy>, cluster: &Arc<ClusterState>, max: u32) -> Option<Self> {
        let is_first = vacancy.open.fetch_add(1, Ordering::Relaxed) == 0;
        let cluster = cluster.connect(if is_first { u32::MAX } else { max });
        if cluster.is_none() {
            vacancy.open.fetch_sub(1, Ordering::Relaxed);
        }
        Some(Self { cluster: Some(cluster?), vacancy: vacancy.clone() })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Before anybody hears of it.
        self.cluster = None;
        self.vacancy.open.fetch_sub(1, Ordering::Relaxed);
        self.vacancy.tell_one();
    }
}

impl Life {
    pub(super) fn new(terms: ConnectionTerms, home: Weak<dyn Home>) -> Arc<Self> {
        let (requests, touched) = Default::default();
        Arc::new(Self { terms, home, begun: Instant::now(), requests, touched })
    }

    /// Counts a request that it is to carry; false where it has carried all that it may.
    pub(super) fn count_request(&self) -> bool {
        let max = self.terms.requests_max;
        if max == u32::MAX {
            return true;
        }
        let more = |count| (count < max).then_some(count + 1);
        self.requests.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Whether it takes no further request.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.requests.load(Ordering::Relaxed) >= self.terms.requests_max
            || self.terms.age_max.is_some_and(|max| now.duration_since(self.begun) >= max)
    }

    /// For how long an HTTP/1.1 connection is kept without a request.
    pub(crate) fn idle_time(&self) -> Duration {
        self.terms.idle_timeout.unwrap_or(HTTP1_IDLE_TIME)
    }

    /// How often it is looked at, so that it is closed when its time has come.
    pub(crate) fn look_time(&self) -> Duration {
        self.idle_time().min(self.terms.age_max.unwrap_or(Duration::MAX)) / 2
    }

    /// Returns when an HTTP/2 connection is too old, or idle for too long.
    pub(super) async fn over(&self, streams: &AtomicU32) {
        let age_max = self.terms.age_max.unwrap_or(Duration::MAX);
        // A timeout of the other: whichever comes first.
        let _ = tokio::time::timeout(age_max, self.idle(streams)).await;
    }

    /// Looks twice in the time, so that it is passed by at most a half.
    async fn idle(&self, streams: &AtomicU32) {
        let look_time = self.terms.idle_timeout.unwrap_or(HTTP2_IDLE_TIME) / 2;
        let mut looks = 0;
        while looks < 2 {
            let touched = self.touched.load(Ordering::Relaxed);
            tokio::time::sleep(look_time).await;
            let is_idle =
                streams.load(Ordering::Relaxed) == 0 && self.touched.load(Ordering::Relaxed) == touched;
            looks = if is_idle { looks + 1 } else { 0 };
        }
    }
}

/// Servers of HTTP/1.1 close idle connections after a minute or so, and a request that meets that is sent twice.
const HTTP1_IDLE_TIME: Duration = Duration::from_secs(60);
/// As Istio has it.
const HTTP2_IDLE_TIME: Duration = Duration::from_secs(3600);
