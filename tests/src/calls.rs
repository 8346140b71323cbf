//! Calls of every kind that a member can make, to the three services of one other: `plain:9080` in HTTP/1.1, `echo:9080` in HTTP/2
//! and gRPC under mTLS, `db:5432` in bytes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::Request;
use http_body_util::{BodyExt, Full};
use mesh_client::{MeshChannel, MeshClient, MeshConnector};
use mesh_core::Mesh;
use mesh_server::{MeshListener, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tonic::Status;
use tower::ServiceExt;

use crate::echo::proto::Message;
use crate::echo::proto::echo_client::EchoClient;
use crate::{Echo, Served};

/// The words of `mesh token create` for one that serves all three.
pub const SERVICES: [&str; 6] = ["--service", "echo:9080", "--service", "plain:9080", "--service", "db:5432"];

/// Has the calls of kind [`Kind::Http1`] be what they are called.
pub const PLAIN: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plain}
spec: {host: plain, trafficPolicy: {tls: {mode: DISABLE}}}
";

/// A way of calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A POST over HTTP/1.1, in plaintext.
    Http1,
    /// A POST over HTTP/2.
    Http2,
    /// One message each way.
    Unary,
    /// Three messages and an answer.
    ClientStream,
    /// A message and three answers.
    ServerStream,
    /// Three messages, each answered before the next is sent.
    BothStreams,
    /// A connection of bytes.
    Bytes,
}

impl Kind {
    /// All that are requests.
    pub const REQUESTS: [Self; 6] =
        [Self::Http1, Self::Http2, Self::Unary, Self::ClientStream, Self::ServerStream, Self::BothStreams];
    /// All.
    pub const ALL: [Self; 7] = [
        Self::Http1,
        Self::Http2,
        Self::Unary,
        Self::ClientStream,
        Self::ServerStream,
        Self::BothStreams,
        Self::Bytes,
    ];
}

/// Who calls; cheap to clone.
#[derive(Debug, Clone)]
pub struct Caller {
    http: MeshClient,
    grpc: EchoClient<MeshChannel>,
    connector: MeshConnector,
}

impl Caller {
    /// As this member.
    pub fn new(mesh: &Mesh) -> Self {
        Self {
            http: MeshClient::new(mesh),
            grpc: EchoClient::new(MeshChannel::new(mesh, "echo:9080")),
            connector: MeshConnector::new(mesh),
        }
    }

    /// Makes one call and reads its answer to the end: who answered.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn call(&self, kind: Kind) -> Result<String, String> {
        let mut grpc = self.grpc.clone();
        match kind {
            Kind::Http1 => self.post("http://plain:9080/").await,
            Kind::Http2 => self.post("http://echo:9080/").await,
            Kind::Unary => told(grpc.unary(Message::default()).await.map(|answer| answer.into_inner())),
            Kind::ClientStream => {
                let messages = stream::iter(vec![Message::default(); 3]);
                told(grpc.collect(messages).await.map(|answer| answer.into_inner()))
            }
            Kind::ServerStream => {
                let mut answers = grpc.repeat(Message::default()).await.map_err(words)?.into_inner();
                let mut last = None;
                while let Some(answer) = answers.message().await.map_err(words)? {
                    last = Some(answer.text);
                }
                last.ok_or_else(|| "the stream was empty".to_owned())
            }
            Kind::BothStreams => both(grpc).await.map_err(words),
            Kind::Bytes => self.bytes().await,
        }
    }

    async fn post(&self, url: &str) -> Result<String, String> {
        let body = Full::new(Bytes::from_static(br#"{"a": 1}"#));
        let request = Request::post(url).body(body).map_err(|error| error.to_string())?;
        let Ok(answer) = self.http.clone().oneshot(request).await;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        if status.is_success() { Ok(body) } else { Err(format!("{status}: {body}")) }
    }

    async fn bytes(&self) -> Result<String, String> {
        let mut stream = self.connector.connect("db:5432").await.map_err(|failure| failure.to_string())?;
        let exchanged = async {
            stream.write_all(b"hello").await?;
            stream.shutdown().await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            std::io::Result::Ok(answer)
        };
        let answer = exchanged.await.map_err(|error| error.to_string())?;
        if answer.is_empty() { Err("the connection was closed".to_owned()) } else { Ok(answer) }
    }
}

async fn both(mut grpc: EchoClient<MeshChannel>) -> Result<String, Status> {
    let (sender, messages) = tokio::sync::mpsc::channel(1);
    let send = async |sender: &tokio::sync::mpsc::Sender<Message>| {
        sender.send(Message::default()).await.map_err(|_| Status::cancelled("nobody takes messages"))
    };
    send(&sender).await?;
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut answers = grpc.both(messages).await?.into_inner();
    let mut last = String::new();
    for left in (0..3).rev() {
        last = answers.message().await?.ok_or_else(|| Status::data_loss("the stream ended early"))?.text;
        if left > 0 {
            send(&sender).await?;
        }
    }
    drop(sender);
    match answers.message().await? {
        Some(_) => Err(Status::data_loss("one answer too many")),
        None => Ok(last),
    }
}

fn told(answer: Result<Message, Status>) -> Result<String, String> {
    answer.map(|message| message.text).map_err(words)
}

fn words(status: Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

/// A member that serves all three, and says its name to each call.
#[derive(Debug)]
pub struct Callee {
    /// Serves HTTP/2 and gRPC.
    pub echo: Served,
    /// Serves HTTP/1.1.
    pub plain: Served,
    /// Serves bytes.
    pub database: Database,
}

impl Callee {
    /// Joins with `token` and serves on loopback ports, known to the mesh at `advertised`.
    ///
    /// # Panics
    /// Where joining fails, or there is no free port.
    pub async fn start(token: &str, name: &str, advertised: IpAddr) -> Self {
        let mesh = Mesh::builder(token).save_nothing().start().await.expect("the token is good");
        let server = async |service: &str| {
            let builder = Server::builder(&mesh).service(service).advertise(advertised);
            builder.bind("127.0.0.1:0").await.expect("a free port")
        };
        Self {
            echo: Served::on(server("echo:9080").await, Echo::new(name)),
            plain: Served::on(server("plain:9080").await, Echo::new(name)),
            database: Database::start(&mesh, name, advertised).await,
        }
    }

    /// How many calls have reached it.
    pub fn calls(&self) -> u64 {
        self.echo.echo.requests() + self.plain.echo.requests() + self.database.calls()
    }
}

/// A service of bytes that says its name once the caller has said all.
#[derive(Debug)]
pub struct Database {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    calls: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

impl Database {
    async fn start(mesh: &Mesh, name: &str, advertised: IpAddr) -> Self {
        let builder = MeshListener::builder(mesh).service("db:5432").advertise(advertised);
        let mut listener = builder.bind_opaque("127.0.0.1:0").await.expect("a free port");
        let (address, calls) = (listener.address(), Arc::<AtomicU64>::default());
        let (name, count) = (name.to_owned(), calls.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok(mut conn) = listener.accept().await {
                while open.try_join_next().is_some() {}
                let (name, count) = (name.clone(), count.clone());
                open.spawn(async move {
                    let mut said = Vec::new();
                    // Whoever breaks off has made no call.
                    if conn.read_to_end(&mut said).await.is_err() || said.is_empty() {
                        return;
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                    let _ = conn.write_all(name.as_bytes()).await;
                    let _ = conn.shutdown().await;
                });
            }
        });
        Self { address, calls, _tasks: tasks }
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

/// Waits until calls of each kind are answered by each of `names`.
///
/// # Panics
/// Where they are not within `limit`, with what was answered instead.
pub async fn until_answered(caller: &Caller, kinds: &[Kind], names: &[&str], limit: Duration) {
    let start = tokio::time::Instant::now();
    for kind in kinds {
        let (mut missing, mut last) = (names.to_vec(), Ok(String::new()));
        while !missing.is_empty() {
            assert!(start.elapsed() < limit, "{kind:?}: {missing:?} do not answer; last: {last:?}");
            last = caller.call(*kind).await;
            match &last {
                Ok(name) => missing.retain(|one| one != name),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}
