//! One bad endpoint of three, over real sockets: it is ejected, then meets probes alone, and comes back once it is well.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use mesh_client::MeshClient;
use mesh_core::Mesh;
use mesh_tests::ControlPlane;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

/// The first ejection; the second lasts twice as long, the third three times.
const BASE: Duration = Duration::from_millis(500);
/// Three ejections and a half.
const ILL: Duration = Duration::from_millis(3250);
/// How long a change may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(2);
const FAILURES: usize = 3;

/// How an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// It answers 500.
    Failing,
    /// It reads the request and closes.
    BreakingOff,
    /// It takes connections and says nothing.
    Silent,
}

const MOODS: [Mood; 4] = [Mood::Well, Mood::Failing, Mood::BreakingOff, Mood::Silent];

/// A server outside the mesh.
#[derive(Debug, Clone, Default)]
struct Server {
    mood: Arc<AtomicU8>,
    requests: Arc<AtomicUsize>,
}

impl Server {
    async fn start(address: Ipv4Addr, port: u16) -> (Self, u16) {
        let listener = TcpListener::bind((address, port)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let server = Self::default();
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().serve(stream));
            }
        });
        (server, port)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut read = Vec::new();
        loop {
            let mut buffer = [0; 1024];
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return,
                Ok(length) => read.extend_from_slice(&buffer[..length]),
            }
            // A GET ends with its head.
            if !read.ends_with(b"\r\n\r\n") {
                continue;
            }
            read.clear();
            self.requests.fetch_add(1, Ordering::Relaxed);
            let answer = match MOODS[usize::from(self.mood.load(Ordering::Relaxed))] {
                Mood::Well => "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                Mood::Failing => "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
                Mood::BreakingOff => return,
                Mood::Silent => "",
            };
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn becomes(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::Relaxed);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A service of three addresses, its policy, and a time limit.
fn documents(name: &str, port: u16) -> String {
    let base = BASE.as_millis();
    format!(
        "---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example]
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  resolution: STATIC
  endpoints: [{{address: 127.0.0.1}}, {{address: 127.0.0.2}}, {{address: 127.0.0.3}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: {name}.example
  trafficPolicy:
    loadBalancer: {{simple: ROUND_ROBIN}}
    outlierDetection: {{consecutive5xxErrors: {FAILURES}, interval: 1s, baseEjectionTime: {base}ms}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec: {{hosts: [{name}.example], http: [{{timeout: 250ms, route: [{{destination: {{host: {name}.example}}}}]}}]}}
"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_endpoint_is_ejected_probed_and_readmitted() {
    let control_plane = ControlPlane::start();
    let mut services = Vec::new();
    for mood in [Mood::Failing, Mood::BreakingOff, Mood::Silent] {
        let (bad, port) = Server::start(Ipv4Addr::LOCALHOST, 0).await;
        let (second, _) = Server::start(Ipv4Addr::new(127, 0, 0, 2), port).await;
        let (third, _) = Server::start(Ipv4Addr::new(127, 0, 0, 3), port).await;
        let name = format!("{mood:?}").to_ascii_lowercase();
        control_plane.apply(&format!("{name}.yaml"), &documents(&name, port));
        services.push((mood, name, [bad, second, third]));
    }
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    let watched = services.into_iter().map(|(mood, name, servers)| {
        tokio::spawn(falls_ill_and_recovers(caller.clone(), format!("http://{name}.example/"), mood, servers))
    });
    for one in watched.collect::<Vec<_>>() {
        one.await.expect("as stated");
    }
}

async fn falls_ill_and_recovers(caller: Mesh, url: String, mood: Mood, servers: [Server; 3]) {
    let [bad, second, third] = &servers;
    let start = Instant::now();
    while servers.iter().any(|server| server.requests() < 3) {
        assert!(start.elapsed() < PATIENCE, "{url}: all three are asked");
        ask(&caller, &url).await;
    }
    bad.becomes(mood);
    let (before, start) = (bad.requests(), Instant::now());
    let mut failed = 0;
    while bad.requests() < before + FAILURES {
        assert!(start.elapsed() < PATIENCE, "{url}: it is asked as the others are");
        failed += usize::from(ask(&caller, &url).await != StatusCode::OK);
    }
    let (ejected, start) = (bad.requests(), Instant::now());
    let others = second.requests() + third.requests();
    while start.elapsed() < ILL {
        failed += usize::from(ask(&caller, &url).await != StatusCode::OK);
        tokio::time::sleep(PAUSE).await;
    }
    let probes = bad.requests() - ejected;
    // After 0.5, 1.5 and 3 s; a slow machine sees fewer.
    assert!((1..=3).contains(&probes), "{url}: {probes} probes in {ILL:?}");
    // One more, on a connection that it was closing: it fails here, and is not counted there.
    assert!(failed <= FAILURES + 1 + probes, "{url}: {failed} failed, {probes} of them probes");
    let asked = second.requests() + third.requests() - others;
    assert!(asked > 10 * probes, "{url}: {asked} at the others");
    println!("{url} {failed} failed, {probes} probes, {asked} requests at the others in {ILL:?}");
    bad.becomes(Mood::Well);
    let (well, start) = (bad.requests(), Instant::now());
    while bad.requests() < well + 20 {
        assert!(start.elapsed() < PATIENCE, "{url}: it is asked again");
        ask(&caller, &url).await;
        tokio::time::sleep(PAUSE).await;
    }
    println!("{url} asked as before after {:?}", start.elapsed());
}

async fn ask(caller: &Mesh, url: &str) -> StatusCode {
    let request = Request::get(url).body(Empty::<Bytes>::new()).expect("a request");
    let answer = MeshClient::new(caller).oneshot(request).await.expect("failures are responses");
    let status = answer.status();
    // An answer that breaks off has failed too, and says so by its status.
    let _ = answer.into_body().collect().await;
    status
}

/// Nobody listens at one of three addresses: a caller sees nothing of it, since what was not sent is sent elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_refuses_connections_fails_no_request_and_is_asked_again_once_it_listens() {
    let control_plane = ControlPlane::start();
    let (_second, port) = Server::start(Ipv4Addr::new(127, 0, 0, 2), 0).await;
    let (_third, _) = Server::start(Ipv4Addr::new(127, 0, 0, 3), port).await;
    control_plane.apply("refusing.yaml", &documents("refusing", port));
    let caller = control_plane.join(&["--service-account", "caller"]).await;
    let url = "http://refusing.example/";
    let start = Instant::now();
    while start.elapsed() < ILL {
        assert_eq!(ask(&caller, url).await, StatusCode::OK);
        tokio::time::sleep(PAUSE).await;
    }
    let (first, _) = Server::start(Ipv4Addr::LOCALHOST, port).await;
    let start = Instant::now();
    while first.requests() < 20 {
        assert!(start.elapsed() < PATIENCE, "it is asked again");
        assert_eq!(ask(&caller, url).await, StatusCode::OK);
        tokio::time::sleep(PAUSE).await;
    }
}
