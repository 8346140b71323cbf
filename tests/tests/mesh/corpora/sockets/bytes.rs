//! A connection of bytes, opened by the mesh's connector or past it, and all that came of it.
//!
//! Connections are made one after the other, so whatever the recorder has since the last one is of this one, with or without
//! the bytes that were sent.

use std::net::SocketAddr;
use std::time::Duration;

use control_plane::explain::{Decision, Protocol, Question, Transport, TransportResult};
use http::{HeaderMap, Uri};
use mesh_client::{MeshConnector, MeshStream};
use mesh_core::Mesh;
use mesh_tests::{Recorder, Stranger, recorder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::Outcome;
use super::call::Called;
use super::documents::Carries;

/// Longer than any connection takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a question is about: requests, or bytes of which the mesh reads nothing.
pub(super) fn carried(question: &Question, decision: &Decision) -> Carries {
    let result = decision.inbound.as_ref().map(|inbound| inbound.transport_result);
    match question.protocol() == Protocol::Tcp || result == Some(TransportResult::ForwardUntouched) {
        true => Carries::Bytes,
        false => Carries::Requests,
    }
}

/// Connects as the question says, and sends something that nobody has sent before.
pub(super) async fn connect(
    mesh: &Mesh,
    question: &Question,
    recorder: &Recorder,
) -> Result<Called, Outcome> {
    let url: Result<Uri, _> = question.url.parse();
    let host = url.ok().and_then(|url| url.authority().map(ToString::to_string));
    let host = host.ok_or_else(|| Outcome::Wrong(format!("{} names no host", question.url)))?;
    let connector = MeshConnector::new(mesh);
    let sent = fastrand::u64(..).to_be_bytes();
    recorder.clear();
    let exchange = async {
        let stream = match &question.sni {
            Some(name) => connector.connect_tls(host, name).await,
            None => connector.connect(host).await,
        };
        match stream {
            Ok(stream) => (None, exchange(stream, &sent).await),
            Err(failure) => (Some(failure.error.status()), Vec::new()),
        }
    };
    let exchanged = tokio::time::timeout(PATIENCE, exchange).await;
    let (status, answer) = exchanged.map_err(|_| endless())?;
    Ok(Called { status, ..called(&sent, &answer, recorder) })
}

/// Connects to a server past all routing, as the member `mesh` where the transport shows who calls. What passes to an
/// application untouched is the greeting of a TLS client.
pub(super) async fn send(
    mesh: &Mesh,
    server: SocketAddr,
    transport: Transport,
    decision: &Decision,
    recorder: &Recorder,
) -> Result<Called, Outcome> {
    let identity = mesh.identity().expect("a member has an identity");
    let stranger = match transport {
        Transport::Mtls => Stranger::of(identity),
        Transport::Tls => Stranger::Nameless,
        Transport::Plaintext => Stranger::Plaintext,
    };
    let result = decision.inbound.as_ref().map(|inbound| inbound.transport_result);
    let (stranger, sent) = match result {
        Some(TransportResult::ForwardUntouched) => (Stranger::Plaintext, stranger.greeting()),
        _ => (stranger, fastrand::u64(..).to_be_bytes().to_vec()),
    };
    recorder.clear();
    let told = stranger.exchange(server, &sent).await;
    let told = told.ok_or_else(endless)?;
    Ok(called(&sent, &told.answer, recorder))
}

/// What comes back for these bytes; nothing where the peer refuses them, in whichever way.
async fn exchange(mut stream: MeshStream, sent: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    if stream.write_all(sent).await.is_ok() && stream.shutdown().await.is_ok() {
        let _ = stream.read_to_end(&mut answer).await;
    }
    answer
}

fn endless() -> Outcome {
    Outcome::Wrong("the connection does not end".to_owned())
}

fn called(sent: &[u8], answer: &[u8], recorder: &Recorder) -> Called {
    Called {
        id: recorder::spelled(sent),
        status: None,
        headers: HeaderMap::new(),
        body: recorder::spelled(answer),
        received: recorder.all(),
        copies: Vec::new(),
    }
}
