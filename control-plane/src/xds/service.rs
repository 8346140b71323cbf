//! ADS as gRPC: who calls, in which encoding; the rest is the session's.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use discovery::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use futures_util::{Stream, StreamExt};
use mesh_core::subscription::{Answer, Encoding, ServerStream, wire};
use tonic::{Request, Response, Status, Streaming};

use super::hub::Hub;
use super::session::{Either, Incoming, Session};
use super::status::StreamStatus;
use crate::model::{Caller, ClientKind};

/// Who is at the other end of a stream, by its certificate and the grant behind it.
#[derive(Debug, Clone)]
pub struct StreamCaller {
    /// Its SPIFFE ID.
    pub identity: Arc<str>,
    /// What its grant says.
    pub caller: Caller,
    /// Its TCP address, where known.
    pub address: Option<Arc<str>>,
    /// When its certificate ends, and with it the stream.
    pub expires: Option<SystemTime>,
}

/// Tells from a connection's facts who calls; a refusal is what the client gets.
#[derive(Clone)]
pub struct Authenticate(Arc<AuthenticateFn>);

type AuthenticateFn = dyn Fn(&tonic::Extensions) -> Result<StreamCaller, Status> + Send + Sync;

impl Authenticate {
    /// Authentication by a function.
    pub fn new(
        by: impl Fn(&tonic::Extensions) -> Result<StreamCaller, Status> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(by))
    }
}

impl fmt::Debug for Authenticate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticate")
    }
}

/// The gRPC service.
#[derive(Debug, Clone)]
pub struct AdsService {
    hub: Arc<Hub>,
    authenticate: Authenticate,
}

impl AdsService {
    /// A service that answers from `hub`, to be added to a tonic server.
    pub fn server(hub: Arc<Hub>, authenticate: Authenticate) -> AggregatedDiscoveryServiceServer<Self> {
        AggregatedDiscoveryServiceServer::new(Self { hub, authenticate })
    }

    /// Takes a stream in and makes its answers.
    fn open<M, R>(
        &self,
        request: Request<Streaming<M>>,
        encoding: Encoding,
        read: fn(M) -> Incoming,
        write: fn(Answer<Bytes>) -> R,
    ) -> Result<Response<Answers<R>>, Status>
    where
        M: Send + 'static,
        R: Send + 'static,
    {
        let caller = (self.authenticate.0)(request.extensions())?;
        let place = self.hub.open(&caller.caller, first_status(&caller, encoding));
        let place = place.map_err(|full| Status::resource_exhausted(full.to_string()))?;
        let stream = ServerStream::new(encoding, self.hub.limits().stream_names_max);
        let requests = request.into_inner().map(move |message| message.map(read));
        let answers = Session::new(place, caller, stream).answers(requests);
        Ok(Response::new(Box::pin(answers.map(move |answer| answer.map(write)))))
    }
}

/// Answers on their way out.
type Answers<R> = Pin<Box<dyn Stream<Item = Result<R, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for AdsService {
    type StreamAggregatedResourcesStream = Answers<discovery::DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<discovery::DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        self.open(request, Encoding::StateOfTheWorld, read_sotw, wire::encode_sotw_answer)
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<discovery::DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        self.open(request, Encoding::Delta, read_delta, wire::encode_delta_answer)
    }
}

fn read_sotw(mut message: discovery::DiscoveryRequest) -> Incoming {
    Incoming { node: message.node.take(), request: wire::decode_sotw_request(message).map(Either::Sotw) }
}

fn read_delta(mut message: discovery::DeltaDiscoveryRequest) -> Incoming {
    Incoming { node: message.node.take(), request: wire::decode_delta_request(message).map(Either::Delta) }
}

fn first_status(caller: &StreamCaller, encoding: Encoding) -> StreamStatus {
    StreamStatus {
        identity: caller.identity.clone(),
        workload: caller.caller.workload.clone(),
        address: caller.address.clone(),
        client: ClientKind::Other("".into()),
        version: "".into(),
        encoding,
        since: SystemTime::now(),
        revision: 0,
        types: Default::default(),
    }
}
