//! What is refused before anything starts, and how it is said.

use mesh_testing::Workload;

use super::*;

#[tokio::test]
async fn bad_documents_are_refused_with_everything_that_is_wrong() {
    let bad = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews, subset: v3}}]
    timeuot: 1s
  - rewrite: {uri: 7}
";
    let error = reviews().documents(bad).start().await.unwrap_err();
    let said = format!("{error:?}");
    assert_eq!(said, error.to_string(), "a test that returns the error shows it to people");
    for expected in ["documents-2:9: ", "timeuot", "documents-2:10: "] {
        assert!(said.contains(expected), "{said}");
    }
    let error = reviews().documents(split(1, 1).replace("v2", "v3")).start().await.unwrap_err().to_string();
    assert!(error.contains("documents-2:") && error.contains("v3"), "what only the whole set shows: {error}");
}

#[tokio::test]
async fn files_and_folders_are_read_and_named() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let error = TestMesh::builder().file(file).start().await.unwrap_err().to_string();
    assert!(error.contains(file), "{error}");
    let error = TestMesh::builder().file("no/such/folder").start().await.unwrap_err().to_string();
    assert!(error.contains("cannot read no/such/folder"), "{error}");
}

#[tokio::test]
async fn workloads_that_no_token_could_name_are_refused() {
    async fn check(workload: Workload, expected: &str) {
        let error = TestMesh::builder().workload(workload).start().await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    check(Workload::serving("reviews", app("")), "is not NAME:PORT").await;
    check(Workload::serving("reviews:80", app("")).labels("v1"), "write KEY=VALUE").await;
    check(Workload::serving("reviews:80", app("")).labels("a b=c"), "label a b=c is not legal").await;
    check(Workload::caller("A/B"), "service account").await;
    check(Workload::serving("a:80", app("")).and_serving("b:80", app("")), "something serves at").await;
}

#[tokio::test]
async fn a_workload_that_does_not_exist_is_a_mistake_of_the_test() {
    let mesh = reviews().start().await.unwrap();
    let counted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| mesh.received("reviews")));
    let said = *counted.unwrap_err().downcast::<String>().unwrap();
    assert_eq!(said, "there is no workload `reviews`; there are default/reviews-v1, default/reviews-v2");
}
