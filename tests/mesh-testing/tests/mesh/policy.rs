//! Who may call what: identities and transports are real.

use mesh_testing::Event;

use super::*;

#[tokio::test]
async fn whom_a_policy_does_not_name_is_denied() {
    let policy = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews}
spec:
  selector: {matchLabels: {app: reviews}}
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/productpage]}}]
    to: [{operation: {methods: [GET], paths: [/reviews/*]}}]
";
    let mesh = reviews().documents(policy).start().await.unwrap();
    let url = "http://reviews:9080/reviews/0";
    assert_eq!(call(&mesh, "productpage", url, &[]).await.0, StatusCode::OK);
    assert_eq!(call(&mesh, "ratings", url, &[]).await.0, StatusCode::FORBIDDEN);
    assert_eq!(
        call(&mesh, "other/productpage", &url.replace("reviews:", "reviews.default:"), &[]).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(call(&mesh, "productpage", "http://reviews:9080/admin", &[]).await.0, StatusCode::FORBIDDEN);
    let both = |count: &dyn Fn(&str) -> u64| count("reviews-v1") + count("reviews-v2");
    assert_eq!(both(&|name| mesh.received(name)), 1, "what is denied does not reach the application");
    assert_eq!(both(&|name| mesh.count(name, Event::DeniedRequest)), 3);
}

#[tokio::test]
async fn plaintext_is_refused_where_mutual_tls_is_demanded() {
    let strict = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: STRICT}}
";
    let mesh = reviews().start().await.unwrap();
    // Whoever calls an address calls past the mesh.
    let past = format!("http://{}:9080/", mesh.address("reviews-v1"));
    assert_eq!(call(&mesh, "productpage", &past, &[]).await, (StatusCode::OK, "v1".into()));
    mesh.apply(strict).unwrap();
    let (status, _) = call(&mesh, "stranger", &past, &[]).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(mesh.count("reviews-v1", Event::RefusedPlaintext), 1);
    assert_eq!(call(&mesh, "productpage", "http://reviews:9080/", &[]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_trust_domain_is_what_the_settings_say() {
    let documents = "
apiVersion: proxyless.mesh/v1alpha1
kind: MeshSettings
metadata: {name: default}
spec: {trustDomain: mesh.example}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews}
spec:
  rules:
  - from: [{source: {principals: [mesh.example/ns/default/sa/productpage]}}]
";
    let mesh = reviews().documents(documents).start().await.unwrap();
    assert_eq!(call(&mesh, "productpage", "http://reviews:9080/", &[]).await.0, StatusCode::OK);
    assert_eq!(call(&mesh, "ratings", "http://reviews:9080/", &[]).await.0, StatusCode::FORBIDDEN);
}
