//! Which DestinationRule a caller's traffic to a service obeys (ISTIO-FIELDS §2.4).
//!
//! Three levels are asked in turn: the caller's namespace, the service's, the root namespace. The first with a rule for the
//! host decides alone; nothing is inherited from another level, which surprises people often enough that explain lists
//! the documents that took part. A rule with a `workloadSelector` is there for the clients that carry its labels, in its own
//! namespace; it goes before one without, which fills what it leaves unsaid.

use mesh_core::resource::{Provenance, RetryBudget};

use super::caller::{Labels, View};
use super::declared::Declared;
use super::host;
use super::visibility::Visibility;
use super::workload::carries;
use crate::document::MeshSettings;
use crate::document::{
    DestinationRule, LoadBalancer, OutlierSettings, PolicyBlocks, PoolSettings, Subset, TlsSettings,
    TrafficPolicy,
};

/// One DestinationRule, its names completed.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    document: Declared<DestinationRule>,
    host: String,
    visibility: Visibility,
}

/// What a service's traffic obeys: documents of one host and namespace read as one, those that select the caller first, the
/// oldest first.
#[derive(Debug, Clone, Default)]
pub struct Merged<'w> {
    rules: Vec<&'w Rule>,
}

impl Rule {
    pub(super) fn new(document: Declared<DestinationRule>, settings: &MeshSettings) -> Self {
        let host = host::complete(&document.spec.host.value, &document.namespace).into_owned();
        let default = &settings.default_export_to.destination_rule;
        let visibility = match document.spec.workload_selector {
            Some(_) => Visibility::Private,
            None => Visibility::new(&document.spec.export_to, &document.namespace, default),
        };
        Self { document, host, visibility }
    }

    fn selector(&self) -> Option<&Labels> {
        self.document.spec.workload_selector.as_ref()
    }

    /// Whether it is for this caller. Labels are asked for only where a rule selects by them, so that callers share the rest.
    fn selects(&self, view: &View<'_>) -> bool {
        self.selector().is_none_or(|selector| carries(view.labels(), selector))
    }

    /// Whether callers of its own namespace see it.
    fn at_home(&self) -> bool {
        self.visibility.includes(&self.document.namespace, &self.document.namespace)
    }
}

/// Finds the rules for a service. `rules` are all there are, the oldest first.
pub(super) fn select<'w>(
    rules: &'w [Rule],
    view: &View<'_>,
    settings: &MeshSettings,
    service: (&str, &str),
) -> Merged<'w> {
    let (service_host, service_namespace) = service;
    if !rules.iter().any(|rule| host::covers(&rule.host, service_host)) {
        // Nothing can apply, whoever asks: the namespace stays unread and everybody shares the answer.
        return Merged::default();
    }
    let caller = view.namespace();
    let root = settings.root_namespace.as_str();
    let own =
        rules.iter().filter(|rule| *rule.document.namespace == *caller).filter(|rule| match caller == root {
            // What the root namespace exports is meant for everybody, and comes last.
            true => rule.visibility == Visibility::Private,
            false => rule.at_home(),
        });
    let own = own.filter(|rule| host::covers(&rule.host, service_host) && rule.selects(view));
    let found = most_specific(own, service_host);
    if !found.is_empty() {
        return merge(found);
    }
    for level in [service_namespace, root] {
        let exported = rules
            .iter()
            .filter(|rule| *rule.document.namespace == *level && rule.visibility != Visibility::Private);
        let seen = most_specific(exported, service_host).into_iter();
        let seen: Vec<_> = seen.filter(|rule| rule.visibility.includes(caller, level)).collect();
        if !seen.is_empty() {
            return merge(seen);
        }
    }
    Merged::default()
}

fn most_specific<'w>(rules: impl Iterator<Item = &'w Rule>, service_host: &str) -> Vec<&'w Rule> {
    let covering: Vec<&Rule> = rules.filter(|rule| host::covers(&rule.host, service_host)).collect();
    let best = covering.iter().map(|rule| host::specificity(&rule.host)).max();
    covering.into_iter().filter(|rule| Some(host::specificity(&rule.host)) == best).collect()
}

/// Rules of one selector or visibility are read as one; the group with the oldest rule counts. One with a selector has the
/// group without one beneath it.
fn merge(rules: Vec<&Rule>) -> Merged<'_> {
    let (selecting, others): (Vec<&Rule>, Vec<&Rule>) =
        rules.into_iter().partition(|rule| rule.selector().is_some());
    let (selector, visibility) = (selecting.first().copied(), others.first().copied());
    let selecting =
        selecting.into_iter().filter(|rule| selector.is_some_and(|one| one.selector() == rule.selector()));
    let others =
        others.into_iter().filter(|rule| visibility.is_some_and(|one| one.visibility == rule.visibility));
    Merged { rules: selecting.chain(others).collect() }
}

impl<'w> Merged<'w> {
    /// The subset of that name; the oldest definition counts.
    pub fn subset(&self, name: &str) -> Option<&'w Subset> {
        self.rules
            .iter()
            .flat_map(|rule| &rule.document.spec.subsets)
            .find(|subset| subset.name.value == name)
    }

    /// The names of all subsets.
    pub fn subset_names(&self) -> impl Iterator<Item = &'w str> {
        self.rules
            .iter()
            .flat_map(|rule| &rule.document.spec.subsets)
            .map(|subset| subset.name.value.as_str())
    }

    /// The documents that take part, the oldest first.
    pub fn documents(&self) -> impl Iterator<Item = Provenance> {
        self.rules.iter().map(|rule| rule.document.provenance(rule.document.spec.span))
    }

    /// How an endpoint is chosen: the subset's block, else the rule's.
    pub fn load_balancer(&self, subset: Option<&'w Subset>, port: u16) -> Option<&'w LoadBalancer> {
        self.block(subset, port, |blocks| blocks.load_balancer.as_ref())
    }

    /// How endpoints that fail are left alone, if they are.
    pub fn outlier_detection(&self, subset: Option<&'w Subset>, port: u16) -> Option<&'w OutlierSettings> {
        self.block(subset, port, |blocks| blocks.outlier_detection.as_deref())
    }

    /// What documents say of connections, if anything.
    pub fn connection_pool(&self, subset: Option<&'w Subset>, port: u16) -> Option<&'w PoolSettings> {
        self.block(subset, port, |blocks| blocks.connection_pool.as_deref())
    }

    /// The retry budget: the subset's, else the rule's.
    pub fn retry_budget(&self, subset: Option<&'w Subset>) -> Option<RetryBudget> {
        let of_subset = subset.and_then(|subset| subset.traffic_policy.as_ref()?.retry_budget);
        of_subset.or_else(|| self.policy()?.retry_budget)
    }

    /// What documents say of TLS, if anything.
    pub fn tls(&self, subset: Option<&'w Subset>, port: u16) -> Option<&'w TlsSettings> {
        self.block(subset, port, |blocks| blocks.tls.as_ref())
    }

    /// Of several documents only the oldest one's policy counts.
    fn policy(&self) -> Option<&'w TrafficPolicy> {
        self.rules.iter().find_map(|rule| rule.document.spec.traffic_policy.as_ref())
    }

    /// A block of the subset's policy, else of the rule's own; never a mixture of both. Where either speaks of the port by
    /// itself, a block that it leaves out there is the default.
    fn block<B>(
        &self,
        subset: Option<&'w Subset>,
        port: u16,
        block: impl Fn(&'w PolicyBlocks) -> Option<B>,
    ) -> Option<B> {
        let of_subset = subset.and_then(|subset| subset.traffic_policy.as_ref());
        if let Some(of_port) = of_subset.and_then(|policy| policy.of_port(port)) {
            return block(of_port);
        }
        let of_rule = || self.policy().map(|policy| policy.of_port(port).unwrap_or(&policy.blocks));
        of_subset.and_then(|policy| block(&policy.blocks)).or_else(|| of_rule().and_then(block))
    }
}
