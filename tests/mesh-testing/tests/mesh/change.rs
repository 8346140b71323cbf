//! Documents that change while the mesh runs: what is applied is there when the call returns.

use super::*;

#[tokio::test]
async fn a_canary_moves_and_goes_back() {
    let mesh = reviews().documents(split(100, 0)).start().await.unwrap();
    for (v1, v2) in [(0, 100), (100, 0), (0, 100)] {
        mesh.apply(split(v1, v2)).unwrap();
        let expected = if v1 == 100 { "v1" } else { "v2" };
        assert_eq!(version(&mesh, &[]).await, expected);
    }
    mesh.delete("VirtualService/reviews").unwrap();
    let mut versions = Vec::new();
    for _ in 0..20 {
        versions.push(version(&mesh, &[]).await);
    }
    assert!(["v1", "v2"].iter().all(|version| versions.contains(&(*version).to_owned())), "{versions:?}");
}

#[tokio::test]
async fn a_change_that_is_refused_changes_nothing() {
    let mesh = reviews().documents(split(100, 0)).start().await.unwrap();
    assert_eq!(version(&mesh, &[]).await, "v1");
    let bad = split(0, 100).replace("hosts", "host");
    let error = mesh.apply(bad).unwrap_err().to_string();
    assert!(error.contains("applied:6: error"), "{error}");
    let error = mesh.delete("DestinationRule/default/reviews").unwrap_err().to_string();
    assert!(error.contains("documents-2:"), "its subsets are needed: {error}");
    let error = mesh.delete("vs/ratings").unwrap_err().to_string();
    assert!(error.contains("there is no document VirtualService/default/ratings"), "{error}");
    assert!(mesh.delete("reviews").unwrap_err().to_string().contains("names no document"));
    assert_eq!(version(&mesh, &[]).await, "v1");
}

#[tokio::test]
async fn an_open_connection_meets_the_new_policy() {
    let mesh = reviews().start().await.unwrap();
    let url = "http://reviews:9080/";
    assert_eq!(call(&mesh, "productpage", url, &[]).await.0, StatusCode::OK);
    mesh.apply(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody}
spec: {}
",
    )
    .unwrap();
    assert_eq!(call(&mesh, "productpage", url, &[]).await.0, StatusCode::FORBIDDEN);
    mesh.delete("AuthorizationPolicy/nobody").unwrap();
    assert_eq!(call(&mesh, "productpage", url, &[]).await.0, StatusCode::OK);
}
