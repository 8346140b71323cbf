//! Health: instances that say themselves whether they want requests, and endpoints that are asked.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_client::{MeshChannel, MeshClient, MeshConnector};
use mesh_core::Mesh;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use mesh_tests::{ControlPlane, Echo, Served};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// How long a change may take to reach a caller on a busy machine; it is there within milliseconds on an idle one.
const SOON: Duration = Duration::from_secs(10);
/// So many calls go to one of two alone by chance once in 2⁴⁰ times.
const CALLS: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_not_ready_gets_no_requests() {
    let mut control_plane = ControlPlane::start();
    let token = ["--service", "echo:9080"];
    let (one, two) = (control_plane.join(&token).await, control_plane.join(&token).await);
    let _one = Served::start(&one, Echo::new("one")).await;
    two.readiness().set(false);
    let served = Served::start(&two, Echo::new("two")).await;
    let caller = control_plane.join(&["--service-account", "caller"]).await;

    answered_by(&caller, &["one"]).await;
    assert_eq!(served.echo.requests(), 0, "it was not ready before it served");
    let changed = Instant::now();
    two.readiness().set(true);
    answered_by(&caller, &["one", "two"]).await;
    two.readiness().set(false);
    answered_by(&caller, &["one"]).await;
    println!("there and back within {:?}", changed.elapsed());

    control_plane.restart();
    one.readiness().set(false);
    answered_by(&caller, &[]).await;
    let states = control_plane.mesh(&["status"]).success().matches("not ready").count();
    assert_eq!(states, 2, "both are known, as they were and as they became");
    one.readiness().set(true);
    answered_by(&caller, &["one"]).await;
}

/// Calls until so many calls in a row are answered by these and nobody else.
async fn answered_by(caller: &Mesh, names: &[&str]) {
    let mut client = EchoClient::new(MeshChannel::new(caller, "echo:9080"));
    let start = Instant::now();
    loop {
        let mut seen = Vec::new();
        for _ in 0..CALLS {
            if let Ok(answer) = client.unary(Message::default()).await {
                seen.push(answer.into_inner().text);
            }
        }
        seen.sort();
        seen.dedup();
        if seen == names {
            return;
        }
        assert!(start.elapsed() < SOON, "{seen:?} answer, and not {names:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server outside the mesh that is well or not, in HTTP and in gRPC, and counts who asks.
struct Patient {
    address: SocketAddr,
    facts: Arc<Facts>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Facts {
    ill: AtomicBool,
    probes: AtomicUsize,
    agents: Mutex<BTreeSet<String>>,
}

impl Drop for Patient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Patient {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let (address, facts) = (listener.local_addr().expect("an address"), Arc::<Facts>::default());
        let seen = facts.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((io, _)) = listener.accept().await {
                let facts = seen.clone();
                let service = hyper::service::service_fn(move |request| {
                    let answer = facts.answer(name, &request);
                    async move { Ok::<_, Infallible>(answer) }
                });
                connections.spawn(async move {
                    let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    // One that breaks off is the other end's doing.
                    let _ = server.serve_connection(TokioIo::new(io), service).await;
                });
            }
        });
        Self { address, facts, task }
    }

    fn falls_ill(&self) {
        self.facts.ill.store(true, Ordering::Relaxed);
    }

    fn recovers(&self) {
        self.facts.ill.store(false, Ordering::Relaxed);
    }

    fn probes(&self) -> usize {
        self.facts.probes.load(Ordering::Relaxed)
    }

    /// Waits until it has been asked so often again.
    async fn until_probed(&self, times: usize) {
        let (before, start) = (self.probes(), Instant::now());
        while self.probes() < before + times {
            assert!(start.elapsed() < SOON, "{} probes", self.probes() - before);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Facts {
    fn answer(
        &self,
        name: &'static str,
        request: &Request<hyper::body::Incoming>,
    ) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let ill = self.ill.load(Ordering::Relaxed);
        let is_grpc = request.uri().path() == "/grpc.health.v1.Health/Check";
        if is_grpc || request.uri().path() == "/healthz" {
            self.probes.fetch_add(1, Ordering::Relaxed);
            let agent = request.headers().get("user-agent").and_then(|agent| agent.to_str().ok());
            self.agents.lock().unwrap().insert(agent.unwrap_or_default().to_owned());
        }
        if is_grpc {
            let status = if ill { 2 } else { 1 };
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from(0))]);
            let body = Full::new(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]));
            let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
            let response = Response::builder().header("content-type", "application/grpc");
            return response.body(body.boxed_unsync()).unwrap();
        }
        let status = if ill && request.uri().path() == "/healthz" { 503 } else { 200 };
        Response::builder()
            .status(status)
            .body(Full::new(Bytes::from_static(name.as_bytes())).boxed_unsync())
            .unwrap()
    }
}

/// A service outside the mesh at these servers, of which each port is asked so.
fn entry(check: &str, protocol: &str, patients: &[&Patient]) -> String {
    let endpoint =
        |patient: &&Patient| format!("{{address: 127.0.0.1, ports: {{it: {}}}}}", patient.address.port());
    let endpoints: Vec<String> = patients.iter().map(endpoint).collect();
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata:\n  name: clinic\n  annotations:\n    \
         proxyless.mesh/health-check: '{check}, interval=100ms, timeout=2s, unhealthy=2, healthy=2'\nspec:\n  \
         hosts: [clinic.example]\n  ports: [{{number: 80, name: it, protocol: {protocol}}}]\n  resolution: STATIC\n  endpoints: [{}]\n",
        endpoints.join(", ")
    )
}

/// Who answers so many calls, by HTTP or by a connection.
async fn who_answers(caller: &Mesh) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for _ in 0..CALLS {
        let request = Request::get("http://clinic.example/").body(Empty::<Bytes>::new()).unwrap();
        let Ok(response) = MeshClient::new(caller).oneshot(request).await;
        let status = response.status();
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        if status.is_success() {
            seen.insert(String::from_utf8_lossy(&body).into_owned());
        }
    }
    seen.into_iter().collect()
}

async fn answer_only(caller: &Mesh, names: &[&str]) {
    let start = Instant::now();
    loop {
        let seen = who_answers(caller).await;
        if seen == names {
            return;
        }
        assert!(start.elapsed() < SOON, "{seen:?} answer, and not {names:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_are_asked_get_requests_while_they_are_well() {
    let control_plane = ControlPlane::start();
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    for (check, protocol) in [("http:/healthz", "HTTP"), ("grpc:clinic.v1.Ward", "GRPC")] {
        let (one, two) = (Patient::start("one").await, Patient::start("two").await);
        control_plane.apply("clinic.yaml", &entry(check, protocol, &[&one, &two]));
        answer_only(&caller, &["one", "two"]).await;
        two.falls_ill();
        answer_only(&caller, &["one"]).await;
        one.falls_ill();
        answer_only(&caller, &[]).await;
        two.recovers();
        answer_only(&caller, &["two"]).await;

        // What is known survives a change of configuration, and nobody is asked who has left.
        let three = Patient::start("three").await;
        control_plane.apply("clinic.yaml", &entry(check, protocol, &[&one, &three]));
        answer_only(&caller, &["three"]).await;
        let (left, start) = (two.probes(), Instant::now());
        one.until_probed(4).await;
        assert!(two.probes() <= left + 1, "{} probes in {:?}", two.probes() - left, start.elapsed());
        // Who is no longer asked is taken for well.
        let unasked = entry(check, protocol, &[&one, &three])
            .replace("proxyless.mesh/health-check", "example.com/check");
        control_plane.apply("clinic.yaml", &unasked);
        answer_only(&caller, &["one", "three"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_nobody_can_connect_to_gets_no_connection_tried() {
    let control_plane = ControlPlane::start();
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    let (one, two) = (Patient::start("one").await, Patient::start("two").await);
    control_plane.apply("clinic.yaml", &entry("tcp", "TCP", &[&one, &two]));
    let connector = MeshConnector::new(&caller);
    let met = async || {
        let mut met = BTreeSet::new();
        for _ in 0..CALLS {
            if let Ok(stream) = connector.connect("clinic.example:80").await {
                met.extend(stream.endpoint());
            }
        }
        met
    };
    let until = async |addresses: &[SocketAddr]| {
        let (wanted, start) = (addresses.iter().copied().collect(), Instant::now());
        while met().await != wanted {
            assert!(start.elapsed() < SOON, "not only {wanted:?}");
        }
    };
    until(&[one.address, two.address]).await;
    let ended = two.address;
    drop(two);
    until(&[one.address]).await;
    let again = TcpListener::bind(ended).await.expect("the port again");
    until(&[one.address, ended]).await;
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_asks_endpoints_as_the_mesh_says() {
    let control_plane = ControlPlane::start();
    let _echo = control_plane.serve("echo:9080", "v1", "v1").await;
    let (one, two) = (Patient::start("one").await, Patient::start("two").await);
    two.falls_ill();
    let route = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: echo}\n\
                 spec: {hosts: [echo], http: [{route: [{destination: {host: clinic.example, port: {number: 80}}}]}]}\n";
    control_plane.apply("clinic.yaml", &format!("{}{route}", entry("http:/healthz", "HTTP", &[&one, &two])));
    let (envoy, address) = super::envoy::envoy(&control_plane);
    let start = Instant::now();
    while super::envoy::get(address, "/", &[]).await.status != 200 {
        assert!(start.elapsed() < 3 * SOON, "{}", envoy.output());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    two.until_probed(3).await;
    for _ in 0..10 {
        assert_eq!(super::envoy::get(address, "/", &[]).await.body, "one");
    }
    assert_eq!(*one.facts.agents.lock().unwrap(), BTreeSet::from(["Envoy/HC".to_owned()]));
}
