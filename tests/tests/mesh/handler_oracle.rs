//! The handler as the witness: whatever raw requests are made up against `DENY /admin*`, no handler of `/admin` ever runs,
//! also while policies change.
//!
//! The same requests are sent before there is a policy, to show that they do reach the handler.

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use fastrand::Rng;
use http::Method;
use mesh_server::Server;
use mesh_tests::{ControlPlane, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REQUESTS: u64 = 10_000;
/// That are sent on one connection, without waiting for answers.
const AT_ONCE: u64 = 20;
/// Shown to reach the handler, before there is a policy.
const WITHOUT_POLICY: u64 = 500;
const PATIENCE: Duration = Duration::from_secs(20);

/// `MESH_ORACLE_REQUESTS` says how many (the soak: 10⁶), `MESH_ORACLE_SEED` repeats a run.
#[tokio::test(flavor = "multi_thread")]
async fn no_handler_behind_a_denial_ever_runs() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let requests = number("MESH_ORACLE_REQUESTS").unwrap_or(REQUESTS);
    let seed = number("MESH_ORACLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("MESH_ORACLE_SEED={seed}");
    let control_plane = Arc::new(ControlPlane::start());
    let mesh = control_plane.join(&["--service", "shop:9080"]).await;
    let site = Site::start(Server::builder(&mesh).bind("127.0.0.1:0").await.expect("a free port"));

    let mut random = Rng::with_seed(seed);
    site.send(WITHOUT_POLICY, &mut random).await;
    let reached = site.admin.load(Ordering::SeqCst);
    assert!(reached >= WITHOUT_POLICY / 20, "of {WITHOUT_POLICY} requests only {reached} reach the handler");

    control_plane.apply("policy.yaml", &policy("/admin*"));
    wait::until("the policy holds", PATIENCE, || (site.status_of("/admin") == "403").then_some(()));
    let (admin, others) = (site.admin.load(Ordering::SeqCst), site.others.load(Ordering::SeqCst));
    let done = Arc::new(AtomicBool::new(false));
    let changing = {
        let (control_plane, done) = (Arc::clone(&control_plane), Arc::clone(&done));
        tokio::task::spawn_blocking(move || change_policies(&control_plane, &done))
    };
    site.send(requests, &mut random).await;
    done.store(true, Ordering::SeqCst);
    let changes = changing.await.expect("the policies change");
    let others = site.others.load(Ordering::SeqCst) - others;
    println!("{requests} requests, {changes} changes of policy: {others} reached another handler");
    assert_eq!(site.admin.load(Ordering::SeqCst), admin, "MESH_ORACLE_SEED={seed}");
    assert!(others >= requests / 20, "only {others} of {requests} requests reach any handler");
    assert!(changes >= 3, "{changes} changes");
}

/// Every version denies `/admin*`.
fn policy(paths: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: no-admin}}\nspec:\n  \
         action: DENY\n  rules: [{{to: [{{operation: {{paths: [{paths}]}}}}]}}]\n"
    )
}

fn change_policies(control_plane: &ControlPlane, done: &AtomicBool) -> u64 {
    let versions = ["/nothing, /admin*", "/admin*", "/admin, /admin*, /x/y"];
    let mut changes = 0;
    for version in versions.iter().cycle().take_while(|_| !done.load(Ordering::SeqCst)) {
        control_plane.apply("policy.yaml", &policy(version));
        changes += 1;
    }
    changes
}

/// A server whose handlers count.
struct Site {
    address: SocketAddr,
    admin: Arc<AtomicU64>,
    others: Arc<AtomicU64>,
}

impl Site {
    fn start(server: Server) -> Self {
        let (admin, others): (Arc<AtomicU64>, Arc<AtomicU64>) = Default::default();
        let counted = |counter: &Arc<AtomicU64>| {
            let counter = Arc::clone(counter);
            move || async move {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        };
        // As an application may that looks at paths by itself: what is `/admin` once decoded counts too.
        let (as_admin, as_other) = (Arc::clone(&admin), Arc::clone(&others));
        let fallback = move |request: Request| async move {
            let counter = if is_admin(request.uri().path()) { as_admin } else { as_other };
            counter.fetch_add(1, Ordering::SeqCst);
        };
        let app = Router::new()
            .route("/admin", any(counted(&admin)))
            .route("/admin/{*rest}", any(counted(&admin)))
            .fallback(fallback);
        let address = server.address();
        tokio::spawn(server.serve_with_shutdown(app, std::future::pending()));
        wait::until("the server listens", PATIENCE, || std::net::TcpStream::connect(address).ok());
        Self { address, admin, others }
    }

    /// So many requests, half of them HTTP/2.
    async fn send(&self, requests: u64, random: &mut Rng) {
        for _ in 0..requests.div_ceil(AT_ONCE) {
            let all: Vec<Drawn> = (0..AT_ONCE).map(|_| Drawn::new(random)).collect();
            let bytes = match random.bool() {
                true => all.iter().flat_map(Drawn::http1).chain(LAST.iter().copied()).collect(),
                false => http2(&all),
            };
            self.exchange(&bytes).await;
        }
    }

    /// Sends bytes and listens until the server has closed, or has answered each stream.
    async fn exchange(&self, bytes: &[u8]) {
        let talk = async {
            let mut socket = TcpStream::connect(self.address).await?;
            socket.write_all(bytes).await?;
            let mut answer = Vec::new();
            while socket.read_buf(&mut answer).await? > 0 && streams_ended(&answer) < AT_ONCE {}
            std::io::Result::Ok(())
        };
        // A reset is an end as well: what was refused may have been sent after the server had closed.
        let _ = tokio::time::timeout(PATIENCE, talk).await.expect("the server ends what it began");
    }

    fn status_of(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(self.address).expect("it listens");
        let asked = format!("GET {path} HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n");
        socket.write_all(asked.as_bytes()).expect("it takes a request");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("it answers");
        answer.split(' ').nth(1).unwrap_or_default().to_owned()
    }
}

fn is_admin(path: &str) -> bool {
    let bytes = path.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let escaped = path.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let value = escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(bytes[at]));
        at += if value.is_some() { 3 } else { 1 };
    }
    decoded.starts_with(b"/admin")
}

/// A request as an attacker would write it.
struct Drawn {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
}

impl Drawn {
    fn new(random: &mut Rng) -> Self {
        let mut target = String::from("/");
        if random.u8(0..4) > 0 {
            for _ in 0..random.u8(0..5) {
                target.push_str(pick(random, PIECES));
            }
        }
        target.push_str(pick(random, ADMINS));
        for _ in 0..random.u8(0..4) {
            target.push_str(pick(random, PIECES));
        }
        if random.u8(0..8) == 0 {
            target = format!("http://{}{target}", pick(random, HOSTS));
        }
        let methods = [Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::OPTIONS];
        let method = methods[random.usize(..methods.len())].clone();
        let mut headers = Vec::new();
        for _ in 0..random.u8(0..3) {
            let name = pick(random, HEADERS);
            headers.push((name, pick(random, VALUES).to_owned()));
        }
        Self { method, target, headers }
    }

    fn http1(&self) -> Vec<u8> {
        let mut text =
            format!("{} {} HTTP/1.1\r\nhost: shop:9080\r\ncontent-length: 0\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    /// A HEADERS frame that ends its stream; every field a literal that is not indexed (RFC 7541, 6.2.2).
    fn http2(&self, stream: u32) -> Vec<u8> {
        let mut block = Vec::new();
        let pseudo = [
            (":method", self.method.as_str()),
            (":scheme", "http"),
            (":authority", "shop:9080"),
            (":path", self.target.as_str()),
        ];
        let headers = self.headers.iter().map(|(name, value)| (*name, value.as_str()));
        // What belongs to HTTP/1 alone would be refused for that reason.
        let headers =
            headers.filter(|(name, _)| !matches!(*name, "connection" | "upgrade" | "transfer-encoding"));
        for (name, value) in pseudo.into_iter().chain(headers) {
            block.push(0);
            for text in [name, value] {
                block.push(u8::try_from(text.len()).expect("drawn texts are short"));
                block.extend(text.as_bytes());
            }
        }
        frame(1, 0x5, stream, &block)
    }
}

fn http2(all: &[Drawn]) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for (stream, drawn) in (1..).step_by(2).zip(all) {
        bytes.extend(drawn.http2(stream));
    }
    bytes
}

/// How many streams have ended in what a server of HTTP/2 said; none where it was HTTP/1.
fn streams_ended(mut said: &[u8]) -> u64 {
    let mut ended = 0;
    while let Some((head, rest)) = said.split_at_checked(9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((_, rest)) = rest.split_at_checked(length) else { break };
        // DATA or HEADERS with END_STREAM, RST_STREAM.
        ended += u64::from(matches!((head[3], head[4] & 1), (0 | 1, 1) | (3, _)));
        said = rest;
    }
    ended
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn pick(random: &mut Rng, of: &[&'static str]) -> &'static str {
    of[random.usize(..of.len())]
}

const LAST: &[u8] = b"GET /last HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n";
const ADMINS: &[&str] = &[
    "admin",
    "admin",
    "admin/",
    "%61dmin",
    "adm%69n",
    "a%64min/x",
    "%61%64%6d%69%6e",
    "./admin",
    "x/../admin",
    "%2e/admin",
    "x/%2e%2e/admin",
    "x/..;/admin",
    "..;/admin",
    "\\admin",
    "x\\..\\admin",
    "admin?x",
    "admin#x",
    "admin;x=1",
    "admin%00",
    "admin%2fx",
    "admin\u{e4}",
    "admin%",
    "..%2fadmin",
    "x/..%2f..%2fadmin",
    "%5cadmin",
];
const PIECES: &[&str] = &[
    "/",
    "//",
    ".",
    "..",
    "/.",
    "/..",
    "/../",
    "/./",
    "%2e",
    "%2E%2e",
    "/%2e%2e/",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";",
    "/..;/",
    ";a=b",
    "?",
    "?q=/admin",
    "#",
    "%00",
    "%",
    "%zz",
    "x",
    "/x/",
    "a",
    "%41",
    "%c3%a4",
    "\u{e4}",
    "~",
    "+",
];
const HOSTS: &[&str] = &["shop:9080", "SHOP:9080", "shop.", "other", "shop:80@evil", "[::1]"];
const HEADERS: &[&str] = &[
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-path",
    "x-envoy-original-path",
    "x-http-method-override",
    "host",
    "upgrade",
    "connection",
    "transfer-encoding",
    "x-mesh-peer",
    "x-forwarded-client-cert",
];
const VALUES: &[&str] = &[
    "/admin",
    "/x",
    "GET",
    "h2c",
    "upgrade",
    "close",
    "shop",
    "chunked",
    "identity",
    "spiffe://cluster.local/admin/root",
];
