//! Makes snapshots of the resources that arrive, so that each host's routes, clusters and endpoints change together.
//!
//! ```text
//!  listener ─► route configuration ─► clusters ─► endpoints        what is wanted grows from left to right
//!     └──────────── a host's closure ────────────────┘             it is published once all of it is known
//! ```
//! A listener for connections of bytes names its clusters itself.
//! A host whose pieces never come holds up no other. One that was published keeps its last closure until the next one is
//! whole; meanwhile its clusters go on changing, for endpoints come and go while a route waits (gRFC A74). What is equal to
//! what was published is the same `Arc`, so that a change costs what it touches.

mod endpoints;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Cluster, HostConfig, HostState, OpaqueConfig, Snapshot};
use crate::balance::EndpointStates;
use crate::resource::{
    ClusterSpec, EndpointSource, InboundListener, OutboundListener, Resource, ResourceType, RouteSpec,
};
use crate::route::RouteTable;
use endpoints::{Joined, KnownEndpoints};

pub use endpoints::Answer;

/// What the control plane says of one resource, or the system of a name.
#[derive(Debug, Clone)]
pub enum Update {
    /// It is this, from now on.
    Here(Resource),
    /// There is none of that name.
    Absent(ResourceType, Arc<str>),
    /// What a look-up of this DNS name has found, which this process made itself.
    Resolved(Arc<str>, Answer),
}

/// The latest accepted resources and the closures that were published of them.
#[derive(Debug, Default)]
pub struct Closures {
    outbound: Known<OutboundListener>,
    inbound: Known<InboundListener>,
    route_configurations: Known<RouteSpec>,
    cluster_specs: Known<ClusterSpec>,
    endpoints: KnownEndpoints,
    wanted_inbound: BTreeSet<Arc<str>>,
    hosts: BTreeMap<Arc<str>, Host>,
    clusters: HashMap<Arc<str>, BuiltCluster>,
    states: EndpointStates,
}

/// By name: what is here, or `None` where the control plane says that there is nothing. No entry: it has not said.
type Known<T> = HashMap<Arc<str>, Option<Arc<T>>>;

/// A host that somebody calls.
#[derive(Debug, Default)]
struct Host {
    published: Option<HostState>,
    /// Of what the published closure was made.
    rules: Option<Rules>,
}

/// What a host's closure is made of, clusters aside.
#[derive(Debug, Clone)]
struct Rules {
    listener: Arc<OutboundListener>,
    /// None where the listener takes no requests, or its route configuration is known not to exist.
    routes: Option<Arc<RouteSpec>>,
}

impl Rules {
    /// Every cluster that a rule names.
    fn clusters(&self) -> impl Iterator<Item = &Arc<str>> {
        let of_requests = self.routes.iter().flat_map(|routes| &routes.clusters);
        of_requests.chain(self.listener.connections().into_iter().flat_map(|rules| &rules.clusters))
    }
}

/// A cluster as last built, and of what.
#[derive(Debug)]
struct BuiltCluster {
    spec: Arc<ClusterSpec>,
    joined: Joined,
    cluster: Arc<Cluster>,
}

impl Closures {
    /// Sets the hosts (`HOST:PORT`, as dialled) and inbound listeners that configuration is wanted for. What is no longer
    /// wanted is forgotten, also what was known of it. Returns the next snapshot, if it differs.
    pub fn want(
        &mut self,
        hosts: impl IntoIterator<Item = Arc<str>>,
        inbound: impl IntoIterator<Item = Arc<str>>,
    ) -> Option<Snapshot> {
        let mut before = std::mem::take(&mut self.hosts);
        for name in hosts {
            let host = before.remove(&name).unwrap_or_default();
            self.hosts.insert(name, host);
        }
        let before_inbound = std::mem::take(&mut self.wanted_inbound);
        self.wanted_inbound.extend(inbound);
        let forgotten = before.values().any(|host| host.published.is_some());
        let changed = self.refresh();
        (changed || forgotten || before_inbound != self.wanted_inbound).then(|| self.snapshot())
    }

    /// Takes what one response of the control plane says, all at once. Returns the next snapshot, if it differs.
    pub fn apply(&mut self, updates: impl IntoIterator<Item = Update>) -> Option<Snapshot> {
        let mut inbound_changed = false;
        for update in updates {
            match update {
                Update::Here(Resource::Outbound(listener)) => {
                    keep(&mut self.outbound, &listener.name, &listener)
                }
                Update::Here(Resource::RouteConfiguration(routes)) => {
                    keep(&mut self.route_configurations, &routes.name, &routes);
                }
                Update::Here(Resource::Cluster(cluster)) => {
                    keep(&mut self.cluster_specs, &cluster.name, &cluster)
                }
                Update::Here(Resource::Endpoints(endpoints)) => {
                    self.endpoints.sent(Arc::clone(&endpoints.name), Some(endpoints));
                }
                Update::Here(Resource::Inbound(listener)) => {
                    inbound_changed = true;
                    keep(&mut self.inbound, &listener.name, &listener);
                }
                Update::Absent(ResourceType::Listener, name) if self.wanted_inbound.contains(&name) => {
                    inbound_changed = true;
                    self.inbound.insert(name, None);
                }
                Update::Absent(ResourceType::Listener, name) => drop(self.outbound.insert(name, None)),
                Update::Absent(ResourceType::RouteConfiguration, name) => {
                    self.route_configurations.insert(name, None);
                }
                Update::Absent(ResourceType::Cluster, name) => drop(self.cluster_specs.insert(name, None)),
                Update::Absent(ResourceType::Endpoints, name) => self.endpoints.sent(name, None),
                Update::Resolved(name, answer) => self.endpoints.found(name, answer),
            }
        }
        (self.refresh() || inbound_changed).then(|| self.snapshot())
    }

    /// The names of that type that should be subscribed to, as far as they are known by now.
    pub fn subscriptions(&self, resource_type: ResourceType) -> BTreeSet<Arc<str>> {
        match resource_type {
            ResourceType::Listener => self.hosts.keys().chain(&self.wanted_inbound).cloned().collect(),
            ResourceType::RouteConfiguration => {
                self.hosts.keys().filter_map(|host| self.route_name(host)).collect()
            }
            ResourceType::Cluster => self.used_clusters(),
            ResourceType::Endpoints => {
                self.used_specs().filter_map(|spec| spec.endpoints.sent_as()).cloned().collect()
            }
        }
    }

    /// The DNS names that should be looked up, and after how long again.
    pub fn names(&self) -> BTreeMap<Arc<str>, Duration> {
        let mut names = BTreeMap::new();
        for spec in self.used_specs() {
            let EndpointSource::Dns(dns) = &spec.endpoints else { continue };
            for name in dns.names() {
                let refresh = names.entry(Arc::clone(name)).or_insert(dns.refresh);
                *refresh = dns.refresh.min(*refresh);
            }
        }
        names
    }

    fn used_specs(&self) -> impl Iterator<Item = &Arc<ClusterSpec>> {
        self.used_clusters().into_iter().filter_map(|name| here(&self.cluster_specs, &name))
    }

    /// What a host still waits for, such as ``cluster `outbound|80||a` ``; empty once it is published.
    pub fn missing(&self, host: &str) -> Vec<String> {
        let name_of = |resource_type: ResourceType, name: &str| format!("{resource_type} `{name}`");
        let Some(listener) = self.outbound.get(host) else {
            return vec![name_of(ResourceType::Listener, host)];
        };
        let Some(listener) = listener.as_ref().filter(|listener| !listener.is_refused()) else {
            return Vec::new();
        };
        let Some(rules) = self.latest_rules(listener) else {
            let routes = listener.requests().map(|requests| &*requests.route_configuration);
            return vec![name_of(ResourceType::RouteConfiguration, routes.unwrap_or_default())];
        };
        let missing = rules.clusters().flat_map(|cluster| match self.cluster_specs.get(cluster) {
            None => vec![name_of(ResourceType::Cluster, cluster)],
            Some(None) => Vec::new(),
            Some(Some(spec)) => self.endpoints.missing(&spec.endpoints),
        });
        missing.collect()
    }

    /// Brings clusters and hosts up to what is known; true where a host's published state changed.
    fn refresh(&mut self) -> bool {
        self.build_clusters();
        let names: Vec<Arc<str>> = self.hosts.keys().cloned().collect();
        let changed = names.into_iter().filter(|name| self.refresh_host(name)).count() > 0;
        self.forget_unused();
        changed
    }

    /// Builds the clusters whose pieces are here and differ from what they were built of.
    fn build_clusters(&mut self) {
        for name in self.used_clusters() {
            let Some(Some(spec)) = self.cluster_specs.get(&name) else { continue };
            let Some(joined) = self.endpoints.join(spec) else { continue };
            let same = |built: &BuiltCluster| built.spec == *spec && built.joined == joined;
            if self.clusters.get(&name).is_some_and(same) {
                continue;
            }
            let configured = joined.endpoints.as_ref().map_or(&[][..], |endpoints| &endpoints.endpoints);
            let (state, endpoints) = self.states.join(spec, configured);
            let cluster = Cluster::new(Arc::clone(spec), endpoints, state);
            let cluster = Arc::new(cluster.unresolved(joined.unresolved.clone()));
            self.clusters.insert(name, BuiltCluster { spec: Arc::clone(spec), joined, cluster });
        }
    }

    fn refresh_host(&mut self, name: &Arc<str>) -> bool {
        let next = self.next_state(name);
        let Some(host) = self.hosts.get_mut(name) else { return false };
        let Some((state, rules)) = next else { return false };
        host.rules = rules;
        let changed = !host.published.as_ref().is_some_and(|published| published.is_same(&state));
        if changed {
            host.published = Some(state);
        }
        changed
    }

    /// What is to be published of a host now; `None` where that cannot be said and nothing was.
    fn next_state(&self, name: &Arc<str>) -> Option<(HostState, Option<Rules>)> {
        let host = self.hosts.get(name)?;
        let listener = match self.outbound.get(name)? {
            None => return Some((HostState::Absent, None)),
            Some(listener) if listener.is_refused() => return Some((HostState::Refused, None)),
            Some(listener) => listener,
        };
        let latest = self.latest_rules(listener);
        let settled = latest.filter(|rules| rules.clusters().all(|cluster| self.is_settled(cluster)));
        let rules = settled.or_else(|| host.rules.clone())?;
        Some((HostState::Ready(self.host_config(&rules, host)), Some(rules)))
    }

    /// What a listener leads to; `None` while its route configuration is waited for.
    fn latest_rules(&self, listener: &Arc<OutboundListener>) -> Option<Rules> {
        let routes = match listener.requests() {
            Some(requests) => self.route_configurations.get(&requests.route_configuration)?.clone(),
            None => None,
        };
        Some(Rules { listener: Arc::clone(listener), routes })
    }

    /// Whether a cluster is as the latest resources say, or known not to be.
    fn is_settled(&self, cluster: &str) -> bool {
        match self.cluster_specs.get(cluster) {
            None => false,
            Some(None) => true,
            Some(Some(spec)) => self.endpoints.is_known(&spec.endpoints),
        }
    }

    /// The closure of these rules and of the clusters as built; the published one where nothing in it differs.
    fn host_config(&self, rules: &Rules, host: &Host) -> Arc<HostConfig> {
        let cluster = |name: &Arc<str>| match self.cluster_specs.get(name) {
            Some(None) => None,
            _ => self.clusters.get(name).map(|built| Arc::clone(&built.cluster)),
        };
        let Rules { listener, routes } = rules;
        let requests = listener.requests();
        let of_routes = routes.as_ref().map(|routes| &routes.host);
        let led_to = requests.map(|requests| &requests.route_configuration);
        let connections = listener.connections().map(|rules| OpaqueConfig {
            rules: Arc::clone(&rules.table),
            clusters: rules.clusters.iter().map(cluster).collect(),
        });
        let table = |_| routes.as_ref().map(|routes| Arc::clone(&routes.routes)).unwrap_or_default();
        let next = HostConfig {
            name: Arc::clone(&listener.name),
            host: Arc::clone(of_routes.or(listener.host.as_ref()).or(led_to).unwrap_or(&listener.name)),
            path_normalization: requests.map(|requests| requests.path_normalization).unwrap_or_default(),
            // Without a route configuration every request is answered 404.
            routes: requests.map(table),
            clusters: routes.iter().flat_map(|routes| &routes.clusters).map(cluster).collect(),
            opaque: connections,
        };
        match &host.published {
            Some(HostState::Ready(published)) if published.is_same(&next) => Arc::clone(published),
            _ => Arc::new(next),
        }
    }

    /// Drops what nobody wants any more, so that it is not taken for the latest when it is wanted again.
    fn forget_unused(&mut self) {
        let listeners = self.subscriptions(ResourceType::Listener);
        self.outbound.retain(|name, _| listeners.contains(name));
        self.inbound.retain(|name, _| listeners.contains(name));
        let routes = self.subscriptions(ResourceType::RouteConfiguration);
        self.route_configurations.retain(|name, _| routes.contains(name));
        let clusters = self.used_clusters();
        self.cluster_specs.retain(|name, _| clusters.contains(name));
        self.endpoints.retain(&self.subscriptions(ResourceType::Endpoints), &self.names());
        let states = &mut self.states;
        let cluster_specs = &self.cluster_specs;
        self.clusters.retain(|name, _| {
            let used = clusters.contains(name) && !matches!(cluster_specs.get(name), Some(None));
            if !used {
                states.remove(name);
            }
            used
        });
    }

    fn route_name(&self, host: &str) -> Option<Arc<str>> {
        let listener = here(&self.outbound, host).filter(|listener| !listener.is_refused())?;
        listener.requests().map(|requests| Arc::clone(&requests.route_configuration))
    }

    /// The clusters of every host: of the rules that are published and of those that wait to be.
    fn used_clusters(&self) -> BTreeSet<Arc<str>> {
        let listeners = self.hosts.keys().filter_map(|host| here(&self.outbound, host));
        let listeners = listeners.filter(|listener| !listener.is_refused());
        // Rules for connections are known with the listener, though its routes be waited for.
        let waiting = |listener| Rules { listener: Arc::clone(listener), routes: None };
        let latest = listeners.map(|it| self.latest_rules(it).unwrap_or_else(|| waiting(it)));
        let mut used: BTreeSet<Arc<str>> = BTreeSet::new();
        latest.for_each(|rules| used.extend(rules.clusters().cloned()));
        let published = self.hosts.values().filter_map(|host| host.rules.as_ref());
        published.for_each(|rules| used.extend(rules.clusters().cloned()));
        used
    }

    fn snapshot(&self) -> Snapshot {
        let published = |(name, host): (&Arc<str>, &Host)| Some((Arc::clone(name), host.published.clone()?));
        let wanted = |name: &Arc<str>| Some((Arc::clone(name), Arc::clone(here(&self.inbound, name)?)));
        Snapshot {
            hosts: self.hosts.iter().filter_map(published).collect(),
            inbound: self.wanted_inbound.iter().filter_map(wanted).collect(),
        }
    }
}

impl HostState {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) | (Self::Refused, Self::Refused) => true,
            (Self::Ready(one), Self::Ready(other)) => Arc::ptr_eq(one, other) || one.is_same(other),
            _ => false,
        }
    }
}

impl HostConfig {
    /// Whether both are made of the very same parts.
    fn is_same(&self, other: &Self) -> bool {
        let is_empty = |routes: &Arc<RouteTable>| routes.routes().is_empty();
        let same_routes = match (&self.routes, &other.routes) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || is_empty(one) && is_empty(other),
            (None, None) => true,
            _ => false,
        };
        let same_opaque = match (&self.opaque, &other.opaque) {
            (Some(one), Some(other)) => {
                Arc::ptr_eq(&one.rules, &other.rules) && are_same(&one.clusters, &other.clusters)
            }
            (None, None) => true,
            _ => false,
        };
        same_routes
            && same_opaque
            && self.host == other.host
            && self.path_normalization == other.path_normalization
            && are_same(&self.clusters, &other.clusters)
    }
}

fn are_same(one: &[Option<Arc<Cluster>>], other: &[Option<Arc<Cluster>>]) -> bool {
    let same = |(one, other): (&Option<Arc<Cluster>>, &Option<Arc<Cluster>>)| match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        _ => false,
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

fn keep<T>(known: &mut Known<T>, name: &Arc<str>, value: &Arc<T>) {
    known.insert(Arc::clone(name), Some(Arc::clone(value)));
}

fn here<'k, T>(known: &'k Known<T>, name: &str) -> Option<&'k Arc<T>> {
    known.get(name)?.as_ref()
}

#[cfg(test)]
mod tests;
