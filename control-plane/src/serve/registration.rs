//! The registry as gRPC: the caller's grant from its connection, its addresses from the request.

use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::proto::registry::registry_server::{Registry, RegistryServer};
use mesh_core::proto::registry::{DeregisterRequest, DeregisterResponse, RegisterRequest, RegisterResponse};
use tonic::{Request, Response, Status};

use super::counters::{Counters, Event};
use crate::grant::Grant;
use crate::peer::Peer;
use crate::registry::{Refusal, RegisterError, Registrar, admit, instance_key};

/// Sixty-four ports with long names.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The service.
#[derive(Clone)]
pub(super) struct Registration {
    registrar: Arc<Registrar>,
    counters: Arc<Counters>,
}

impl Registration {
    pub(super) fn new(registrar: Arc<Registrar>, counters: Arc<Counters>) -> RegistryServer<Self> {
        RegistryServer::new(Self { registrar, counters }).max_decoding_message_size(REQUEST_BYTES_MAX)
    }

    fn grant<'p>(&self, peer: &'p Peer) -> Result<&'p Grant, Status> {
        peer.workload(SystemTime::now()).map(|(_, grant)| grant).map_err(|unauthorized| {
            self.counters.add(Event::CallerRefused);
            unauthorized.refuse("registry", peer)
        })
    }
}

#[tonic::async_trait]
impl Registry for Registration {
    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let peer = Peer::of(request.extensions())?;
        let grant = self.grant(&peer)?;
        let (key, instance) =
            admit(grant, request.get_ref(), peer.remote.ip()).map_err(|refusal| refused(&peer, &refusal))?;
        let lease = self.registrar.register(key, instance).await.map_err(|error| failed(&error))?;
        let lease_seconds = u32::try_from(lease.as_secs()).unwrap_or(u32::MAX);
        Ok(Response::new(RegisterResponse { lease_seconds }))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        let peer = Peer::of(request.extensions())?;
        let grant = self.grant(&peer)?;
        let key = instance_key(grant, &request.get_ref().instance_id)
            .map_err(|refusal| refused(&peer, &refusal))?;
        self.registrar.deregister(key).await.map_err(|error| failed(&error))?;
        Ok(Response::new(DeregisterResponse {}))
    }
}

/// The caller is a member, and the reason names nothing but its own grant: it is told.
fn refused(peer: &Peer, refusal: &Refusal) -> Status {
    tracing::warn!(remote = %peer.remote, reason = %refusal, "refused a registration");
    match refusal {
        Refusal::NotGranted { .. } => Status::permission_denied(refusal.to_string()),
        _ => Status::invalid_argument(refusal.to_string()),
    }
}

fn failed(error: &RegisterError) -> Status {
    match error {
        RegisterError::TooMany(full) => Status::resource_exhausted(full.to_string()),
        RegisterError::Store(_) | RegisterError::Closed => Status::unavailable("not stored, try again"),
    }
}
