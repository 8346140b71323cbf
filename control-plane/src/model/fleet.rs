//! What serves in the mesh at one moment: workloads, and the services that grants name.

use std::collections::HashMap;
use std::sync::Arc;

use super::Workload;

/// What serves at one moment.
#[derive(Debug, Default)]
pub struct Fleet {
    workloads: HashMap<Arc<str>, Vec<Workload>>,
    granted: Vec<GrantedService>,
}

/// A service that some grant names, whether or not anything serves it right now.
///
/// It keeps a host known while all its instances are away, so that a call is answered "no healthy endpoint" and never
/// passed through to whatever DNS says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GrantedService {
    /// Its full name.
    pub host: Arc<str>,
    /// The namespace of the grant.
    pub namespace: Arc<str>,
    /// The ports that callers name.
    pub ports: Vec<u16>,
}

impl Fleet {
    /// Sorts what serves by namespace; the order within one is by name, so that equal fleets translate to equal bytes.
    pub fn new(workloads: Vec<Workload>, granted: Vec<GrantedService>) -> Self {
        let mut fleet = Self { workloads: HashMap::new(), granted };
        for workload in workloads {
            fleet.workloads.entry(workload.namespace.clone()).or_default().push(workload);
        }
        for of_namespace in fleet.workloads.values_mut() {
            of_namespace.sort_by(|left, right| left.name.cmp(&right.name));
        }
        fleet.granted.sort();
        fleet
    }

    /// The workloads of a namespace.
    pub fn of(&self, namespace: &str) -> &[Workload] {
        self.workloads.get(namespace).map_or(&[], Vec::as_slice)
    }

    /// All workloads, in no particular order.
    pub fn all(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.values().flatten()
    }

    /// The services that grants name.
    pub fn granted(&self) -> &[GrantedService] {
        &self.granted
    }
}
