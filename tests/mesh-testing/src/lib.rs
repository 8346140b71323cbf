//! A whole mesh inside one test: your documents and your services, without a network and without a control plane's process.
//!
//! ```
//! use axum::{Router, routing::get};
//! use mesh_client::MeshClient;
//! use mesh_testing::TestMesh;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let documents = "
//! # apiVersion: networking.istio.io/v1
//! # kind: DestinationRule
//! # metadata: {name: reviews}
//! # spec: {host: reviews, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
//! # ---
//! # apiVersion: networking.istio.io/v1
//! # kind: VirtualService
//! # metadata: {name: reviews}
//! # spec:
//! #   hosts: [reviews]
//! #   http:
//! #   - match: [{headers: {end-user: {exact: jason}}}]
//! #     route: [{destination: {host: reviews, subset: v2}}]
//! #   - route: [{destination: {host: reviews, subset: v1}}]
//! # ";
//! // let documents = include_str!("../mesh/reviews.yaml");
//! let mesh = TestMesh::builder()
//!     .documents(documents)
//!     .service("reviews:9080", "version=v1", Router::new().route("/", get(|| async { "no stars" })))
//!     .service("reviews:9080", "version=v2", Router::new().route("/", get(|| async { "black stars" })))
//!     .start()
//!     .await?;
//! let client = MeshClient::new(&mesh.member("productpage"));
//! let request = http::Request::get("http://reviews:9080/").header("end-user", "jason").body(String::new())?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! assert_eq!((mesh.received("reviews-v1"), mesh.received("reviews-v2")), (0, 1));
//! # Ok(()) }
//! ```
//! What a request meets here is what it meets in a running mesh: documents are judged as `mesh apply` judges them, translated and
//! encoded as xDS, parsed, joined and acknowledged as any member does, and the two stacks of `mesh-client` and `mesh-server`
//! carry it, over mutual TLS with an SVID for each member. What is missing is the network: members reach each other through
//! pipes within the process, and nothing else can be reached at all. A host outside the mesh is a service of that name
//! (`service("api.example.com:443", …)`).
//!
//! A failing test fails again: members draw from one [seed](TestMeshBuilder::seed), in a `current_thread` runtime in the same
//! order each time. Time may be paused (`start_paused`): delays, timeouts and back-offs between attempts pass at once. Two things go by
//! the system's clock even then: how long an endpoint is left alone after a connect to it failed, and the times of a
//! session.
//!
//! # Layout
//! [`TestMeshBuilder`] what a test says · [`Workload`] who serves, and what a member is · [`TestMesh`] the running mesh ·
//! `control` the control plane's part: documents, what serves, what each member is told · `member` one of them · `serving` an
//! application of it · `authority` certificates · [`TestMeshError`] what can be wrong.

mod authority;
mod builder;
mod control;
mod error;
mod member;
mod serving;
mod test_mesh;
mod workload;

pub use builder::TestMeshBuilder;
pub use error::TestMeshError;
pub use mesh_server::Event;
pub use test_mesh::TestMesh;
pub use workload::Workload;
