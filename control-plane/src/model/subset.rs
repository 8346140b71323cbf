//! One subset of a service's port as one caller sees it: what a cluster and its endpoints are made of.

use std::sync::Arc;

use mesh_core::resource::{BalancerPolicy, MtlsMode, Provenance};

use super::Labels;
use super::caller::View;
use super::destination_rule::Merged;
use super::service::{Origin, Service, ServicePort};
use super::world::{Endpoint, World};
use crate::document::{OutlierSettings, Subset, TlsMode, TlsSettings};
use crate::translate::name::ClusterName;

/// One subset, or the whole, of a service's port, with the rules that apply to it.
#[derive(Debug, Clone)]
pub struct SubsetView<'w> {
    /// The service.
    pub service: &'w Service,
    /// The port.
    pub port: &'w ServicePort,
    /// The service's host as callers say it, which its own may be a wildcard of.
    pub host: Arc<str>,
    subset: Option<&'w Subset>,
    rules: Merged<'w>,
}

/// How a cluster's endpoints are spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport<'w> {
    /// In plaintext.
    Plaintext,
    /// With the mesh's mTLS, because a document says so: also to endpoints that will refuse it.
    MeshMtls,
    /// With the mesh's mTLS where the endpoint takes it, else in plaintext.
    AutoMtls,
    /// With TLS that is not the mesh's, because a document says so.
    Outside(&'w TlsSettings),
}

impl World {
    /// What a cluster's name means to a caller; none if there is no such service, port or subset.
    pub fn subset(&self, view: &View<'_>, name: &ClusterName<'_>) -> Option<SubsetView<'_>> {
        let service = self.service(view, name.host)?;
        let port = service.port(name.port)?;
        let rules = self.config().destination_rules(view, service);
        let subset = match name.subset {
            "" => None,
            name => Some(rules.subset(name)?),
        };
        Some(SubsetView { service, port, host: name.host.into(), subset, rules })
    }
}

impl<'w> SubsetView<'w> {
    /// The endpoints that carry the subset's labels. A presumed one is presumed to carry them.
    pub fn endpoints(&self, world: &'w World) -> Vec<Endpoint<'w>> {
        let mut endpoints = world.endpoints(self.service, self.port, &self.host);
        if let Some(subset) = self.subset {
            endpoints.retain(|endpoint| match endpoint.workload {
                Some(workload) => workload.matches(&subset.labels),
                None => endpoint.name.is_none() || subset.labels.is_empty(),
            });
        }
        endpoints
    }

    /// How the endpoints are spoken to: as the rule says, else mTLS for those that take it.
    pub fn transport(&self, world: &World) -> Transport<'w> {
        match self.tls().map(|tls| (tls.mode, tls)) {
            Some((TlsMode::Disable, _)) => Transport::Plaintext,
            Some((TlsMode::IstioMutual, _)) => Transport::MeshMtls,
            Some((TlsMode::Simple | TlsMode::Mutual, tls)) => Transport::Outside(tls),
            None if !world.settings().auto_mtls => Transport::Plaintext,
            None => {
                let endpoints = world.endpoints(self.service, self.port, &self.host);
                let none_takes_it =
                    !endpoints.is_empty() && !endpoints.iter().any(|one| self.takes_mtls(world, one));
                if none_takes_it { Transport::Plaintext } else { Transport::AutoMtls }
            }
        }
    }

    /// Whether an endpoint is one of the mesh's; a presumed one is, unless its service is outside. Of what a host's name leads to
    /// nobody knows that.
    pub fn is_in_mesh(&self, endpoint: &Endpoint<'_>) -> bool {
        let in_mesh = endpoint.workload.map_or(endpoint.name.is_none(), |workload| workload.in_mesh);
        in_mesh && self.service.origin != Origin::External
    }

    /// Whether an endpoint is in the mesh and terminates its mTLS.
    pub fn takes_mtls(&self, world: &World, endpoint: &Endpoint<'_>) -> bool {
        let nothing = Labels::new();
        let (namespace, labels) = match endpoint.workload {
            Some(workload) => (&workload.namespace, &*workload.labels),
            None => (&self.service.namespace, self.service.selector.as_ref().unwrap_or(&nothing)),
        };
        self.is_in_mesh(endpoint)
            && world.config().mtls_mode(namespace, labels, endpoint.workload_port).mode != MtlsMode::Disable
    }

    /// What documents say of TLS.
    pub fn tls(&self) -> Option<&'w TlsSettings> {
        self.rules.tls(self.subset, self.port.number)
    }

    /// How endpoints that fail are left alone, if they are.
    pub fn outlier_detection(&self) -> Option<&'w OutlierSettings> {
        self.rules.outlier_detection(self.subset, self.port.number)
    }

    /// How an endpoint is chosen.
    pub fn balancer(&self) -> BalancerPolicy {
        self.rules.balancer(self.subset, self.port.number)
    }

    /// The DestinationRules that take part.
    pub fn documents(&self) -> impl Iterator<Item = Provenance> {
        self.rules.documents()
    }
}
