//! What is known of clusters' endpoints: those that the control plane sends, and the addresses of names.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Known;
use crate::resource::{ClusterSpec, EndpointSource, EndpointsSpec, ResourceType};

/// The addresses of a DNS name, in the resolver's order, or why there are none.
pub type Answer = Result<Arc<[IpAddr]>, Arc<str>>;

/// All that has been said of endpoints, by whoever knows them.
#[derive(Debug, Default)]
pub(super) struct KnownEndpoints {
    sent: Known<EndpointsSpec>,
    found: HashMap<Arc<str>, Answer>,
}

/// A cluster's endpoints as far as they are known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// None where the control plane says that there are none.
    pub(super) endpoints: Option<Arc<EndpointsSpec>>,
    /// Why a name has no address.
    pub(super) unresolved: Option<Arc<str>>,
}

impl KnownEndpoints {
    /// Takes what the control plane says.
    pub(super) fn sent(&mut self, name: Arc<str>, endpoints: Option<Arc<EndpointsSpec>>) {
        self.sent.insert(name, endpoints);
    }

    /// Takes what a look-up came to. What was found last is better than nothing.
    pub(super) fn found(&mut self, name: Arc<str>, answer: Answer) {
        if answer.is_ok() || !matches!(self.found.get(&name), Some(Ok(_))) {
            self.found.insert(name, answer);
        }
    }

    /// A cluster's endpoints, once all that says what they are has come.
    pub(super) fn join(&self, spec: &ClusterSpec) -> Option<Joined> {
        let dns = match &spec.endpoints {
            EndpointSource::ControlPlane(name) => {
                return Some(Joined { endpoints: self.sent.get(name)?.clone(), unresolved: None });
            }
            EndpointSource::Dns(dns) => dns,
        };
        let addresses = |name: &str| Some(self.found.get(name)?.as_deref().unwrap_or_default());
        let endpoints = dns.join(&spec.name, addresses)?;
        let unresolved = dns.names().find_map(|name| self.found.get(name)?.as_ref().err());
        Some(Joined { endpoints: Some(Arc::new(endpoints)), unresolved: unresolved.cloned() })
    }

    /// Whether all of it has come.
    pub(super) fn is_known(&self, source: &EndpointSource) -> bool {
        match source {
            EndpointSource::ControlPlane(name) => self.sent.contains_key(name),
            EndpointSource::Dns(dns) => dns.names().all(|name| self.found.contains_key(name)),
        }
    }

    /// What of it has not come, for people.
    pub(super) fn missing(&self, source: &EndpointSource) -> Vec<String> {
        match source {
            _ if self.is_known(source) => Vec::new(),
            EndpointSource::ControlPlane(name) => vec![format!("{} `{name}`", ResourceType::Endpoints)],
            EndpointSource::Dns(dns) => {
                let unknown = dns.names().filter(|name| !self.found.contains_key(*name));
                unknown.map(|name| format!("address of `{name}`")).collect()
            }
        }
    }

    /// Forgets the rest.
    pub(super) fn retain(&mut self, sent: &BTreeSet<Arc<str>>, found: &BTreeMap<Arc<str>, Duration>) {
        self.sent.retain(|name, _| sent.contains(name));
        self.found.retain(|name, _| found.contains_key(name));
    }
}
