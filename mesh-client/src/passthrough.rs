//! Hosts outside the mesh: called as they are, in plain HTTP, with one pool per host and protocol.
//!
//! Nothing of the mesh applies to them but the caller's deadline. HTTP/2 is spoken where the request says so (as gRPC's do), for
//! in plaintext there is nothing to negotiate it with.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{Response, Version};
use mesh_core::Mesh;
use mesh_core::canonical::HostPort;
use mesh_core::resource::{ConnectionPool, UpstreamProtocol, UpstreamTls};

use crate::attempt::{Keep, attempt};
use crate::body::ResponseBody;
use crate::connection::{Outgoing, Target, Upstream};
use crate::error::ClientError;
use crate::pool::Pool;

/// The hosts outside that have been called.
#[derive(Debug, Default)]
pub(crate) struct Passthrough {
    http1: ArcSwap<HashMap<HostPort, Arc<Pool>>>,
    http2: ArcSwap<HashMap<HostPort, Arc<Pool>>>,
}

impl Passthrough {
    /// Sends a request out.
    pub(crate) async fn send(
        &self,
        mesh: &Mesh,
        host: HostPort,
        request: &mut Outgoing,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let (pools, protocol) = match request.head.version {
            Version::HTTP_2 => (&self.http2, UpstreamProtocol::Http2),
            _ => (&self.http1, UpstreamProtocol::Http1),
        };
        let pool = pool(mesh, pools, host, protocol);
        attempt(&pool, &ConnectionPool::DEFAULT, request, Keep::Nothing).await.map_err(|failed| failed.error)
    }
}

/// The host's connections; beyond [`HOSTS_MAX`] hosts they are not kept for the next request.
fn pool(
    mesh: &Mesh,
    pools: &ArcSwap<HashMap<HostPort, Arc<Pool>>>,
    host: HostPort,
    protocol: UpstreamProtocol,
) -> Arc<Pool> {
    if let Some(pool) = pools.load().get(&host) {
        return pool.clone();
    }
    let upstream = Upstream::new(UpstreamTls::Plaintext, protocol);
    let made = Pool::new(mesh, Target::Name(host.clone()), upstream, Arc::default());
    let before = pools.rcu(|pools| {
        let mut pools = HashMap::clone(pools);
        if pools.len() < HOSTS_MAX {
            pools.entry(host.clone()).or_insert_with(|| made.clone());
        }
        pools
    });
    before.get(&host).cloned().unwrap_or(made)
}

/// How many hosts outside keep their connections.
const HOSTS_MAX: usize = 1024;
