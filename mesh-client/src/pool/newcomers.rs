//! Connecting to endpoints that join a cluster in use, so that the first requests to them need not.
//!
//! All clients of a cluster hear of a newcomer at the same time, and one client may hear of many. So each waits for a moment of its
//! own, few connects of a process are under way at a time, and to a fleet of thousands there are only some: beyond these an
//! endpoint is connected to when it is first asked. Until its connection is there requests go to others.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::balance::{Moment, Newcomers};
use mesh_core::network::Network;
use mesh_core::resource::ConnectionPool;
use tokio::sync::Semaphore;

use super::{Connecting, Pool};
use crate::connection::{Target, Upstream};

/// The connects of a process to newcomers.
#[derive(Debug)]
pub(super) struct Arrivals(Semaphore);

impl Default for Arrivals {
    fn default() -> Self {
        Self(Semaphore::new(CONNECTS_MAX))
    }
}

impl Pool {
    /// Begins to connect to newcomers of its cluster, and returns.
    pub(super) fn connect_to(&self, newcomers: Newcomers<'_>) {
        // Pipes within a test cost nothing to connect, and its draws have to come out alike each time.
        let (Some(runtime), Network::Tcp) = (&self.runtime, &self.connector.network) else { return };
        let room = CONNECTED_MAX.saturating_sub(newcomers.connected);
        for endpoint in fastrand::choose_multiple(newcomers.endpoints, room) {
            let upstream = Upstream::of(newcomers.cluster, &endpoint.spec);
            let pool = self.beside(Target::of(&endpoint.spec), upstream, newcomers.state.clone());
            if endpoint.state.transport.set(pool.clone()).is_err() {
                continue;
            }
            endpoint.state.await_connection(Moment::now() + WAIT_MAX);
            let settings = newcomers.cluster.connection_pool.clone();
            let cluster = Arc::clone(newcomers.state);
            runtime.spawn(async move {
                connect(pool, settings).await;
                endpoint.state.end_wait();
                cluster.changed();
            });
        }
    }
}

async fn connect(pool: Arc<Pool>, settings: ConnectionPool) {
    tokio::time::sleep(SPREAD.mul_f64(fastrand::f64())).await;
    let arrivals = Arc::clone(&pool.arrivals);
    // Never closed.
    let Ok(_place) = arrivals.0.acquire().await else { return };
    if pool.begin_ahead() {
        let Some(making) = pool.making(&settings) else { return pool.dialling().given_up() };
        Connecting { pool, ended: false }.run(making).await;
    }
}

/// How many endpoints of a cluster are connected to before they are asked.
const CONNECTED_MAX: usize = 64;
/// How many such connects of a process may be under way.
const CONNECTS_MAX: usize = 8;
/// Over which time the connects of all clients to a newcomer are spread.
const SPREAD: Duration = Duration::from_millis(200);
/// How long requests go elsewhere: beyond that a connect takes so long that others had better know.
const WAIT_MAX: Duration = Duration::from_secs(1);
