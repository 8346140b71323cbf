//! The plain port: health for everybody who can reach it, metrics and service discovery on loopback alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::watch;

use crate::registry::Instances;

/// What the port tells.
pub(super) trait Facts: Send + Sync + 'static {
    /// Whether requests are served as they should be.
    fn ready(&self) -> bool;
    /// In Prometheus' text format.
    fn metrics(&self) -> String;
    /// What is registered.
    fn instances(&self) -> watch::Receiver<Arc<Instances>>;
}

/// The routes for a port bound to `ip`.
pub(super) fn router<F: Facts>(facts: Arc<F>, ip: IpAddr) -> Router {
    let mut router = Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(readyz::<F>));
    // Names, addresses and counts tell a stranger too much; nothing here asks who is calling.
    if ip.is_loopback() {
        router = router.route("/metrics", get(metrics::<F>)).route("/sd", get(sd::<F>));
    }
    router.with_state(facts)
}

async fn readyz<F: Facts>(State(facts): State<Arc<F>>) -> impl IntoResponse {
    if facts.ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

async fn metrics<F: Facts>(State(facts): State<Arc<F>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], facts.metrics())
}

async fn sd<F: Facts>(State(facts): State<Arc<F>>) -> impl IntoResponse {
    let instances = facts.instances().borrow().clone();
    Json(targets(&instances))
}

/// One group of Prometheus' HTTP service discovery.
#[derive(Debug, Serialize)]
struct Target {
    targets: Vec<String>,
    labels: BTreeMap<String, String>,
}

fn targets(instances: &Instances) -> Vec<Target> {
    instances
        .iter()
        .filter(|(_, instance)| !instance.bindings.is_empty())
        .map(|(key, instance)| {
            let services: Vec<&str> = instance.bindings.iter().map(|binding| binding.host.as_str()).collect();
            let mut labels = BTreeMap::from([
                ("__meta_mesh_namespace".to_owned(), key.namespace.clone()),
                ("__meta_mesh_service_account".to_owned(), key.service_account.clone()),
                ("__meta_mesh_workload".to_owned(), instance.workload.clone()),
                ("__meta_mesh_instance".to_owned(), key.instance_id.clone()),
                ("__meta_mesh_services".to_owned(), services.join(",")),
            ]);
            for (name, value) in &instance.labels {
                labels.insert(format!("__meta_mesh_label_{}", label_name(name)), value.clone());
            }
            let mut targets: Vec<String> =
                instance.bindings.iter().map(|binding| binding.address.to_string()).collect();
            targets.dedup();
            Target { targets, labels }
        })
        .collect()
}

/// Prometheus has letters, digits and underscores.
fn label_name(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::registry::{Binding, Instance, InstanceKey};

    struct Fixed {
        ready: bool,
        instances: watch::Sender<Arc<Instances>>,
    }

    impl Facts for Fixed {
        fn ready(&self) -> bool {
            self.ready
        }

        fn metrics(&self) -> String {
            "mesh_instances 1\n".to_owned()
        }

        fn instances(&self) -> watch::Receiver<Arc<Instances>> {
            self.instances.subscribe()
        }
    }

    fn facts(ready: bool) -> Arc<Fixed> {
        let key = InstanceKey {
            namespace: "default".into(),
            service_account: "reviews".into(),
            instance_id: "a".into(),
        };
        let instance = Instance {
            workload: "reviews-v1".into(),
            labels: [("app.kubernetes.io/name".to_owned(), "reviews".to_owned())].into(),
            locality: None,
            bindings: vec![Binding {
                host: "reviews.default.svc.cluster.local".into(),
                service_port: 9080,
                workload_port: 41001,
                address: ([10, 0, 0, 7], 41001).into(),
            }],
            draining: false,
            not_ready: false,
            library_version: String::new(),
        };
        Arc::new(Fixed { ready, instances: watch::Sender::new(Arc::new([(key, Arc::new(instance))].into())) })
    }

    async fn check(facts: Arc<Fixed>, ip: [u8; 4], path: &str, status: u16, expected: &str) {
        let request = axum::http::Request::get(path).body(Body::empty()).unwrap();
        let response = router(facts, ip.into()).oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(String::from_utf8_lossy(&body), expected, "{path}");
    }

    const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

    #[tokio::test]
    async fn health_is_told_to_everybody_and_the_rest_to_loopback() {
        let discovered = concat!(
            r#"[{"targets":["10.0.0.7:41001"],"labels":{"__meta_mesh_instance":"a","#,
            r#""__meta_mesh_label_app_kubernetes_io_name":"reviews","__meta_mesh_namespace":"default","#,
            r#""__meta_mesh_service_account":"reviews","__meta_mesh_services":"reviews.default.svc.cluster.local","#,
            r#""__meta_mesh_workload":"reviews-v1"}}]"#
        );
        check(facts(true), LOOPBACK, "/healthz", 200, "ok\n").await;
        check(facts(true), LOOPBACK, "/readyz", 200, "ready\n").await;
        check(facts(false), LOOPBACK, "/readyz", 503, "not ready\n").await;
        check(facts(true), LOOPBACK, "/metrics", 200, "mesh_instances 1\n").await;
        check(facts(true), LOOPBACK, "/sd", 200, discovered).await;
        check(facts(true), [10, 0, 0, 1], "/healthz", 200, "ok\n").await;
        check(facts(true), [10, 0, 0, 1], "/metrics", 404, "").await;
        check(facts(true), [10, 0, 0, 1], "/sd", 404, "").await;
    }
}
