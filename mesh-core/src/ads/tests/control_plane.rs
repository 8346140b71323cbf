//! A control plane that serves what it is told, and can be slow, silent about a name, away, or back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use futures_core::Stream;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};

use super::wire::Resource;
use crate::proto::registry::registry_server::{Registry, RegistryServer};
use crate::proto::registry::{
    DeregisterRequest, DeregisterResponse, RegisterRequest, RegisterResponse, ServingPort,
};
use crate::resource::ResourceType;
use crate::subscription::{Encoding, Found, ServerStream, wire};

/// What the control plane says and hears; outlives its being away.
#[derive(Debug, Clone, Default)]
pub(crate) struct Script(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    resources: Mutex<BTreeMap<(ResourceType, String), Found<Bytes>>>,
    silent: Mutex<BTreeSet<(ResourceType, String)>>,
    delay: Mutex<Duration>,
    changed: watch::Sender<u64>,
    heard: Mutex<Heard>,
}

/// What it heard.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) requests: Vec<discovery::DeltaDiscoveryRequest>,
    pub(crate) registered: Vec<RegisterRequest>,
    pub(crate) deregistered: usize,
}

/// The control plane while it runs; away when dropped, with all its connections, which is why it has its own runtime.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

impl Script {
    pub(crate) fn set(&self, resources: impl IntoIterator<Item = Resource>) {
        for (kind, name, version, body) in resources {
            let found = Found { version: version.into(), body: body.into() };
            self.0.resources.lock().unwrap().insert((kind, name), found);
        }
        self.0.changed.send_modify(|revision| *revision += 1);
    }

    pub(crate) fn remove(&self, kind: ResourceType, name: &str) {
        self.0.resources.lock().unwrap().remove(&(kind, name.into()));
        self.0.changed.send_modify(|revision| *revision += 1);
    }

    /// Never answers for this name.
    pub(crate) fn silence(&self, kind: ResourceType, name: &str) {
        self.0.silent.lock().unwrap().insert((kind, name.into()));
    }

    /// Lets each answer wait for so long.
    pub(crate) fn delay(&self, delay: Duration) {
        *self.0.delay.lock().unwrap() = delay;
    }

    pub(crate) fn heard(&self) -> Heard {
        self.0.heard.lock().unwrap().clone()
    }

    /// Waits until what was heard is as wished.
    pub(crate) async fn hears(&self, wished: impl Fn(&Heard) -> bool) {
        super::process::patiently("the control plane hears it", || wished(&self.heard())).await;
    }

    /// Starts on a free port, or on that of an earlier run.
    pub(crate) fn start(&self, port: u16) -> ControlPlane {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let entered = runtime.enter();
        let listener = bind(port);
        let address = listener.local_addr().unwrap();
        let router = Server::builder()
            .add_service(AggregatedDiscoveryServiceServer::new(self.clone()))
            .add_service(RegistryServer::new(self.clone()));
        let serving = router.serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(serving);
        drop(entered);
        ControlPlane { address, runtime: Some(runtime) }
    }

    fn look_up(&self, kind: ResourceType, name: &Arc<str>) -> Option<Found<Bytes>> {
        self.0.resources.lock().unwrap().get(&(kind, name.to_string())).cloned()
    }

    fn is_silent(&self, kind: ResourceType, name: &str) -> bool {
        self.0.silent.lock().unwrap().contains(&(kind, name.into()))
    }

    /// Serves one stream; what is due at one time is answered in reverse. The slower it is, the more that is.
    async fn serve(
        self,
        mut requests: Streaming<discovery::DeltaDiscoveryRequest>,
        answers: mpsc::Sender<Result<discovery::DeltaDiscoveryResponse, Status>>,
    ) {
        let mut stream = ServerStream::new(Encoding::Delta, 1000);
        let mut changed = self.0.changed.subscribe();
        while self.hear(&mut stream, &mut requests, &mut changed).await {
            let delay = *self.0.delay.lock().unwrap();
            if !delay.is_zero() {
                let more = async { while self.hear(&mut stream, &mut requests, &mut changed).await {} };
                let _ = tokio::time::timeout(delay, more).await;
            }
            let mut batch = Vec::new();
            while let Some(due) = stream.due() {
                let found = due.names.into_iter().map(|name| (name.clone(), self.look_up(due.kind, &name)));
                batch.extend(stream.answer(due.kind, found.collect()));
            }
            for answer in batch.into_iter().rev() {
                tokio::time::sleep(delay).await;
                if answers.send(Ok(wire::encode_delta_answer(answer))).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Waits for one request or change; false once there will be none.
    async fn hear(
        &self,
        stream: &mut ServerStream,
        requests: &mut Streaming<discovery::DeltaDiscoveryRequest>,
        changed: &mut watch::Receiver<u64>,
    ) -> bool {
        tokio::select! {
            request = requests.message() => {
                let Ok(Some(request)) = request else { return false };
                self.0.heard.lock().unwrap().requests.push(request.clone());
                let mut request = wire::decode_delta_request(request).unwrap();
                request.subscribe.retain(|name| !self.is_silent(request.kind, name));
                stream.delta_request(request).unwrap();
            }
            _ = changed.changed() => stream.everything_changed(),
        }
        true
    }
}

impl ControlPlane {
    pub(crate) fn channel(&self) -> Channel {
        self.connect()()
    }

    /// Makes connections, also after it has gone and come back.
    pub(crate) fn connect(&self) -> impl Fn() -> Channel + Clone + Send + Sync + 'static {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        move || endpoint.connect_lazy()
    }
}

/// Binds the port, as soon as an earlier run has let go of it.
fn bind(port: u16) -> TcpListener {
    let bound = std::iter::from_fn(|| Some(try_bind(port)))
        .take(5000)
        .find_map(|bound| bound.inspect_err(|_| std::thread::sleep(Duration::from_millis(1))).ok());
    bound.expect("the earlier run ends within seconds")
}

fn try_bind(port: u16) -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    socket.listen(16)
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Script {
    type StreamAggregatedResourcesStream = Answers<discovery::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<discovery::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("our clients speak delta"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (sender, answers) = mpsc::channel(1);
        tokio::spawn(self.clone().serve(request.into_inner(), sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

#[tonic::async_trait]
impl Registry for Script {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let request = request.into_inner();
        let foreign = |port: &ServingPort| port.service == "foreign";
        if request.ports.iter().any(foreign) {
            return Err(Status::permission_denied("its grant does not name `foreign`"));
        }
        let long = request.ports.iter().any(|port| port.service == "with-a-long-lease");
        self.0.heard.lock().unwrap().registered.push(request);
        Ok(Response::new(RegisterResponse { lease_seconds: if long { 3600 } else { 1 } }))
    }

    async fn deregister(
        &self,
        _: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        self.0.heard.lock().unwrap().deregistered += 1;
        Ok(Response::new(DeregisterResponse {}))
    }
}
