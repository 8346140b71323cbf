//! What a request through the mesh allocates beyond the same request on a bare `h2` connection; ARCHITECTURE.md lists each.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use mesh_client::{MeshChannel, MeshClient};
use mesh_core::Mesh;
use mesh_core::balance::Endpoint;
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
use tower::Service;

/// The boxed future, the boxed body, and the copy of the headers that is kept for a retry (two, of entries and of indices).
const ADDED_MAX: f64 = 4.0;
/// What happens now and then, such as a table that grows.
const RARE: f64 = 0.2;
const REQUESTS: u64 = 200;

/// An echo server on a thread of its own, so that its allocations are not counted.
fn serve() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((io, _)) = listener.accept().await {
                tokio::spawn(async {
                    let mut connection = h2::server::handshake(io).await.unwrap();
                    while let Some(Ok((_, mut respond))) = connection.accept().await {
                        let mut stream = respond.send_response(http::Response::new(()), false).unwrap();
                        stream.send_data(Bytes::from_static(b"answer"), true).unwrap();
                    }
                });
            }
        });
    });
    address
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn mesh(address: SocketAddr) -> Mesh {
    let spec = ClusterSpec {
        name: "outbound|9080||reviews.default.svc.cluster.local".into(),
        host: "reviews.default.svc.cluster.local".into(),
        port: 9080,
        subset: None,
        endpoints: EndpointSource::ControlPlane("outbound|9080||reviews.default.svc.cluster.local".into()),
        tls: UpstreamTls::Plaintext,
        plaintext_endpoints: false,
        protocol: UpstreamProtocol::Http2,
        balancer: BalancerPolicy::LeastRequest,
        outlier_detection: None,
        panic_threshold_percent: None,
        localities_weighted: false,
        health_check: None,
        connection_pool: ConnectionPool::default(),
        destination_rules: Vec::new(),
    };
    let endpoint = EndpointSpec {
        address,
        pipe: None,
        workload: None,
        locality: None,
        locality_weight: 1,
        priority: 0,
        weight: 1,
        health: Health::Healthy,
        mesh_mtls: false,
    };
    let endpoints = vec![Endpoint { spec: endpoint, state: Arc::default() }];
    let cluster = Arc::new(Cluster::new(Arc::new(spec), endpoints, Arc::default()));
    let destination = |weight| WeightedDestination {
        cluster: cluster.spec.name.clone(),
        cluster_index: 0,
        weight,
        authority: None,
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    };
    let on = ["connect-failure", "refused-stream", "reset-before-request"];
    let on = on.iter().filter_map(|name| RetryCondition::named(name)).collect();
    let route = Route {
        provenance: Provenance::default(),
        condition: RouteMatch::everything(),
        filters: RouteFilters::default(),
        action: RouteAction::Forward(Forward {
            split: Split::new(vec![destination(90), destination(10)]),
            timeout: None,
            retry: Some(RetryPolicy { attempts: 2, on, ..RetryPolicy::default() }),
            no_cluster_status: StatusCode::SERVICE_UNAVAILABLE,
            rewrite: Rewrite::default(),
            mirrors: Vec::new(),
        }),
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    };
    let config = HostConfig {
        name: "reviews:9080".into(),
        host: "reviews.default.svc.cluster.local".into(),
        path_normalization: PathNormalization::default(),
        routes: Some(Arc::new(RouteTable::new(vec![route]))),
        opaque: None,
        clusters: [Some(cluster)].into(),
    };
    let hosts = [("reviews:9080".into(), HostState::Ready(Arc::new(config)))].into();
    Mesh::from_parts(Parts { snapshot: Snapshot { hosts, ..Snapshot::default() }, ..Parts::default() }).0
}

fn request<B>(uri: &str, body: B) -> Request<B> {
    let grpc = HeaderValue::from_static("application/grpc");
    let trailers = HeaderValue::from_static("trailers");
    Request::post(uri).header("content-type", grpc).header("te", trailers).body(body).unwrap()
}

/// Allocations of one call, on average over many, after the same many for warming up.
async fn per_call(mut call: impl AsyncFnMut()) -> f64 {
    let mut counted = async || {
        for _ in 0..REQUESTS {
            call().await;
        }
    };
    counted().await;
    // The counter is this thread's, where client and driver alone run.
    let (allocations, _) = allocations_of(counted()).await;
    allocations as f64 / REQUESTS as f64
}

async fn allocations_of<T>(future: impl Future<Output = T>) -> (u64, T) {
    let mut future = std::pin::pin!(future);
    let mut total = 0;
    let output = std::future::poll_fn(|cx| {
        let mut polled = std::task::Poll::Pending;
        total += allocation_counter::measure(|| polled = future.as_mut().poll(cx)).count_total;
        polled
    })
    .await;
    (total, output)
}

#[test]
fn a_call_allocates_what_architecture_lists_and_no_more() {
    let address = serve();
    runtime().block_on(async {
        let io = tokio::net::TcpStream::connect(address).await.unwrap();
        let (sender, driver) = h2::client::handshake(io).await.unwrap();
        tokio::spawn(driver);
        let bare = per_call(async || {
            let head = request("http://reviews:9080/Reviews/Get", ());
            let (response, mut stream) = sender.clone().send_request(head, false).unwrap();
            stream.send_data(Bytes::from_static(b"question"), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            while let Some(data) = body.data().await {
                body.flow_control().release_capacity(data.unwrap().len()).unwrap();
            }
        })
        .await;
        let mesh = mesh(address);
        let mut channel = MeshChannel::new(&mesh, "reviews:9080");
        let by_channel = per_call(async || {
            let body = Full::new(Bytes::from_static(b"question"));
            let response = channel.call(request("/Reviews/Get", body)).await.unwrap();
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                frame.unwrap();
            }
        })
        .await;
        let mut client = MeshClient::new(&mesh);
        let by_client = per_call(async || {
            let body = Full::new(Bytes::from_static(b"question"));
            let response = client.call(request("http://reviews:9080/Reviews/Get", body)).await.unwrap();
            let mut body = response.into_body();
            while let Some(frame) = body.frame().await {
                frame.unwrap();
            }
        })
        .await;
        println!("allocations per call: h2 {bare:.2}, channel {by_channel:.2}, client {by_client:.2}");
        assert!(by_channel - bare <= ADDED_MAX + RARE);
        assert!(by_client - bare <= ADDED_MAX + RARE);
    });
}
