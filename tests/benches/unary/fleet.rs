//! A control plane with documents, a server in the mesh, and a bare server of the same handlers beside it.

use std::net::SocketAddr;
use std::time::Duration;

use control_plane::admin::{Client, Credential, proto};
use control_plane::serve::{Options, Server};
use mesh_client::MeshChannel;
use mesh_core::Mesh;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use mesh_tests::{Echo, Served};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::Code;

use super::bare;
use super::contender::{Contender, Kind};

/// What there is to be called, and who may call it.
pub(super) struct Fleet {
    caller: Mesh,
    bare: SocketAddr,
    bare_echo: Echo,
    served: Served,
    _control_plane: Runtime,
    _data: TempDir,
}

impl Fleet {
    /// Starts everything and waits until the documents hold: the caller is let in, a stranger is not.
    pub(super) fn start(callers: &Runtime, servers: &Runtime) -> Self {
        let data = tempfile::tempdir().expect("a temporary directory");
        let control_plane = Runtime::new().expect("a runtime");
        let mut admin = control_plane.block_on(start_control_plane(&data));
        let [server, caller, stranger] = control_plane.block_on(async {
            let server = join(&mut admin, "echo", Some(PORT)).await;
            [server, join(&mut admin, "caller", None).await, join(&mut admin, "stranger", None).await]
        });
        let bare_echo = Echo::new("echo");
        let (served, bare) = servers.block_on(async {
            let served = Served::start(&server, Echo::new("echo")).await;
            (served, bare::serve(&server, bare_echo.routes()).await)
        });
        callers.block_on(async {
            until(&caller, Code::Ok).await;
            until(&stranger, Code::PermissionDenied).await;
        });
        Self { caller, bare, bare_echo, served, _control_plane: control_plane, _data: data }
    }

    /// A contender with its connection made.
    pub(super) fn contender(&self, callers: &Runtime, kind: Kind) -> Contender {
        callers.block_on(async {
            let mut contender = match kind {
                Kind::Mesh => Contender::Mesh(EchoClient::new(channel(&self.caller))),
                Kind::Tonic => {
                    Contender::Tonic(EchoClient::new(bare::tonic_client(&self.caller, self.bare).await))
                }
                Kind::Hyper => Contender::Hyper(bare::hyper_client(&self.caller, self.bare).await),
            };
            contender.calls(WARM_UP_CALLS).await;
            contender
        })
    }

    /// The comparison is fair: the mesh used one connection, tonic and hyper one each. The stranger's calls reach no handler.
    pub(super) fn assert_one_connection_each(&self) {
        assert_eq!(self.served.echo.connections().len(), 1);
        assert_eq!(self.bare_echo.connections().len(), 2);
    }
}

async fn start_control_plane(data: &TempDir) -> Client {
    let mut options = Options::new(data.path());
    options.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    options.plain = SocketAddr::from(([127, 0, 0, 1], 0));
    let control_plane = Server::start(options).await.expect("a control plane");
    tokio::spawn(control_plane.run(std::future::pending()));
    let credential = Credential::read(&Options::credential_in(data.path())).expect("its credential");
    let mut admin = Client::connect(&credential).await.expect("its administrator is let in");
    let sources = vec![proto::Source { file: "echo.yaml".into(), text: DOCUMENTS.into() }];
    let applied =
        admin.apply(proto::ApplyRequest { sources, dry_run: false }).await.expect("documents are judged");
    assert!(applied.applied, "{}", applied.verdicts_json);
    admin
}

async fn join(admin: &mut Client, account: &str, port: Option<u16>) -> Mesh {
    let services = port.map(|port| proto::GrantedService { name: account.into(), port: port.into() });
    let request = proto::CreateTokenRequest {
        service_account: account.into(),
        services: services.into_iter().collect(),
        labels: [("version".to_owned(), "v1".to_owned())].into(),
        ..proto::CreateTokenRequest::default()
    };
    let token = admin.create_token(request).await.expect("a token");
    Mesh::builder(token.join).save_nothing().start().await.expect("a member")
}

fn channel(mesh: &Mesh) -> MeshChannel {
    MeshChannel::new(mesh, format!("echo:{PORT}"))
}

/// Calls until a call ends as it is to end.
async fn until(caller: &Mesh, expected: Code) {
    let mut client = EchoClient::new(channel(caller));
    let mut last = Ok(());
    for _ in 0..START_ATTEMPTS_MAX {
        last = client.unary(Message::default()).await.map(drop);
        if last.as_ref().err().map_or(Code::Ok, tonic::Status::code) == expected {
            return;
        }
        tokio::time::sleep(START_PAUSE).await;
    }
    panic!("a call does not end with {expected:?}: {last:?}");
}

const PORT: u16 = 9080;
const WARM_UP_CALLS: usize = 100;
const START_ATTEMPTS_MAX: usize = 600;
const START_PAUSE: Duration = Duration::from_millis(50);

/// Everything on: subsets, a match on a header that does not match, a split, a policy. All weight is on one cluster, since each has
/// connections of its own, and the others have one.
const DOCUMENTS: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo}
spec:
  host: echo
  subsets:
  - {name: v1, labels: {version: v1}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: echo}
spec:
  hosts: [echo]
  http:
  - match:
    - headers: {end-user: {exact: jason}}
    route:
    - destination: {host: echo}
  - route:
    - destination: {host: echo, subset: v1}
      weight: 100
    - destination: {host: echo}
      weight: 0
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec:
  mtls: {mode: STRICT}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: echo}
spec:
  selector: {matchLabels: {app: echo}}
  rules:
  - from:
    - source: {principals: [cluster.local/ns/default/sa/caller]}
    to:
    - operation: {methods: [POST], paths: [/echo.v1.Echo/*]}
";
