//! A registered instance as the model sees it: a workload among those that documents declare.

use std::sync::Arc;

use mesh_core::resource::Health;

use super::instance::{Instance, InstanceKey};
use crate::model::{self, Listening, Workload};

impl Instance {
    /// The workload that this instance is.
    pub fn workload(&self, key: &InstanceKey) -> Workload {
        let binding = |binding: &super::Binding| model::Binding {
            host: binding.host.as_str().into(),
            service_port: binding.service_port,
            workload_port: binding.workload_port,
            address: binding.address,
        };
        Workload {
            name: self.workload.as_str().into(),
            namespace: key.namespace.as_str().into(),
            service_account: Some(key.service_account.as_str().into()),
            labels: Arc::new(self.labels.clone()),
            listening: Listening::Registered(self.bindings.iter().map(binding).collect()),
            locality: self.locality.as_deref().map(Into::into),
            weight: 1,
            health: match self.draining {
                true => Health::Draining,
                false if self.not_ready => Health::Unhealthy,
                false => Health::Healthy,
            },
            in_mesh: true,
        }
    }
}
