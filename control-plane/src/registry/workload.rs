//! A registered instance as the model sees it: a workload among those that documents declare.

use std::sync::Arc;

use mesh_core::resource::Health;

use super::instance::{Instance, InstanceKey};
use crate::grant::Grant;
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
            health: if self.draining { Health::Draining } else { Health::Healthy },
            in_mesh: true,
        }
    }
}

/// `reviews-v2` for a grant of `reviews` with the label `version=v2`, as its Deployment would be called.
pub fn workload_name(grant: &Grant) -> String {
    let first_label = |host: &str| host.split('.').next().unwrap_or_default().to_owned();
    let app = grant.labels.get("app").cloned();
    let service = || grant.services.first().map(|service| first_label(&service.host));
    let name = app.or_else(service).unwrap_or_else(|| grant.service_account.clone());
    match grant.labels.get("version") {
        Some(version) => format!("{name}-{version}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::GrantedService;

    #[test]
    fn a_workload_is_called_as_its_deployment_would_be() {
        let check = |services: &[&str], labels: &[(&str, &str)], expected: &str| {
            let service = |host: &&str| GrantedService { host: (*host).to_owned(), port: 1 };
            let grant = Grant {
                namespace: "default".into(),
                service_account: "bookinfo-reviews".into(),
                services: services.iter().map(service).collect(),
                labels: labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
                locality: None,
            };
            assert_eq!(workload_name(&grant), expected);
        };
        check(&["reviews.default.svc.cluster.local"], &[("version", "v2")], "reviews-v2");
        check(&["reviews.default.svc.cluster.local"], &[("app", "books"), ("version", "v2")], "books-v2");
        check(&["reviews.default.svc.cluster.local"], &[], "reviews");
        check(&[], &[], "bookinfo-reviews");
    }
}
