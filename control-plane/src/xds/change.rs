//! What a step from one world to the next can touch, so that an instance that comes or goes costs its own services' clusters
//! and nothing else.
//!
//! It may name too much, for whatever did not change is recognized by its bytes; it must never name too little.

use std::collections::{BTreeSet, HashMap};
use std::ptr;
use std::sync::Arc;

use mesh_core::resource::ResourceType;

use crate::model::{Listening, Workload, World, host};

/// The difference between two worlds, as far as resources can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Documents changed, or the services that grants name: anything may be different.
    Everything,
    /// Only instances changed, and they are of these services, whose names may begin with a wildcard.
    Instances(BTreeSet<Arc<str>>),
}

impl Change {
    /// The difference from `old` to `new`.
    pub fn between(old: &World, new: &World) -> Self {
        if !ptr::eq(old.config(), new.config()) || old.fleet().granted() != new.fleet().granted() {
            return Self::Everything;
        }
        let mut hosts = BTreeSet::new();
        for workload in changed_workloads(old, new) {
            let services = new.config().all_services().filter(|service| service.has_member(workload));
            hosts.extend(services.map(|service| service.host.clone()));
            if let Listening::Registered(bindings) = &workload.listening {
                hosts.extend(bindings.iter().map(|binding| binding.host.clone()));
            }
        }
        Self::Instances(hosts)
    }

    /// Whether anything at all may be different.
    pub fn is_everything(&self) -> bool {
        *self == Self::Everything
    }

    /// Whether the resource may be different: instances show in clusters, which name their servers' identities, and in
    /// endpoints; routes and policies never look at them.
    pub fn touches(&self, kind: ResourceType, name: &str) -> bool {
        let Self::Instances(hosts) = self else { return true };
        let of = name.rsplit('|').next().unwrap_or(name);
        matches!(kind, ResourceType::Cluster | ResourceType::Endpoints)
            && (hosts.contains(of) || hosts.iter().any(|pattern| host::covers(pattern, of)))
    }
}

/// The workloads that are not the same in both, as they are in either.
fn changed_workloads<'w>(old: &'w World, new: &'w World) -> impl Iterator<Item = &'w Workload> {
    let (before, after) = (by_name(old), by_name(new));
    let gone: Vec<_> = before.iter().filter(|(name, all)| after.get(*name) != Some(*all)).collect();
    let come: Vec<_> = after.iter().filter(|(name, all)| before.get(*name) != Some(*all)).collect();
    let both = gone.into_iter().chain(come);
    both.flat_map(|(_, workloads)| workloads.iter().copied()).collect::<Vec<_>>().into_iter()
}

/// Several instances may bear one name.
fn by_name(world: &World) -> HashMap<(&str, &str), Vec<&Workload>> {
    let mut by_name: HashMap<_, Vec<&Workload>> = HashMap::new();
    for workload in world.fleet().all() {
        by_name.entry((&*workload.namespace, &*workload.name)).or_default().push(workload);
    }
    by_name
}
