//! A host vanishes without a word, or is heard no more, or hears no more: found dead within 15 s, whatever is spoken.
//!
//! Packets are dropped in a network namespace of the test's own, in which it runs again.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::{Router, routing};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use mesh_client::{MeshClient, MeshConnector, MeshStream};
use mesh_core::Mesh;
use mesh_server::{MeshListener, Server};
use mesh_tests::ControlPlane;
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;
use tower::ServiceExt;

const FOUND_WITHIN: Duration = Duration::from_secs(15);
const START: Duration = Duration::from_secs(30);
const INSIDE: &str = "MESH_TEST_NAMESPACE";

/// What is dropped of a server's packets, as `ip rule` tells them.
const VANISHED: [&[&str]; 3] = [&["dport", "sport"], &["dport"], &["sport"]];

#[test]
fn a_vanished_host_is_found_dead_within_15_seconds() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(inside());
        return;
    }
    let namespace = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net"]);
        command
    };
    if !namespace().arg("true").status().is_ok_and(|status| status.success()) {
        println!("not run: this machine lets nobody make a network namespace");
        return;
    }
    let own = std::env::current_exe().expect("a test knows its own path");
    let test = "vanished_hosts::a_vanished_host_is_found_dead_within_15_seconds";
    let ran = namespace().arg(own).args([test, "--exact", "--nocapture"]).env(INSIDE, "1").output();
    let ran = ran.expect("it ran a moment ago");
    let [told, said] = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    println!("{told}");
    assert!(ran.status.success(), "{said}");
    assert!(told.contains("1 passed"), "{told}");
}

async fn inside() {
    ip(&["link", "set", "lo", "up"]);
    let control_plane = ControlPlane::start();
    let mesh = control_plane.join(&["--service-account", "caller"]).await;
    let (mut peers, mut calls) = (Vec::new(), JoinSet::new());
    for (number, dropped) in VANISHED.into_iter().enumerate() {
        let peer = Peer::start(&control_plane, &mesh, number).await;
        for host in peer.hosts() {
            calls.spawn(end_of(
                format!("a call under way to {host}, {dropped:?}"),
                get(&mesh, &host, "/slow"),
            ));
        }
        peer.until_asked(2).await;
        for host in peer.hosts() {
            // A further connection of HTTP/1.1, which then is idle.
            assert_eq!(get(&mesh, &host, "/").await, "200 here");
        }
        let connected = MeshConnector::new(&mesh).connect(format!("bytes{number}:9080")).await;
        let connection = read(connected.expect("it is there"));
        calls.spawn(end_of(format!("a connection of bytes, {dropped:?}"), connection));
        peers.push((peer, dropped));
    }
    vanish(&peers);
    let start = Instant::now();
    for (peer, dropped) in &peers {
        for host in peer.hosts() {
            calls.spawn(end_of(format!("a call to {host}, {dropped:?}"), get(&mesh, &host, "/")));
        }
    }
    while let Some(ended) = calls.join_next().await {
        let (what, told, end) = ended.expect("no panic");
        let after = end - start;
        println!("{what}: {told} after {after:.1?}");
        assert!(["broke off", "timed out"].iter().any(|words| told.contains(words)), "{what}: {told}");
        assert!(after <= FOUND_WITHIN, "{what}: {after:?}");
    }
}

/// From here on these packets are lost.
fn vanish(peers: &[(Peer, &[&str])]) {
    // Behind what loses packets, for the kernel asks in this order.
    ip(&["rule", "add", "pref", "5", "lookup", "local"]);
    for (peer, dropped) in peers {
        for (port, side) in peer.ports.iter().flat_map(|port| dropped.iter().map(move |side| (port, side))) {
            ip(&["rule", "add", "pref", "1", "ipproto", "tcp", side, &port.to_string(), "blackhole"]);
        }
    }
    ip(&["rule", "del", "pref", "0"]);
}

fn ip(arguments: &[&str]) {
    let ran = Command::new("ip").args(arguments).output().expect("iproute2 is there");
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// A member that serves HTTP/2, HTTP/1.1 and bytes.
struct Peer {
    number: usize,
    ports: Vec<u16>,
    asked: Arc<AtomicU64>,
    _servers: JoinSet<()>,
}

impl Peer {
    async fn start(control_plane: &ControlPlane, caller: &Mesh, number: usize) -> Self {
        let plain = format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: plain{number}}}
spec: {{host: plain{number}, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}
"
        );
        control_plane.apply("plain.yaml", &plain);
        let services = ["http", "plain", "bytes"].map(|name| format!("{name}{number}:9080"));
        let words: Vec<&str> = services.iter().flat_map(|service| ["--service", service]).collect();
        let mesh = control_plane.join(&words).await;
        let (mut ports, mut servers, asked) = (Vec::new(), JoinSet::new(), Arc::<AtomicU64>::default());
        for service in &services[..2] {
            let server =
                Server::builder(&mesh).service(service).bind("127.0.0.1:0").await.expect("a free port");
            ports.push(server.address().port());
            let asked = asked.clone();
            let slow = move || async move {
                asked.fetch_add(1, Ordering::Relaxed);
                std::future::pending::<()>().await;
            };
            let app = Router::new()
                .route("/", routing::get(|| async { "here" }))
                .route("/slow", routing::get(slow));
            servers.spawn(async move { drop(server.serve_with_shutdown(app, std::future::pending()).await) });
        }
        let builder = MeshListener::builder(&mesh).service(&services[2]);
        let mut listener = builder.bind_opaque("127.0.0.1:0").await.expect("a free port");
        ports.push(listener.address().port());
        servers.spawn(async move {
            let mut open = Vec::new();
            while let Ok(conn) = listener.accept().await {
                open.push(conn);
            }
        });
        let peer = Self { number, ports, asked, _servers: servers };
        for host in peer.hosts() {
            until(&host, async || get(caller, &host, "/").await == "200 here").await;
        }
        let connector = MeshConnector::new(caller);
        until(&services[2], async || connector.connect(&services[2]).await.is_ok()).await;
        peer
    }

    /// Whom requests are sent to.
    fn hosts(&self) -> [String; 2] {
        ["http", "plain"].map(|name| format!("{name}{}:9080", self.number))
    }

    /// Waits until so many requests lie with it.
    async fn until_asked(&self, count: u64) {
        until("a request", async || self.asked.load(Ordering::Relaxed) == count).await;
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < START, "{what}: not within {START:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// What comes of it, and when.
async fn end_of(what: String, call: impl Future<Output = String>) -> (String, String, Instant) {
    let told = call.await;
    (what, told, Instant::now())
}

/// The answer's status and body.
fn get(mesh: &Mesh, host: &str, path: &str) -> impl Future<Output = String> + Send + 'static {
    let request =
        Request::get(format!("http://{host}{path}")).body(Empty::<Bytes>::new()).expect("a request");
    let client = MeshClient::new(mesh);
    async move {
        let Ok(answer) = client.oneshot(request).await;
        let status = answer.status().as_u16();
        match answer.into_body().collect().await {
            Ok(body) => format!("{status} {}", String::from_utf8_lossy(&body.to_bytes())),
            Err(error) => format!("{status}, {error}"),
        }
    }
}

async fn read(mut connection: MeshStream) -> String {
    match connection.read_u8().await {
        Ok(byte) => format!("read {byte}"),
        Err(error) => error.to_string(),
    }
}
