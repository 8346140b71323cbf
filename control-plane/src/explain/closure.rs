//! Through the wire: asks for resources as a client would, decodes their bytes as a client does, and joins them.

use std::sync::Arc;

use mesh_core::balance::{ClusterState, Endpoint, EndpointState};
use mesh_core::resource::{
    self, ClusterSpec, EndpointsSpec, InboundListener, InvalidResource, OutboundListener, Resource,
    ResourceType,
};
use mesh_core::route::RouteTable;
use mesh_core::snapshot::Cluster;

use crate::model::{Caller, World};
use crate::translate::Translated;

/// A translation step; another one than the real one shows in a test that answers come through it.
pub type Translate = dyn Fn(&World, &Caller, ResourceType, &str) -> Translated + Send + Sync;

/// What a dialled host leads to.
pub(super) struct Closure {
    pub(super) listener: Arc<OutboundListener>,
    pub(super) host: Arc<str>,
    pub(super) routes: Arc<RouteTable>,
    pub(super) clusters: Vec<Option<Arc<Cluster>>>,
}

/// A caller at the other end of the wire.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) translate: &'a Translate,
    pub(super) world: &'a World,
    pub(super) caller: &'a Caller,
}

impl Client<'_> {
    /// The closure of a dialled `HOST:PORT`; none if the control plane knows no such host.
    pub(super) fn closure(&self, dialled: &str) -> Result<Option<Closure>, InvalidResource> {
        let Some(Resource::Outbound(listener)) = self.fetch(ResourceType::Listener, dialled)? else {
            return Ok(None);
        };
        let routes = self.fetch(ResourceType::RouteConfiguration, &listener.route_configuration)?;
        let Some(Resource::RouteConfiguration(routes)) = routes else { return Ok(None) };
        let clusters = routes.clusters.iter().map(|name| self.cluster(name)).collect::<Result<_, _>>()?;
        let (host, routes) = (routes.host.clone(), routes.routes.clone());
        Ok(Some(Closure { listener, host, routes, clusters }))
    }

    /// The inbound listener of the caller's own address.
    pub(super) fn inbound(&self, name: &str) -> Result<Option<Arc<InboundListener>>, InvalidResource> {
        let found = self.fetch(ResourceType::Listener, name)?;
        Ok(found.and_then(|resource| match resource {
            Resource::Inbound(listener) => Some(listener),
            _ => None,
        }))
    }

    fn cluster(&self, name: &str) -> Result<Option<Arc<Cluster>>, InvalidResource> {
        let Some(Resource::Cluster(spec)) = self.fetch(ResourceType::Cluster, name)? else { return Ok(None) };
        let endpoints = match self.fetch(ResourceType::Endpoints, &spec.endpoints_name)? {
            Some(Resource::Endpoints(endpoints)) => endpoints,
            _ => Arc::default(),
        };
        Ok(Some(joined(spec, &endpoints)))
    }

    fn fetch(&self, resource_type: ResourceType, name: &str) -> Result<Option<Resource>, InvalidResource> {
        let translated = (self.translate)(self.world, self.caller, resource_type, name);
        translated.message.map(|message| resource::parse(resource_type, &message.value)).transpose()
    }
}

/// A cluster at rest: nothing is under way, nothing has been picked.
fn joined(spec: Arc<ClusterSpec>, endpoints: &EndpointsSpec) -> Arc<Cluster> {
    let at_rest = |spec: &resource::EndpointSpec| Endpoint {
        spec: spec.clone(),
        state: Arc::new(EndpointState::default()),
    };
    let endpoints = endpoints.endpoints.iter().map(at_rest).collect();
    Arc::new(Cluster::new(spec, endpoints, Arc::new(ClusterState::default())))
}
