//! A whole control plane and whole members: what one registers and an administrator applies, the other finds.

use std::path::Path;
use std::time::Duration;

use mesh_core::Mesh;
use mesh_core::canonical::HostPort;
use mesh_core::mesh::ServingPort;
use mesh_core::snapshot::{HostConfig, HostState};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::admin::proto::{ApplyRequest, CreateTokenRequest, GrantedService, Source};
use crate::admin::{Client, Credential};
use crate::serve::{Options, ServeError, Server};
use crate::store::OpenError;

struct ControlPlane {
    address: String,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl ControlPlane {
    async fn start(folder: &Path, listen: &str) -> Self {
        let mut options = Options::new(folder.join("data"));
        options.listen = listen.parse().unwrap();
        options.plain = "127.0.0.1:0".parse().unwrap();
        options.credential = Some(folder.join("home/admin.json"));
        let server = loop {
            // An earlier run lets go of its store once its last task has been dropped.
            match Server::start(options.clone()).await {
                Err(ServeError::Store(OpenError::InUse(_))) => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                started => break started.unwrap(),
            }
        };
        let address = server.address().to_string();
        let (stop, stopped) = oneshot::channel();
        Self { address, stop, running: tokio::spawn(server.run(async move { drop(stopped.await) })) }
    }

    async fn stop(self) {
        drop(self.stop);
        self.running.await.unwrap().unwrap();
    }

    async fn admin(&self, folder: &Path) -> Client {
        Client::connect(&Credential::read(&folder.join("data/admin.json")).unwrap()).await.unwrap()
    }

    async fn token(&self, folder: &Path) -> String {
        let services = vec![GrantedService { name: "reviews".into(), port: 9080 }];
        let request = CreateTokenRequest { services, uses_max: 10, ..CreateTokenRequest::default() };
        self.admin(folder).await.create_token(request).await.unwrap().join
    }
}

/// Waits until a host is configured as wished.
async fn until(mesh: &Mesh, wished: impl Fn(&HostConfig) -> bool) {
    let reviews = HostPort::parse("reviews:9080", 80).unwrap();
    mesh.resolve(&reviews, LONG).await.unwrap();
    let reached = async {
        while !matches!(mesh.host(&reviews), Some(HostState::Ready(config)) if wished(&config)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, reached).await.unwrap_or_else(|_| panic!("{:#?}", mesh.host(&reviews)));
}

fn rules(config: &HostConfig) -> usize {
    config.routes.as_ref().map_or(0, |routes| routes.routes().len())
}

fn endpoints(config: &HostConfig) -> usize {
    config.clusters.iter().flatten().map(|cluster| cluster.endpoints.len()).sum()
}

const LONG: Duration = Duration::from_secs(20);

const ABORTED: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - match: [{uri: {prefix: /old}}]
    directResponse: {status: 410}
  - route: [{destination: {host: reviews}}]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_find_each_other_follow_documents_and_outlive_their_control_plane() {
    let (data, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let control_plane = ControlPlane::start(data.path(), "127.0.0.1:0").await;
    let address = control_plane.address.clone();
    let token = control_plane.token(data.path()).await;
    let server = Mesh::builder(&token).save_nothing().start().await.unwrap();
    let inbound = server.inbound("inbound/127.0.0.1:41001");
    tokio::time::timeout(LONG, inbound.available()).await.unwrap();
    let port = ServingPort { service: None, workload_port: 41001, advertised_address: None };
    let registration = server.register(port);
    registration.registered().await.unwrap();

    let saved = state.path().join("state");
    let client = Mesh::builder(&token).state_directory(&saved).start().await.unwrap();
    let inbound = client.inbound("inbound/127.0.0.1:41002");
    tokio::time::timeout(LONG, inbound.available()).await.unwrap();
    until(&client, |config| endpoints(config) == 1 && rules(config) == 1).await;
    let text = ABORTED.to_owned();
    let request =
        ApplyRequest { sources: vec![Source { file: "reviews.yaml".into(), text }], dry_run: false };
    control_plane.admin(data.path()).await.apply(request).await.unwrap();
    until(&client, |config| rules(config) == 2).await;

    control_plane.stop().await;
    drop((client, inbound));
    let client = Mesh::builder(&token).state_directory(&saved).start().await.unwrap();
    let reviews = HostPort::parse("reviews:9080", 80).unwrap();
    assert!(matches!(client.host(&reviews), Some(HostState::Ready(_))), "at once, from what was saved");
    let inbound = client.inbound("inbound/127.0.0.1:41002");
    assert!(inbound.current().is_some(), "so that a restarted server lets in whom its policy names");

    let control_plane = ControlPlane::start(data.path(), &address).await;
    registration.withdraw().await;
    until(&client, |config| endpoints(config) == 0).await;
    control_plane.stop().await;
}
