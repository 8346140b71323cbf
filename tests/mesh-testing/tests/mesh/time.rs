//! Faults, timeouts and retries, with the clock standing still: what is waited for passes at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::*;

fn rule(spec: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: reviews}}
spec:
  hosts: [reviews]
  http:
  - route: [{{destination: {{host: reviews}}}}]
    {spec}
"
    )
}

#[tokio::test]
async fn a_fault_aborts_in_the_services_place() {
    let fault = rule("fault: {abort: {httpStatus: 418, percentage: {value: 100}}}");
    let mesh = reviews().documents(fault).start().await.unwrap();
    let (status, _) = call(&mesh, "productpage", "http://reviews:9080/", &[]).await;
    assert_eq!(status, StatusCode::IM_A_TEAPOT);
    assert_eq!(mesh.received("reviews-v1") + mesh.received("reviews-v2"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_delay_passes_at_once() {
    let fault = rule("fault: {delay: {fixedDelay: 7s, percentage: {value: 100}}}");
    let mesh = reviews().documents(fault).start().await.unwrap();
    let start = Instant::now();
    version(&mesh, &[]).await;
    let waited = start.elapsed();
    assert!(waited >= Duration::from_secs(7) && waited < Duration::from_secs(8), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_what_takes_too_long() {
    let slow = Router::new().fallback(|| tokio::time::sleep(Duration::from_secs(600)));
    let mesh = TestMesh::builder().documents(rule("timeout: 2s")).service("reviews:9080", "", slow);
    let mesh = mesh.start().await.unwrap();
    let (status, _) = call(&mesh, "productpage", "http://reviews:9080/", &[]).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again() {
    let failures = Arc::new(AtomicU32::new(2));
    let flaky = Router::new().fallback(move || {
        let left = failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        async move { if left.is_ok() { StatusCode::BAD_GATEWAY } else { StatusCode::OK } }
    });
    let retries = rule("retries: {attempts: 3, retryOn: 5xx}");
    let mesh =
        TestMesh::builder().documents(retries).service("reviews:9080", "", flaky).start().await.unwrap();
    assert_eq!(call(&mesh, "productpage", "http://reviews:9080/", &[]).await.0, StatusCode::OK);
    assert_eq!(mesh.received("reviews"), 3);
}
