//! A world of numbered services, a server for it on a free port, and clients.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::rpc;
use mesh_core::resource::{Health, ResourceType};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Status, Streaming};

use crate::document::{DocumentSet, Source};
use crate::model::{Binding, Caller, Config, Fleet, GrantedService, Listening, Workload, World};
use crate::xds::{AdsService, Authenticate, Hub, Limits, StreamCaller, StreamStatus};

pub(super) const CDS: ResourceType = ResourceType::Cluster;
pub(super) const EDS: ResourceType = ResourceType::Endpoints;
pub(super) const LDS: ResourceType = ResourceType::Listener;
pub(super) const RDS: ResourceType = ResourceType::RouteConfiguration;

/// `s7.default.svc.cluster.local`.
pub(super) fn host(number: usize) -> String {
    format!("s{number}.default.svc.cluster.local")
}

/// The default cluster of service `number`.
pub(super) fn cluster(number: usize) -> String {
    format!("outbound|80||{}", host(number))
}

/// What the services of a mesh are; the same configuration makes worlds that differ in instances only.
pub(super) struct Services {
    config: Arc<Config>,
    count: usize,
}

impl Services {
    pub(super) fn new(count: usize) -> Self {
        Self { config: Arc::default(), count }
    }

    /// The same services under these documents.
    pub(super) fn with_documents(&self, documents: &str) -> Self {
        let reading = DocumentSet::read(&[Source::file("documents.yaml", documents)]);
        assert!(reading.reports.iter().all(|report| report.findings.is_empty()));
        Self { config: Arc::new(Config::new(&reading.documents)), count: self.count }
    }

    /// Each service has an instance at 10.0.0.1; each time that `moved` names it puts it one address further.
    pub(super) fn world(&self, moved: &[usize]) -> Arc<World> {
        let moves = |number: usize| moved.iter().filter(|moved| **moved == number).count() as u8;
        let instance = |number: usize| instance(number, 1 + moves(number));
        let granted = (0..self.count).map(|number| GrantedService {
            host: host(number).into(),
            namespace: "default".into(),
            ports: vec![80],
        });
        let fleet = Fleet::new((0..self.count).map(instance).collect(), granted.collect());
        Arc::new(World::new(self.config.clone(), fleet))
    }
}

fn instance(number: usize, ip: u8) -> Workload {
    Workload {
        name: format!("s{number}-v1").into(),
        namespace: "default".into(),
        service_account: Some("default".into()),
        labels: Arc::default(),
        listening: Listening::Registered(vec![Binding {
            host: host(number).into(),
            service_port: 80,
            workload_port: 8080,
            address: ([10, 0, 0, ip], 8080).into(),
        }]),
        locality: None,
        weight: 1,
        health: Health::Healthy,
        in_mesh: true,
    }
}

/// A hub with a server before it.
pub(super) struct Rig {
    pub(super) hub: Arc<Hub>,
    address: SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Rig {
    pub(super) async fn start(world: Arc<World>) -> Self {
        Self::serve(Hub::new(world, Limits::default())).await
    }

    pub(super) async fn serve(hub: Arc<Hub>) -> Self {
        Self::serve_until(hub, None).await
    }

    /// Serves clients whose certificate ends then.
    pub(super) async fn serve_until(hub: Arc<Hub>, expires: Option<SystemTime>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let authenticate = Authenticate::new(move |_| Ok(StreamCaller { expires, ..caller() }));
        let router = Server::builder().add_service(AdsService::server(hub.clone(), authenticate));
        let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
        let server = tokio::spawn(async move { serving.await.unwrap() });
        Self { hub, address, server }
    }

    pub(super) async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        AggregatedDiscoveryServiceClient::new(endpoint.connect().await.unwrap())
    }

    pub(super) async fn delta(&self) -> DeltaPeer {
        let (requests, queue) = mpsc::channel(16);
        let responses = self.client().await.delta_aggregated_resources(ReceiverStream::new(queue)).await;
        DeltaPeer { requests, responses: responses.unwrap().into_inner() }
    }

    pub(super) async fn sotw(&self) -> SotwPeer {
        let (requests, queue) = mpsc::channel(16);
        let responses = self.client().await.stream_aggregated_resources(ReceiverStream::new(queue)).await;
        SotwPeer { requests, responses: responses.unwrap().into_inner() }
    }

    /// Waits until the statuses are as wished.
    pub(super) async fn until(&self, wished: impl Fn(&[StreamStatus]) -> bool) {
        let reached = async {
            while !wished(&self.hub.statuses()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let reached = tokio::time::timeout(PATIENCE, reached).await;
        assert!(reached.is_ok(), "{:#?}", self.hub.statuses());
    }

    /// Waits until every stream has acknowledged the current world.
    pub(super) async fn all_acknowledged(&self) {
        let revision = self.hub.revision();
        self.until(|statuses| statuses.iter().all(|status| status.revision == revision)).await;
    }
}

fn caller() -> StreamCaller {
    StreamCaller {
        identity: "spiffe://cluster.local/ns/default/sa/web".into(),
        caller: Caller { namespace: "default".into(), ..Caller::default() },
        address: None,
        expires: None,
    }
}

/// A delta client.
pub(super) struct DeltaPeer {
    requests: mpsc::Sender<discovery::DeltaDiscoveryRequest>,
    responses: Streaming<discovery::DeltaDiscoveryResponse>,
}

impl DeltaPeer {
    pub(super) async fn subscribe(&self, kind: ResourceType, names: impl IntoIterator<Item = String>) {
        self.request(discovery::DeltaDiscoveryRequest {
            type_url: kind.url().into(),
            resource_names_subscribe: names.into_iter().collect(),
            ..Default::default()
        })
        .await;
    }

    pub(super) async fn request(&self, request: discovery::DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    /// The next response, acknowledged.
    pub(super) async fn next(&mut self) -> discovery::DeltaDiscoveryResponse {
        let response = self.unanswered().await;
        self.answer(&response, None).await;
        response
    }

    pub(super) async fn unanswered(&mut self) -> discovery::DeltaDiscoveryResponse {
        patiently(self.responses.message()).await.unwrap().unwrap()
    }

    pub(super) async fn answer(&self, response: &discovery::DeltaDiscoveryResponse, error: Option<&str>) {
        self.request(discovery::DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|message| rpc::Status { message: message.into(), ..Default::default() }),
            ..Default::default()
        })
        .await;
    }

    /// Takes responses until so many resources have come.
    pub(super) async fn collect(&mut self, count: usize) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        while names.len() < count {
            names.extend(self.next().await.resources.into_iter().map(|resource| resource.name));
        }
        names
    }

    pub(super) async fn end(&mut self) -> Status {
        patiently(self.responses.message()).await.unwrap_err()
    }
}

/// A state-of-the-world client.
pub(super) struct SotwPeer {
    requests: mpsc::Sender<discovery::DiscoveryRequest>,
    responses: Streaming<discovery::DiscoveryResponse>,
}

impl SotwPeer {
    /// As gRPC does: the node with the first request only, which is the one without a nonce here.
    pub(super) async fn request(
        &self,
        kind: ResourceType,
        names: &[String],
        nonce: &str,
        error: Option<&str>,
    ) {
        let node = Node { user_agent_name: "gRPC C++".into(), ..Default::default() };
        let request = discovery::DiscoveryRequest {
            node: nonce.is_empty().then_some(node),
            type_url: kind.url().into(),
            resource_names: names.to_vec(),
            response_nonce: nonce.into(),
            error_detail: error.map(|message| rpc::Status { message: message.into(), ..Default::default() }),
            ..Default::default()
        };
        self.requests.send(request).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> discovery::DiscoveryResponse {
        patiently(self.responses.message()).await.unwrap().unwrap()
    }
}

async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the server has something to say")
}

const PATIENCE: Duration = Duration::from_secs(20);
