//! The control plane over real sockets: joining, renewing, registering, administration, and everybody who is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::identity::{Identity, IdentitySource};
use mesh_core::join::{self, ControlPlaneConnector, JoinString};
use mesh_core::proto::ca::IstioCertificateRequest;
use mesh_core::proto::ca::istio_certificate_service_client::IstioCertificateServiceClient;
use mesh_core::proto::registry::registry_client::RegistryClient;
use mesh_core::proto::registry::{DeregisterRequest, RegisterRequest, ServingPort};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::{Options, ServeError, Server};
use crate::admin::proto::admin_client::AdminClient;
use crate::admin::proto::{
    ApplyRequest, CreateTokenRequest, DeleteRequest, DocumentName, GrantedService, ListRequest, Source,
    StatusRequest,
};
use crate::admin::{Client, Credential};

const PATIENCE: Duration = Duration::from_secs(5);

struct ControlPlane {
    folder: tempfile::TempDir,
    address: String,
    plain: String,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ServeError>>,
}

impl ControlPlane {
    async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), "127.0.0.1:0").await
    }

    async fn start_in(folder: tempfile::TempDir, listen: &str) -> Self {
        let mut options = Options::new(folder.path().join("data"));
        options.listen = listen.parse().unwrap();
        options.plain = "127.0.0.1:0".parse().unwrap();
        options.credential = Some(folder.path().join("home/admin.json"));
        let server = Server::start(options).await.unwrap();
        let (address, plain) = (server.address().to_string(), server.plain().to_string());
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async move { drop(stopped.await) }));
        Self { folder, address, plain, stop: Some(stop), running }
    }

    async fn restart(mut self) -> Self {
        drop(self.stop.take());
        self.running.await.unwrap().unwrap();
        Self::start_in(self.folder, &self.address).await
    }

    fn credential(&self) -> Credential {
        Credential::read(&self.folder.path().join("data/admin.json")).unwrap()
    }

    async fn admin(&self) -> Client {
        Client::connect(&self.credential()).await.unwrap()
    }

    async fn token(&self, uses_max: u32) -> JoinString {
        let services = vec![GrantedService { name: "reviews".into(), port: 9080 }];
        let labels = [("version".to_owned(), "v1".to_owned())].into();
        let request = CreateTokenRequest { services, labels, uses_max, ..CreateTokenRequest::default() };
        JoinString::parse(&self.admin().await.create_token(request).await.unwrap().join).unwrap()
    }

    async fn member(&self) -> (Arc<IdentitySource>, Channel) {
        let join = self.token(1).await;
        let source = IdentitySource::new(join::join(&join, PATIENCE).await.unwrap());
        let channel = channel(&join, &source);
        (source, channel)
    }

    async fn http(&self, path: &str) -> String {
        use tokio::io::AsyncWriteExt;
        let mut stream = TcpStream::connect(&self.plain).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

fn channel(join: &JoinString, source: &Arc<IdentitySource>) -> Channel {
    ControlPlaneConnector::new(join.addresses.clone(), source).unwrap().channel()
}

fn registration(port: u32) -> RegisterRequest {
    RegisterRequest {
        instance_id: "one".into(),
        ports: vec![ServingPort { workload_port: port, ..ServingPort::default() }],
        draining: false,
        not_ready: false,
        library_version: "0.1.0".into(),
    }
}

const ROUTE: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
  - route:
    - destination: {host: reviews}
";

fn source(text: &str) -> ApplyRequest {
    ApplyRequest { sources: vec![Source { file: "reviews.yaml".into(), text: text.into() }], dry_run: false }
}

#[tokio::test]
async fn a_process_joins_registers_renews_and_is_known_after_a_restart() {
    let control_plane = ControlPlane::start().await;
    let (source, channel) = control_plane.member().await;
    assert_eq!(source.current().svid.id().as_str(), "spiffe://cluster.local/ns/default/sa/reviews");
    let mut registry = RegistryClient::new(channel.clone());
    let lease = registry.register(registration(41001)).await.unwrap().into_inner().lease_seconds;
    assert_eq!(lease, 30);
    let discovered = control_plane.http("/sd").await;
    assert!(discovered.contains(r#""targets":["127.0.0.1:41001"]"#), "{discovered}");

    let control_plane = control_plane.restart().await;
    assert!(control_plane.http("/sd").await.contains("127.0.0.1:41001"));
    let renewed = join::renew(channel, &source).await.unwrap();
    assert_ne!(renewed.svid.serial(), source.current().svid.serial());
    source.replace(renewed);
    let admin = control_plane.credential();
    let addresses: Vec<_> =
        admin.addresses.iter().map(|text| join::ControlPlaneAddress::parse(text).unwrap()).collect();
    let channel = ControlPlaneConnector::new(addresses, &source).unwrap().channel();
    RegistryClient::new(channel).deregister(DeregisterRequest { instance_id: "one".into() }).await.unwrap();
    assert!(!control_plane.http("/sd").await.contains("41001"));
}

#[tokio::test]
async fn a_token_is_refused_once_used_up_or_unknown_and_the_caller_learns_nothing() {
    let control_plane = ControlPlane::start().await;
    let join = control_plane.token(1).await;
    join::join(&join, PATIENCE).await.unwrap();
    let check = async |join: &JoinString| {
        // The same word for every reason; why stands in the control plane's log.
        match join::join(join, PATIENCE).await.unwrap_err() {
            join::JoinError::Refused { message } => assert_eq!(message, "refused"),
            other => panic!("{other}"),
        }
    };
    check(&join).await;
    let mut wrong = control_plane.token(5).await;
    wrong.token.secret.0[0] ^= 1;
    check(&wrong).await;
    let revoked = control_plane.token(5).await;
    control_plane.admin().await.revoke_token(revoked.token.id.as_str()).await.unwrap();
    check(&revoked).await;
    let metrics = control_plane.http("/metrics").await;
    assert!(metrics.contains("mesh_certificates_issued_total 1\n"), "{metrics}");
    assert!(metrics.contains("mesh_certificates_refused_total 3\n"), "{metrics}");
}

#[tokio::test]
async fn another_control_plane_is_not_joined() {
    let (ours, theirs) = (ControlPlane::start().await, ControlPlane::start().await);
    let mut join = ours.token(1).await;
    join.addresses = theirs.token(1).await.addresses;
    let refused = join::join(&join, Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(ours.admin().await.list_tokens().await.unwrap()[0].uses, 0, "{refused}");
    let mut credential = ours.credential();
    credential.addresses = theirs.credential().addresses;
    assert!(matches!(Client::connect(&credential).await, Err(crate::admin::ClientError::Unreachable(_))));
}

/// A connection that shows no certificate.
async fn nobody(control_plane: &ControlPlane) -> Channel {
    ControlPlaneConnector::joining(&control_plane.token(1).await).unwrap().channel()
}

#[tokio::test]
async fn each_service_takes_its_own_kind_of_caller_and_no_other() {
    let control_plane = ControlPlane::start().await;
    let nobody = nobody(&control_plane).await;
    let (_, member) = control_plane.member().await;
    let administrator = {
        let identity: Identity = control_plane.credential().identity().unwrap();
        let join = control_plane.token(1).await;
        channel(&join, &IdentitySource::new(identity))
    };
    let check = |status: Status, code: Code| assert_eq!((status.code(), status.message()), (code, "refused"));
    let status = async |channel: &Channel| AdminClient::new(channel.clone()).status(StatusRequest {}).await;
    check(status(&nobody).await.unwrap_err(), Code::Unauthenticated);
    check(status(&member).await.unwrap_err(), Code::PermissionDenied);
    status(&administrator).await.unwrap();
    let register =
        async |channel: &Channel| RegistryClient::new(channel.clone()).register(registration(1)).await;
    check(register(&nobody).await.unwrap_err(), Code::Unauthenticated);
    check(register(&administrator).await.unwrap_err(), Code::PermissionDenied);
    register(&member).await.unwrap();
    let renew = async |channel: &Channel| {
        let csr = rcgen::CertificateParams::default();
        let csr = csr.serialize_request(&rcgen::KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let request = IstioCertificateRequest { csr, ..IstioCertificateRequest::default() };
        IstioCertificateServiceClient::new(channel.clone()).create_certificate(request).await
    };
    check(renew(&nobody).await.unwrap_err(), Code::Unauthenticated);
    check(renew(&administrator).await.unwrap_err(), Code::Unauthenticated);
    renew(&member).await.unwrap();
}

#[tokio::test]
async fn what_is_not_granted_is_not_registered() {
    let control_plane = ControlPlane::start().await;
    let (_, member) = control_plane.member().await;
    let ports = vec![ServingPort {
        service: "ratings".into(),
        service_port: 9080,
        workload_port: 1,
        ..ServingPort::default()
    }];
    let request = RegisterRequest { ports, ..registration(1) };
    let refused = RegistryClient::new(member).register(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("does not grant ratings:9080"), "{refused}");
}

#[tokio::test]
async fn documents_are_applied_whole_listed_and_deleted() {
    let control_plane = ControlPlane::start().await;
    let mut admin = control_plane.admin().await;
    let bad = admin.apply(source(&format!("{ROUTE}---\n{}", ROUTE.replace("hosts", "host")))).await.unwrap();
    assert!(!bad.applied && bad.verdicts_json.contains("reviews.yaml:14"), "{}", bad.verdicts_json);
    assert!(admin.list(ListRequest::default()).await.unwrap().documents.is_empty());

    let dry = admin.apply(ApplyRequest { dry_run: true, ..source(ROUTE) }).await.unwrap();
    assert!(!dry.applied && dry.changes.len() == 1);
    let good = admin.apply(source(ROUTE)).await.unwrap();
    assert!(good.applied);
    let again = admin.apply(source(ROUTE)).await.unwrap();
    assert!(again.applied && again.changes[0].action == 0);
    let listed = admin.list(ListRequest { kind: "vs".into(), ..ListRequest::default() }).await.unwrap();
    assert_eq!(
        (listed.documents[0].text.as_str(), listed.documents[0].at.as_str()),
        (ROUTE, "reviews.yaml:1")
    );

    let control_plane = control_plane.restart().await;
    let mut admin = control_plane.admin().await;
    let status: serde_json::Value = serde_json::from_str(&admin.status().await.unwrap()).unwrap();
    assert_eq!(status["documents"]["count"], 1);
    let name =
        |kind: &str| DocumentName { kind: kind.into(), namespace: "default".into(), name: "reviews".into() };
    let missing = admin
        .delete(DeleteRequest { documents: vec![name("DestinationRule")], ..DeleteRequest::default() })
        .await;
    assert!(missing.unwrap_err().to_string().contains("there is no DestinationRule/default/reviews"));
    let deleted = admin
        .delete(DeleteRequest { documents: vec![name("VirtualService")], ..DeleteRequest::default() })
        .await
        .unwrap();
    assert!(deleted.applied);
    assert!(control_plane.http("/metrics").await.contains("mesh_documents 0\n"));
}

#[tokio::test]
async fn explanations_are_of_what_is_applied_and_registered() {
    let control_plane = ControlPlane::start().await;
    let (_, member) = control_plane.member().await;
    RegistryClient::new(member).register(registration(41001)).await.unwrap();
    let mut admin = control_plane.admin().await;
    admin.apply(source(ROUTE)).await.unwrap();
    let questions = [r#"{"url": "http://reviews:9080/"}"#, "no question"].map(str::to_owned);
    let answers = admin.explain(questions.to_vec()).await.unwrap();
    let decision: serde_json::Value = serde_json::from_str(&answers[0]).unwrap();
    assert_eq!(decision["route"]["at"], "reviews.yaml:7", "{decision:#}");
    let endpoint = &decision["destinations"][0]["endpoints"][0];
    assert_eq!(
        (&endpoint["address"], &endpoint["workload"]),
        (&"127.0.0.1:41001".into(), &"default/reviews-v1".into())
    );
    assert!(answers[1].starts_with(r#"{"error":"#), "{}", answers[1]);
}

#[tokio::test]
async fn a_silent_peer_holds_up_nobody() {
    let control_plane = ControlPlane::start().await;
    let silent: Vec<TcpStream> = futures_util::future::join_all(
        (0..50).map(async |_| TcpStream::connect(&control_plane.address).await.unwrap()),
    )
    .await;
    control_plane.admin().await.status().await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_second_control_plane_on_the_same_data_is_refused() {
    let control_plane = ControlPlane::start().await;
    let mut options = Options::new(control_plane.folder.path().join("data"));
    let free: SocketAddr = "127.0.0.1:0".parse().unwrap();
    (options.listen, options.plain) = (free, free);
    let error = Server::start(options).await.err().unwrap().to_string();
    assert!(error.contains("is open in another process"), "{error}");
    let taken: SocketAddr = control_plane.address.parse().unwrap();
    for (listen, plain) in [(taken, free), (free, taken)] {
        let other = control_plane.folder.path().join("other");
        let options = Options { listen, plain, ..Options::new(&other) };
        let error = Server::start(options).await.err().unwrap().to_string();
        assert!(error.contains("cannot listen on 127.0.0.1:"), "{error}");
        assert!(!other.exists(), "a start that failed left something behind");
    }
}
