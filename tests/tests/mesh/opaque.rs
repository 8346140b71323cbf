//! Connections of bytes through the whole mesh: documents applied to a running control plane, two versions of a TCP service,
//! counted by the receivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use mesh_client::{ClientError, MeshClient, MeshConnector, MeshStream};
use mesh_core::Mesh;
use mesh_server::{Counters, Event, MeshListener};
use mesh_tests::ControlPlane;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tower::ServiceExt;

const PORTS: &str = "apiVersion: v1
kind: Service
metadata: {name: db}
spec:
  selector: {service.proxyless.mesh/db: 'true'}
  ports:
  - {name: tcp-sql, port: 5432}
  - {name: tcp-replica, port: 5433}
  - {name: tls-admin, port: 8443}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: db}
spec: {host: db, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
";

const RULES: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: db}
spec:
  hosts: [db, '*.db.example.com']
  tcp:
  - match: [{sourceLabels: {app: batch}}, {port: 5433}]
    route: [{destination: {host: db, subset: v2}}]
  - route:
    - {destination: {host: db, subset: v1}, weight: 3}
    - {destination: {host: db, subset: v2}, weight: 1}
  tls:
  - match: [{sniHosts: ['*.db.example.com'], port: 8443}]
    route: [{destination: {host: db, subset: v1}}]
  - match: [{sniHosts: [new.db.example.com]}]
    route: [{destination: {host: db, subset: v2}}]
";

/// One version of the service, which sends back what it reads once it has read all of it, its name before it.
struct Instance {
    connections: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
    /// Connections on which anything was said.
    asked: Arc<AtomicU64>,
    counters: Vec<Arc<Counters>>,
    _listeners: JoinSet<()>,
}

impl Instance {
    async fn start(control_plane: &ControlPlane, version: &'static str) -> Self {
        let services = ["--service", "db:5432", "--service", "db:5433", "--service", "db:8443"];
        let label = format!("version={version}");
        let mesh = control_plane.join(&[&services[..], &["--label", &label]].concat()).await;
        let [connections, bytes, asked] = [(); 3].map(|()| Arc::<AtomicU64>::default());
        let (mut counters, mut listeners) = (Vec::new(), JoinSet::new());
        for service in ["db:5432", "db:5433", "db:8443"] {
            let builder = MeshListener::builder(&mesh).service(service);
            let mut listener = builder.bind_opaque("127.0.0.1:0").await.expect("a free port");
            counters.push(listener.counters());
            let (connections, bytes, asked) = (connections.clone(), bytes.clone(), asked.clone());
            listeners.spawn(async move {
                let mut open = JoinSet::new();
                while let Ok(mut conn) = listener.accept().await {
                    connections.fetch_add(1, Ordering::SeqCst);
                    let (bytes, asked) = (bytes.clone(), asked.clone());
                    open.spawn(async move {
                        let mut read = Vec::new();
                        let _ = conn.read_to_end(&mut read).await;
                        bytes.fetch_add(read.len() as u64, Ordering::SeqCst);
                        asked.fetch_add(u64::from(!read.is_empty()), Ordering::SeqCst);
                        let answer = [version.as_bytes(), b" ", &read].concat();
                        let _ = conn.write_all(&answer).await;
                        let _ = conn.shutdown().await;
                    });
                }
            });
        }
        Self { connections, bytes, asked, counters, _listeners: listeners }
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    fn count(&self, event: Event) -> u64 {
        self.counters.iter().map(|counters| counters.count(event)).sum()
    }
}

/// What comes back for these bytes.
async fn exchange(mut stream: MeshStream, sent: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(sent).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

async fn who(connector: &MeshConnector, host: &str) -> String {
    let stream = connector.connect(host).await.unwrap_or_else(|failure| panic!("{host}: {failure}"));
    let answer = exchange(stream, b"hello").await.expect("an answer");
    String::from_utf8(answer).expect("text").strip_suffix(" hello").expect("an echo").to_owned()
}

/// Asks again until what is asked holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < WAIT, "{what}: not within {WAIT:?}");
        tokio::task::yield_now().await;
    }
}

/// Waits until a caller goes by the rule of that name.
async fn until_ruled(connector: &MeshConnector, host: &str, rule: &str) {
    until(&format!("{host} by {rule}"), async || {
        let stream = connector.connect(host).await;
        let went = stream.as_ref().ok().and_then(MeshStream::rule).and_then(|by| by.rule.as_deref());
        went == Some(rule)
    })
    .await;
}

async fn caller(control_plane: &ControlPlane, account: &str, label: &str) -> (Mesh, MeshConnector) {
    let mesh = control_plane.join(&["--service-account", account, "--label", label]).await;
    let connector = MeshConnector::new(&mesh);
    (mesh, connector)
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_go_by_port_weight_caller_and_server_name() {
    let control_plane = ControlPlane::start();
    let v1 = Instance::start(&control_plane, "v1").await;
    let v2 = Instance::start(&control_plane, "v2").await;
    let (mesh, web) = caller(&control_plane, "web", "app=web").await;

    // No document at all: identity, mTLS, balancing.
    until("the service is registered", async || web.connect("db:5432").await.is_ok()).await;
    let stream = web.connect("db:5432").await.expect("registered");
    assert!(stream.peer_id().is_some_and(|id| id.starts_with("spiffe://cluster.local/ns/default/sa/")));
    drop(stream);

    control_plane.apply("ports.yaml", PORTS);
    control_plane.apply("rules.yaml", RULES);
    until_ruled(&web, "db:5432", "tcp[1]").await;
    // Three standard deviations are passed by chance once in 450 times: a first sample that is off is drawn again, once.
    let mut off = sample(&web, &v1, &v2).await;
    if off > STANDARD_DEVIATIONS_3 {
        off = sample(&web, &v1, &v2).await;
    }
    assert!(off <= STANDARD_DEVIATIONS_3, "{off} connections from 3 to 1, twice");

    until_ruled(&web, "db:5433", "tcp[0]").await;
    let (_batch_mesh, batch) = caller(&control_plane, "batch", "app=batch").await;
    until_ruled(&batch, "db:5432", "tcp[0]").await;
    for _ in 0..20 {
        assert_eq!(who(&web, "db:5433").await, "v2");
        assert_eq!(who(&batch, "db:5432").await, "v2");
    }

    tls_passes_by_its_server_name(&web).await;
    requests_are_refused_by_name(&mesh, "db:5432").await;
    let said = control_plane.mesh(&["explain", "GET", "tcp://db:5432", "--from", "default/web"]).success();
    for part in ["VirtualService/default/db  tcp[1]", "subset v1  75 %", "subset v2  25 %", "let in"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    let said = control_plane.mesh(&["explain", "GET", "tcp://db:8443", "--sni", "new.db.example.com"]);
    assert!(said.success().contains("tls[1]"));
}

/// Connects 400 times; returns by how many v2's count, taken by the receivers, is off one in four.
async fn sample(connector: &MeshConnector, v1: &Instance, v2: &Instance) -> u64 {
    let asked = || [v1, v2].map(|version| version.asked.load(Ordering::SeqCst));
    let before = asked();
    for _ in 0..400 {
        who(connector, "db:5432").await;
    }
    let counts = [asked()[0] - before[0], asked()[1] - before[1]];
    assert_eq!(counts[0] + counts[1], 400);
    counts[1].abs_diff(100)
}

/// The application's own TLS, of which the mesh reads nothing.
async fn tls_passes_by_its_server_name(connector: &MeshConnector) {
    // A record of a handshake, as every TLS client begins with one.
    let hello = [&[0x16, 3, 1, 0, 4][..], b"\x01\0\0\0"].concat();
    until("the tls rules", async || connector.connect_tls("db:8443", "a.db.example.com").await.is_ok()).await;
    for (name, version) in [("old.db.example.com", "v1"), ("NEW.db.example.com", "v2")] {
        let stream = connector.connect_tls("db:8443", name).await.unwrap_or_else(|error| panic!("{error}"));
        let answer = exchange(stream, &hello).await.expect("an answer");
        assert_eq!(answer, [version.as_bytes(), b" ", &hello].concat(), "{name}");
    }
    for refused in
        [connector.connect_tls("db:8443", "elsewhere.com").await, connector.connect("db:8443").await]
    {
        let failure = refused.map(|stream| stream.endpoint()).expect_err("no rule takes it");
        assert!(matches!(failure.error, ClientError::NoServerName { .. }), "{failure}");
    }
}

async fn requests_are_refused_by_name(mesh: &Mesh, host: &str) {
    let request = Request::get(format!("http://{host}/")).body(Empty::<Bytes>::new()).expect("a request");
    let Ok(response) = MeshClient::new(mesh).oneshot(request).await;
    assert_eq!(response.status(), 400);
    let error = response.extensions().get::<ClientError>().expect("an answer of the mesh's own");
    assert!(matches!(error, ClientError::Opaque { .. }), "{error}");
}

const POLICY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: db}
spec:
  selector: {matchLabels: {service.proxyless.mesh/db: 'true'}}
  action: DENY
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/mallory]}}]}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
";

#[tokio::test(flavor = "multi_thread")]
async fn whom_policy_refuses_the_application_never_sees() {
    let control_plane = ControlPlane::start();
    let served = Instance::start(&control_plane, "v1").await;
    control_plane.apply("ports.yaml", PORTS);
    let (_alice_mesh, alice) = caller(&control_plane, "alice", "app=web").await;
    let (_mallory_mesh, mallory) = caller(&control_plane, "mallory", "app=web").await;
    until("the service is registered", async || mallory.connect("db:5432").await.is_ok()).await;
    assert_eq!(who(&mallory, "db:5432").await, "v1", "nothing is forbidden yet");

    control_plane.apply("policy.yaml", POLICY);
    // The policy holds once a connection has been refused by it.
    until("the policy", async || {
        drop(mallory.connect("db:5432").await);
        served.count(Event::DeniedConnection) > 0
    })
    .await;
    until("all are counted", async || served.count(Event::Accepted) == served.connections()).await;
    let (connections, bytes) = (served.connections(), served.bytes.load(Ordering::SeqCst));
    for _ in 0..10 {
        let stream = mallory.connect("db:5432").await.unwrap_or_else(|failure| panic!("{failure}"));
        let told = exchange(stream, b"a secret").await;
        assert!(told.as_ref().map_or(true, Vec::is_empty), "{told:?}");
    }
    assert_eq!(who(&alice, "db:5432").await, "v1");
    assert_eq!(served.connections(), connections + 1, "alice's alone");
    assert_eq!(served.bytes.load(Ordering::SeqCst), bytes + 5, "alice's `hello`");
    let said =
        control_plane.mesh(&["explain", "GET", "tcp://db:5432", "--from", "default/mallory"]).success();
    assert!(said.contains("refused") && said.contains("AuthorizationPolicy/default/db"), "{said}");
}

/// Of 400 draws at 1 in 4.
const STANDARD_DEVIATIONS_3: u64 = 26;
const WAIT: Duration = Duration::from_secs(30);
