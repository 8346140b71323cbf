//! Through the wire: asks for resources as a client would, decodes their bytes as a client does, and lets the client's own
//! builder join them.

use std::sync::Arc;

use mesh_core::resource::{self, InboundListener, InvalidResource, ResourceType};
use mesh_core::snapshot::{Closures, HostState, Snapshot, Update};

use crate::model::{Caller, World, address_of_name};
use crate::translate::Translated;

/// A translation step; another one than the real one shows in a test that answers come through it.
pub type Translate = dyn Fn(&World, &Caller, ResourceType, &str) -> Translated + Send + Sync;

/// A caller at the other end of the wire.
#[derive(Clone, Copy)]
pub(super) struct Client<'a> {
    pub(super) translate: &'a Translate,
    pub(super) world: &'a World,
    pub(super) caller: &'a Caller,
}

impl Client<'_> {
    /// What the control plane says of a dialled `HOST:PORT`.
    pub(super) fn host(&self, dialled: &str) -> Result<HostState, InvalidResource> {
        let snapshot = self.snapshot(Some(dialled.into()), None)?;
        Ok(snapshot.hosts.into_values().next().unwrap_or(HostState::Absent))
    }

    /// The inbound listener of the caller's own address.
    pub(super) fn inbound(&self, name: &str) -> Result<Option<Arc<InboundListener>>, InvalidResource> {
        let snapshot = self.snapshot(None, Some(name.into()))?;
        Ok(snapshot.inbound.into_values().next())
    }

    /// What a client that wants these would hold. Each type is asked for once, in the order in which one names the next.
    fn snapshot(
        &self,
        host: Option<Arc<str>>,
        inbound: Option<Arc<str>>,
    ) -> Result<Snapshot, InvalidResource> {
        let mut closures = Closures::default();
        let mut snapshot = closures.want(host, inbound).unwrap_or_default();
        let order = [
            ResourceType::Listener,
            ResourceType::RouteConfiguration,
            ResourceType::Cluster,
            ResourceType::Endpoints,
        ];
        for resource_type in order {
            let names = closures.subscriptions(resource_type).into_iter();
            let updates: Vec<Update> =
                names.map(|name| self.fetch(resource_type, name)).collect::<Result<_, _>>()?;
            snapshot = closures.apply(updates).unwrap_or(snapshot);
        }
        // Nobody looks names up to answer a question.
        let names = closures.names().into_keys();
        let presumed = names.map(|name| {
            let answer = Ok([address_of_name(&name, 0).ip()].into());
            Update::Resolved(name, answer)
        });
        let presumed: Vec<Update> = presumed.collect();
        Ok(closures.apply(presumed).unwrap_or(snapshot))
    }

    fn fetch(&self, resource_type: ResourceType, name: Arc<str>) -> Result<Update, InvalidResource> {
        match (self.translate)(self.world, self.caller, resource_type, &name).message {
            Some(message) => resource::parse(resource_type, &message.value).map(Update::Here),
            None => Ok(Update::Absent(resource_type, name)),
        }
    }
}
