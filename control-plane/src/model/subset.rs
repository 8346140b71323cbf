//! One subset of a service's port as one caller sees it: what a cluster and its endpoints are made of.

use std::sync::Arc;

use mesh_core::locality::{Candidate, Place, Preference, Standing};
use mesh_core::resource::{BalancerPolicy, CircuitBreaker, ConnectionPool, MtlsMode, Provenance};

use super::world::NO_LABELS;
use super::{Endpoint, Labels, Merged, Origin, Service, ServicePort, View, World};
use crate::document::{LoadBalancer, OutlierSettings, Subset, TlsMode, TlsSettings};
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
        self.load_balancer().and_then(|block| block.balancer.clone()).unwrap_or_default()
    }

    fn load_balancer(&self) -> Option<&'w LoadBalancer> {
        self.rules.load_balancer(self.subset, self.port.number)
    }

    /// Which endpoints go before others: the rule's word, else the service's, else the mesh's; and whether requests fail over
    /// to those behind. They do where something finds out that an endpoint fails, and where this is what was asked for.
    pub fn preference(&self, world: &'w World) -> Option<(&'w Preference, bool)> {
        let of_rule = self.load_balancer().and_then(|block| block.preference.as_ref());
        let of_service = self.service.preference.as_ref().filter(|_| of_rule.is_none());
        let preference = of_rule.or(of_service).unwrap_or(&world.settings().preference);
        match preference {
            Preference::Locality(setting) if setting.enabled => {
                Some((preference, of_service.is_some() || self.outlier_detection().is_some()))
            }
            Preference::ZoneAware(setting) if setting.enabled => Some((preference, true)),
            Preference::Locality(_) | Preference::ZoneAware(_) => None,
        }
    }

    /// Where each of these endpoints stands for a caller, of whom no more is asked than matters; `None` stands nowhere.
    pub fn standings(
        &self,
        world: &World,
        view: &View<'_>,
        endpoints: &[Endpoint<'_>],
    ) -> Vec<Option<Standing>> {
        let candidates: Vec<Candidate<'_>> = endpoints.iter().map(Endpoint::candidate).collect();
        let flat = || vec![Some(Standing::default()); endpoints.len()];
        let Some((preference, fails_over)) = self.preference(world) else { return flat() };
        let located = candidates.iter().any(|one| one.place.locality.is_some());
        let by_locality = located && preference.asks_locality(fails_over);
        let by_labels = preference.asks_labels(fails_over);
        if !by_locality && !by_labels {
            return flat();
        }
        let caller = Place {
            locality: by_locality.then(|| view.locality()).flatten(),
            labels: if by_labels { view.labels() } else { &NO_LABELS },
        };
        preference.standings(fails_over, caller, &candidates)
    }

    /// Whether localities have shares of their own.
    pub fn localities_weighted(&self, world: &World) -> bool {
        match self.preference(world) {
            Some((Preference::Locality(setting), _)) => !setting.distribute.is_empty(),
            Some((Preference::ZoneAware(_), _)) => true,
            None => false,
        }
    }

    /// Which HTTP a document wants, where it does not leave that to the port: version 2 or not.
    pub fn http2(&self) -> Option<bool> {
        self.rules.connection_pool(self.subset, self.port.number)?.http2
    }

    /// How many connections and requests there may be, and how connections live.
    pub fn connection_pool(&self, world: &World) -> ConnectionPool {
        let said = self.rules.connection_pool(self.subset, self.port.number).cloned().unwrap_or_default();
        let retry_budget = self.rules.retry_budget(self.subset);
        ConnectionPool {
            connect_timeout: said.connect_timeout.unwrap_or(world.settings().connect_timeout),
            breaker: CircuitBreaker { retry_budget, ..said.breaker },
            terms: said.terms,
        }
    }

    /// The DestinationRules that take part.
    pub fn documents(&self) -> impl Iterator<Item = Provenance> {
        self.rules.documents()
    }
}
