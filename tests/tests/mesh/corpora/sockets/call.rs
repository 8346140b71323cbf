//! A question's request, made by a real caller, and all that came of it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use control_plane::explain::{Protocol, Question, Transport};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use mesh_client::{MeshChannel, MeshClient};
use mesh_core::Mesh;
use mesh_tests::recorder::CALL;
use mesh_tests::{Received, Recorder, Stranger};
use tower::ServiceExt;

use super::super::Outcome;

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long copies, which nobody waits for, may take.
const COPIES: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);
/// A gRPC message without content.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// What came of a call.
#[derive(Debug)]
pub(super) struct Called {
    pub(super) id: String,
    /// None where there was no answer at all.
    pub(super) status: Option<StatusCode>,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
    pub(super) received: Vec<Received>,
    pub(super) copies: Vec<Received>,
}

/// Calls as the question says, and waits for `copies` of the request beside it.
pub(super) async fn call(
    mesh: &Mesh,
    question: &Question,
    recorder: &Recorder,
    copies: usize,
) -> Result<Called, Outcome> {
    let id = format!("{:016x}", fastrand::u64(..));
    let request = request(question, &id)?;
    let named = with_port(request.uri());
    let answer = async {
        let Ok(response) = match (question.protocol(), named) {
            // A channel says the port always, as gRPC's own targets do.
            (Protocol::Grpc, Some(host)) => MeshChannel::new(mesh, host).oneshot(request).await,
            _ => MeshClient::new(mesh).oneshot(request).await,
        };
        let (head, body) = response.into_parts();
        (head, body.collect().await)
    };
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let (head, body) = answer.map_err(|_| Outcome::Wrong("there is no answer".to_owned()))?;
    let body = body.map_err(|error| Outcome::Wrong(format!("the answer breaks off: {error}")))?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let mut headers = head.headers;
    headers.extend(trailers);
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let start = Instant::now();
    loop {
        let (shadowed, received): (Vec<_>, Vec<_>) = recorder.received(&id).into_iter().partition(is_copy);
        if shadowed.len() >= copies || start.elapsed() > COPIES {
            return Ok(Called { id, status: Some(head.status), headers, body, received, copies: shadowed });
        }
        tokio::time::sleep(POLL).await;
    }
}

fn with_port(uri: &Uri) -> Option<String> {
    let authority = uri.authority()?;
    authority.port().map(|_| authority.to_string())
}

/// Copies call their host `HOST-shadow`.
fn is_copy(received: &Received) -> bool {
    let host = received.authority.split(':').next().unwrap_or_default();
    host.ends_with("-shadow")
}

fn request(question: &Question, id: &str) -> Result<Request<Full<Bytes>>, Outcome> {
    let cannot =
        |problem: &dyn std::fmt::Display| Outcome::Wrong(format!("the request cannot be made: {problem}"));
    let uri: Uri = question.url.parse().map_err(|problem| cannot(&problem))?;
    let mut request = Request::builder().method(question.method()).uri(uri);
    for (name, value) in &question.headers {
        request = request.header(if name == ":authority" { "host" } else { name.as_str() }, value);
    }
    let mut body = Bytes::new();
    if question.protocol() == Protocol::Grpc {
        request = request.header(CONTENT_TYPE, "application/grpc").header("te", "trailers");
        body = Bytes::from_static(EMPTY_MESSAGE);
    }
    request.header(CALL, id).body(Full::new(body)).map_err(|problem| cannot(&problem))
}

/// What somebody writes to a server by hand.
pub(super) struct Letter<'a> {
    pub(super) server: std::net::SocketAddr,
    pub(super) transport: Transport,
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) authority: &'a str,
    pub(super) headers: &'a [(String, String)],
}

/// Sends a request of HTTP/1.1 to a server past all routing, as the member `mesh` where the transport shows who calls.
pub(super) async fn send(mesh: &Mesh, letter: &Letter<'_>, recorder: &Recorder) -> Called {
    let id = format!("{:016x}", fastrand::u64(..));
    let identity = mesh.identity().expect("a member has an identity");
    let stranger = match letter.transport {
        Transport::Mtls => Stranger::of(identity),
        Transport::Tls => Stranger::Nameless,
        Transport::Plaintext => Stranger::Plaintext,
    };
    let Letter { server, method, path, authority, headers, .. } = letter;
    let headers = headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host"));
    let headers: String = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let said = format!(
        "{method} {path} HTTP/1.1\r\nhost: {authority}\r\n{CALL}: {id}\r\nconnection: close\r\n{headers}\r\n"
    );
    let told = stranger.call(*server, said.as_bytes()).await;
    let answer = String::from_utf8_lossy(&told.answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?))
    };
    let headers = lines.filter_map(pair).collect();
    let received = recorder.received(&id);
    Called { id, status, headers, body: body.to_owned(), received, copies: Vec::new() }
}
