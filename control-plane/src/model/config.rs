//! Documents by kind, their names completed, the oldest first: what configuration says, without what serves.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    Alternative, Declared, EffectiveMode, Labels, Merged, Routing, Service, View, Workload, authorization,
    destination_rule, http_route, peer_authentication, virtual_service,
};
use crate::document::{
    AuthorizationPolicy, BackendRef, HttpRoute, MeshSettings, PeerAuthentication, ReferenceGrant, is_granted,
};

/// What all documents together say.
#[derive(Debug, Default)]
pub struct Config {
    pub(super) settings: MeshSettings,
    pub(super) services: HashMap<Arc<str>, Vec<Service>>,
    pub(super) wildcard_services: Vec<Service>,
    pub(super) workloads: Vec<Workload>,
    pub(super) routings: Vec<Routing>,
    pub(super) destination_rules: Vec<destination_rule::Rule>,
    pub(super) gateway_routes: Vec<Declared<HttpRoute>>,
    pub(super) reference_grants: Vec<Declared<ReferenceGrant>>,
    pub(super) peer_authentications: Vec<Declared<PeerAuthentication>>,
    pub(super) authorization_policies: Vec<Declared<AuthorizationPolicy>>,
}

impl Config {
    /// The mesh-wide values.
    pub fn settings(&self) -> &MeshSettings {
        &self.settings
    }

    /// The services that documents declare under a full name, the oldest first.
    pub fn services(&self, full_name: &str) -> &[Service] {
        self.services.get(full_name).map_or(&[], Vec::as_slice)
    }

    /// Every service that a document declares.
    pub fn all_services(&self) -> impl Iterator<Item = &Service> {
        self.services.values().flatten().chain(&self.wildcard_services)
    }

    pub(super) fn wildcard_services(&self) -> &[Service] {
        &self.wildcard_services
    }

    /// The workloads that documents describe.
    pub fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    /// The VirtualService that speaks for a host, as a caller sees it.
    pub fn virtual_service(&self, view: &View<'_>, full_name: &str) -> Option<&Routing> {
        virtual_service::select(&self.routings, view, full_name)
    }

    /// The alternatives of the HTTPRoutes and GRPCRoutes that speak for a service's port.
    pub fn gateway_routes(
        &self,
        view: &View<'_>,
        service: &Service,
        port: u16,
    ) -> Option<Vec<Alternative<'_>>> {
        http_route::select(&self.gateway_routes, view, service, port)
    }

    /// Whether a route may send to a backend.
    pub fn grants(&self, route: &Declared<HttpRoute>, backend: &BackendRef) -> bool {
        let grants = self.reference_grants.iter().map(|grant| (&*grant.namespace, &*grant.spec));
        is_granted(grants, (route.kind(), &route.namespace), &route.spec, backend)
    }

    /// The DestinationRules that a caller's traffic to a service obeys.
    pub fn destination_rules(&self, view: &View<'_>, service: &Service) -> Merged<'_> {
        let service = (&*service.host, &*service.namespace);
        destination_rule::select(&self.destination_rules, view, &self.settings, service)
    }

    /// Which transports a workload's port takes.
    pub fn mtls_mode(&self, namespace: &str, labels: &Labels, port: u16) -> EffectiveMode {
        let root = &self.settings.root_namespace;
        peer_authentication::effective(&self.peer_authentications, root, (namespace, labels), port)
    }

    /// The AuthorizationPolicies that hold for a workload, the oldest first.
    pub fn authorization_policies<'w>(
        &'w self,
        namespace: &str,
        labels: &Labels,
    ) -> impl Iterator<Item = &'w Declared<AuthorizationPolicy>> {
        let root = &self.settings.root_namespace;
        authorization::applicable(&self.authorization_policies, root, (namespace, labels))
    }
}
