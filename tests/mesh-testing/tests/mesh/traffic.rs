//! Where requests go: headers, shares, other members' own calls, gRPC.

use axum::extract::State;
use http::Request;
use mesh_client::MeshChannel;
use mesh_core::Mesh;
use mesh_core::proto::registry::registry_client::RegistryClient;
use mesh_core::proto::registry::registry_server::{Registry, RegistryServer};
use mesh_core::proto::registry::{DeregisterRequest, DeregisterResponse, RegisterRequest, RegisterResponse};
use mesh_server::{MeshLayer, MeshListener, Peer};
use mesh_testing::Workload;
use tonic::service::Routes;
use tonic::{Response, Status};
use tower::Layer;

use super::*;

const JASON: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{headers: {end-user: {exact: jason}}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
";

#[tokio::test]
async fn a_header_chooses_the_version() {
    let mesh = reviews().documents(JASON).start().await.unwrap();
    assert_eq!(version(&mesh, &["end-user: jason"]).await, "v2");
    assert_eq!(version(&mesh, &["end-user: mary"]).await, "v1");
    assert_eq!(version(&mesh, &[]).await, "v1");
    assert_eq!((mesh.received("reviews-v1"), mesh.received("default/reviews-v2")), (2, 1));
}

#[tokio::test]
async fn shares_hold_and_a_seed_repeats_them() {
    let mut runs = Vec::new();
    for seed in [7, 7, 8] {
        let mesh = reviews().documents(split(90, 10)).seed(seed).start().await.unwrap();
        let mut versions = Vec::new();
        for _ in 0..400 {
            versions.push(version(&mesh, &[]).await);
        }
        // 40 within four deviations.
        let v2 = mesh.received("reviews-v2");
        assert!((16..=64).contains(&v2), "{v2}");
        runs.push(versions);
    }
    assert!(runs[0] == runs[1] && runs[1] != runs[2]);
}

#[tokio::test]
async fn without_a_document_there_are_identity_and_balancing() {
    let whoami = |peer: Peer| async move { peer.principal().unwrap_or("nobody").to_owned() };
    let whoami = Router::new().route("/", get(whoami));
    let mesh = TestMesh::builder()
        .service("reviews:9080", "", whoami.clone())
        .service("reviews:9080", "", whoami)
        .start()
        .await
        .unwrap();
    for _ in 0..10 {
        let (_, caller) = call(&mesh, "shop/productpage", "http://reviews.default:9080/", &[]).await;
        assert_eq!(caller, "cluster.local/ns/shop/sa/productpage");
    }
    assert_eq!(mesh.received("reviews"), 10, "by both instances of that name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_calls_others_as_itself_and_hands_on_what_it_inherited() {
    async fn page(State(mesh): State<Mesh>) -> String {
        let request = Request::get("http://reviews:9080/").body(String::new()).unwrap();
        let response = MeshClient::new(&mesh).oneshot(request).await.unwrap();
        String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
    }
    let documents = JASON.replace("end-user: {exact: jason}", "baggage: {exact: user=jason}");
    let mesh = reviews()
        .documents(documents)
        .service_with("productpage:9080", "", |mesh| {
            Router::new().route("/", get(page)).with_state(mesh.clone())
        })
        .start()
        .await
        .unwrap();
    let url = "http://productpage:9080/";
    assert_eq!(call(&mesh, "gateway", url, &["baggage: user=jason"]).await.1, "v2");
    assert_eq!(call(&mesh, "gateway", url, &[]).await.1, "v1");
    assert_eq!(mesh.received("productpage"), 2);
}

#[tokio::test]
async fn a_callers_labels_namespace_and_a_members_address_count() {
    let by_label = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - match: [{sourceLabels: {tier: edge}}]
    directResponse: {status: 418}
  - route: [{destination: {host: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: stock}
spec:
  hosts: [stock.example.com]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 192.0.2.7}]
";
    let mesh = TestMesh::builder()
        .documents(by_label)
        .workload(Workload::serving("reviews:9080", app("shop")).namespace("shop"))
        .workload(Workload::caller("edge").namespace("shop").labels("tier=edge"))
        .workload(Workload::serving("stub:80", app("stub")).address([192, 0, 2, 7]))
        .start()
        .await
        .unwrap();
    let reviews = "http://reviews:9080/";
    assert_eq!(call(&mesh, "shop/edge", reviews, &[]).await.0, StatusCode::IM_A_TEAPOT);
    assert_eq!(call(&mesh, "shop/inner", reviews, &[]).await, (StatusCode::OK, "shop".into()));
    assert_eq!(call(&mesh, "shop/inner", "http://stock.example.com/", &[]).await.1, "stub");
}

#[tokio::test]
async fn ones_own_start_up_code_serves() {
    let mesh = TestMesh::builder().workload(Workload::granted("reviews:9080").labels("version=v1"));
    let mesh = mesh.start().await.unwrap();
    let own = mesh.member("reviews-v1");
    let running = tokio::spawn(async move {
        let listener = MeshListener::bind(&own, "0.0.0.0:9080").await.unwrap();
        let app = MeshLayer::new(&own).layer(app("mine"));
        axum::serve(listener, app.into_make_service()).await
    });
    mesh.accepting("reviews-v1").await;
    assert_eq!(call(&mesh, "a", "http://reviews:9080/", &[]).await, (StatusCode::OK, "mine".into()));
    running.abort();
}

#[tokio::test]
async fn nothing_leaves_the_process() {
    let mesh = TestMesh::builder().service("api.example.com:80", "", app("stub")).start().await.unwrap();
    assert_eq!(call(&mesh, "a", "http://api.example.com/", &[]).await.1, "stub");
    for url in ["http://www.example.com/", "http://127.0.0.1:80/"] {
        let (status, body) = call(&mesh, "a", url, &[]).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body.contains("a test mesh has no network"), "{body}");
    }
}

#[test]
fn no_socket_is_opened() {
    // Without tokio's I/O driver, each attempt to open one would panic.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let mesh = reviews().documents(JASON).start().await.unwrap();
        assert_eq!(version(&mesh, &["end-user: jason"]).await, "v2");
        let (status, _) = call(&mesh, "a", "http://www.example.com/", &[]).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    });
}

#[tokio::test]
async fn two_meshes_share_nothing() {
    let one = reviews().documents(split(100, 0)).start().await.unwrap();
    let two = reviews().documents(split(0, 100)).start().await.unwrap();
    assert_eq!((version(&one, &[]).await.as_str(), version(&two, &[]).await.as_str()), ("v1", "v2"));
    assert_eq!((one.received("reviews-v2"), two.received("reviews-v1")), (0, 0));
    drop(one);
    assert_eq!(version(&two, &[]).await, "v2");
}

struct Lessor;

#[tonic::async_trait]
impl Registry for Lessor {
    async fn register(
        &self,
        request: tonic::Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let ports = request.into_inner().ports.len();
        Ok(Response::new(RegisterResponse { lease_seconds: u32::try_from(ports).unwrap() }))
    }

    async fn deregister(
        &self,
        _request: tonic::Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        Err(Status::not_found("nobody is registered"))
    }
}

#[tokio::test]
async fn grpc_goes_through_a_channel() {
    let denial = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: lessor}
spec:
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/tenant]}}]
";
    let routes = Routes::new(RegistryServer::new(Lessor));
    let mesh =
        TestMesh::builder().documents(denial).service("lessor:50051", "", routes).start().await.unwrap();
    let mut client = RegistryClient::new(MeshChannel::new(&mesh.member("tenant"), "lessor:50051"));
    let request = RegisterRequest { ports: vec![Default::default(); 3], ..Default::default() };
    assert_eq!(client.register(request).await.unwrap().into_inner().lease_seconds, 3);
    let refused = client.deregister(DeregisterRequest::default()).await.unwrap_err();
    assert_eq!(refused.message(), "nobody is registered");
    let mut stranger = RegistryClient::new(MeshChannel::new(&mesh.member("stranger"), "lessor:50051"));
    let denied = stranger.register(RegisterRequest::default()).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);
    assert_eq!(mesh.received("lessor"), 2);
}
