//! The whole stack against servers in this process, on configuration made by hand.

mod bad_input;
mod balance;
mod body;
mod channel;
mod cors;
mod counting;
mod external_auth;
mod fault;
mod hash;
mod identity;
mod limits;
mod lives;
mod mirror;
mod opaque;
mod outside;
mod outside_tls;
mod peer;
mod pool;
mod retry;
mod route;
#[cfg(feature = "reqwest")]
mod send_through;
mod sticky;
mod storms;
mod upgrade;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use mesh_core::Mesh;
use mesh_core::balance::{ClusterState, Endpoint, EndpointState};
use mesh_core::canonical::PathNormalization;
use mesh_core::mesh::Parts;
use mesh_core::resource::{
    BalancerPolicy, ClusterSpec, ConnectionPool, EndpointSource, EndpointSpec, Health, Provenance,
    UpstreamProtocol, UpstreamTls,
};
use mesh_core::route::{
    Forward, HeaderOperations, RetryCondition, RetryPolicy, Rewrite, Route, RouteAction, RouteFilters,
    RouteMatch, RouteTable, Split, WeightedDestination,
};
use mesh_core::snapshot::{Cluster, HostConfig, HostState, Snapshot};

use crate::body::{BoxError, ResponseBody};
use crate::error::ClientError;
use crate::outbound::Outbound;

const HOST: &str = "reviews:9080";
const CLUSTER: &str = "outbound|9080||reviews.default.svc.cluster.local";

/// What a test says of its cluster and of the one route to it.
struct Setup {
    name: &'static str,
    addresses: Vec<SocketAddr>,
    tls: UpstreamTls,
    protocol: UpstreamProtocol,
    retries: u32,
    retry_on: &'static [RetryCondition],
    timeout: Option<Duration>,
    per_try_timeout: Option<Duration>,
    pool: ConnectionPool,
}

impl Setup {
    fn http2(addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let addresses = addresses.into_iter().collect();
        let (tls, protocol) = (UpstreamTls::Plaintext, UpstreamProtocol::Http2);
        let retry_on = &[
            RetryCondition::ConnectFailure,
            RetryCondition::RefusedStream,
            RetryCondition::ResetBeforeRequest,
        ];
        let (timeout, per_try_timeout) = (None, None);
        let (name, pool) = (CLUSTER, ConnectionPool::DEFAULT);
        Self { name, addresses, tls, protocol, retries: 2, retry_on, timeout, per_try_timeout, pool }
    }

    fn cluster(&self) -> Arc<Cluster> {
        let spec = ClusterSpec {
            name: self.name.into(),
            host: "reviews.default.svc.cluster.local".into(),
            port: 9080,
            subset: None,
            endpoints: EndpointSource::ControlPlane(CLUSTER.into()),
            tls: self.tls.clone(),
            plaintext_endpoints: false,
            protocol: self.protocol,
            balancer: BalancerPolicy::RoundRobin,
            outlier_detection: None,
            panic_threshold_percent: None,
            localities_weighted: false,
            health_check: None,
            connection_pool: self.pool.clone(),
            destination_rules: Vec::new(),
        };
        let state = Arc::<ClusterState>::default();
        let endpoint = |address: &SocketAddr| Endpoint {
            spec: EndpointSpec {
                address: *address,
                pipe: None,
                workload: None,
                locality: None,
                locality_weight: 1,
                priority: 0,
                weight: 1,
                health: Health::Healthy,
                mesh_mtls: true,
            },
            state: Arc::new(EndpointState::new(state.clone())),
        };
        let endpoints = self.addresses.iter().map(endpoint).collect();
        Arc::new(Cluster::new(Arc::new(spec), endpoints, state.clone()))
    }

    fn forward(&self) -> RouteAction {
        RouteAction::Forward(Forward {
            split: Split::new(vec![WeightedDestination {
                cluster: CLUSTER.into(),
                cluster_index: 0,
                weight: 1,
                authority: None,
                request_headers: HeaderOperations::default(),
                response_headers: HeaderOperations::default(),
            }]),
            timeout: self.timeout,
            retry: (self.retries > 0).then(|| RetryPolicy {
                attempts: self.retries,
                on: self.retry_on.to_vec(),
                per_try_timeout: self.per_try_timeout,
                avoids_previous: true,
                ..RetryPolicy::default()
            }),
            no_cluster_status: StatusCode::SERVICE_UNAVAILABLE,
            rewrite: Rewrite::default(),
            mirrors: Vec::new(),
        })
    }

    fn outbound(&self) -> Outbound {
        let snapshot = snapshot(vec![route(RouteMatch::everything(), self.forward())], Some(self.cluster()));
        outbound(Parts { snapshot, ..Parts::default() })
    }
}

fn outbound(parts: Parts) -> Outbound {
    Outbound::new(&Mesh::from_parts(parts).0)
}

fn route(condition: RouteMatch, action: RouteAction) -> Route {
    Route {
        provenance: Provenance::default(),
        condition,
        filters: RouteFilters::default(),
        action,
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    }
}

fn snapshot(routes: Vec<Route>, cluster: Option<Arc<Cluster>>) -> Snapshot {
    snapshot_of(routes, [cluster])
}

fn snapshot_of<const N: usize>(routes: Vec<Route>, clusters: [Option<Arc<Cluster>>; N]) -> Snapshot {
    let config = HostConfig {
        name: HOST.into(),
        host: "reviews.default.svc.cluster.local".into(),
        path_normalization: PathNormalization::default(),
        routes: Some(Arc::new(RouteTable::new(routes))),
        opaque: None,
        clusters: clusters.into(),
    };
    Snapshot { hosts: [(HOST.into(), HostState::Ready(Arc::new(config)))].into(), ..Snapshot::default() }
}

fn get(path: &str) -> Request<http_body_util::Empty<Bytes>> {
    Request::get(format!("http://{HOST}{path}")).body(http_body_util::Empty::new()).unwrap()
}

fn post<B>(body: B) -> Request<B> {
    Request::post(format!("http://{HOST}/")).body(body).unwrap()
}

/// Sends a request; the draws are always the same.
async fn send<B>(outbound: &Outbound, request: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    outbound.clone().call_with(None, request, fastrand::Rng::with_seed(7)).await
}

async fn text(response: Response<ResponseBody>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

fn error(response: &Response<ResponseBody>) -> ClientError {
    response.extensions().get::<ClientError>().expect("a response of the mesh's own").clone()
}

/// An address where nobody listens: it was somebody's a moment ago.
fn deserted() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
