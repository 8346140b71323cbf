//! A request of a case, and what is looked at of all that comes of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use mesh_client::{MeshChannel, MeshClient, MeshConnector};
use mesh_core::Mesh;
use mesh_tests::Stranger;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::ServiceExt;

use super::fleet::{Caller, Fleet};
use super::teller::{CALL, Got, Log, WHO};

/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer that took longer is a slow one.
const QUICK: Duration = Duration::from_millis(250);
/// A gRPC message without content.
const EMPTY_MESSAGE: &[u8] = &[0; 5];
/// A record of a handshake, as every TLS client begins with one.
const HELLO: &[u8] = &[0x16, 3, 1, 0, 4, 1, 0, 0, 0];

/// What is asked, and what is looked at.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: &'static str,
    url: String,
    headers: Vec<(&'static str, String)>,
    caller: Caller,
    way: Way,
    times: usize,
    pace: Pace,
    see: See,
}

/// How it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Grpc,
    /// On a connection of bytes, in TLS of the application's own under a server name.
    Bytes(Option<&'static str>),
}

/// When the next of several calls is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// So long after the answer to the one before.
    After(Duration),
    /// At once, with all the others.
    Together,
}

/// What is looked at. Where there is none of it, that is `-`.
#[derive(Debug, Clone, Copy)]
pub(super) enum See {
    /// Who answered, or with what status.
    Answer,
    /// A header of the answer.
    Header(&'static str),
    Status,
    Body,
    /// `quick` or `slow`.
    Time,
    /// Everybody who was asked, as often as they were, in alphabetical order.
    Asked,
    /// A header as the application got it.
    Got(&'static str),
    Path,
    Host,
    /// The caller, as the application knows it.
    Principal,
    ServerName,
    /// All who answered one of the calls.
    Tally,
    /// How many answered the calls between them.
    Count,
    /// Whether a call came to somebody twice: `never` or `sometimes`.
    Again,
    /// Whether the calls went from one to the next each time: `in turn` or `at random`.
    Turns,
    /// The protocol's version, as the application knows it.
    Version,
    /// Whether a session of this key goes on: `resumed`, `new`, or none.
    Resumed(&'static str),
    /// The attributes of a cookie that is set.
    Attributes,
    /// On how many connections the calls came.
    Connections,
    /// How many calls came to somebody more than once: `all`, or `not all`.
    Retried,
}

/// A GET by the caller `home`; a mere path is asked of `one:9080`.
pub(super) fn get(url: &str) -> Ask {
    let url = if url.starts_with('/') { format!("http://one:9080{url}") } else { url.to_owned() };
    Ask {
        method: "GET",
        url,
        headers: Vec::new(),
        caller: Caller::Home,
        way: Way::Http,
        times: 1,
        pace: Pace::After(Duration::ZERO),
        see: See::Answer,
    }
}

/// A call of a gRPC method, such as `/shop.v1.Shop/Buy`.
pub(super) fn grpc(path: &str) -> Ask {
    Ask { way: Way::Grpc, method: "POST", ..get(path) }
}

/// A connection of bytes to a host and port.
pub(super) fn connect(host: &str) -> Ask {
    Ask { way: Way::Bytes(None), url: host.to_owned(), ..get("/") }
}

/// The same, of an application that speaks TLS with a server of that name.
pub(super) fn connect_tls(host: &str, name: &'static str) -> Ask {
    Ask { way: Way::Bytes(Some(name)), ..connect(host) }
}

impl Ask {
    pub(super) fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    /// Asks another host.
    pub(super) fn at(self, authority: &str) -> Self {
        Self { url: self.url.replace("one:9080", authority), ..self }
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn by(self, caller: Caller) -> Self {
        Self { caller, ..self }
    }

    pub(super) fn see(self, see: See) -> Self {
        Self { see, ..self }
    }

    /// So often, one call after the other.
    pub(super) fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// So often, so long after the answer to the one before.
    pub(super) fn apart(self, times: usize, pause: Duration) -> Self {
        Self { times, pace: Pace::After(pause), ..self }
    }

    /// So often at the same time.
    pub(super) fn together(self, times: usize) -> Self {
        Self { times, pace: Pace::Together, ..self }
    }

    /// Asks, once or as often as is said.
    pub(super) async fn observe(&self, fleet: &Fleet) -> Observation {
        let mut answers: Vec<Answer> = Vec::new();
        match self.pace {
            Pace::Together => answers = join_all((0..self.times).map(|_| self.ask(fleet))).await,
            Pace::After(pause) => {
                for number in 0..self.times {
                    if number > 0 && !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    answers.push(self.ask(fleet).await);
                }
            }
        }
        Observation { see: self.see, answers }
    }

    async fn ask(&self, fleet: &Fleet) -> Answer {
        let call = format!("{:016x}", fastrand::u64(..));
        let start = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, async {
            match self.caller {
                Caller::Home => self.call(fleet, 0, &call).await,
                Caller::Away => self.call(fleet, 1, &call).await,
                Caller::Stranger => self.as_stranger(fleet, &call).await,
            }
        });
        let (status, headers, body) = answer.await.unwrap_or_default();
        Answer { call, status, headers, body, took: start.elapsed() }
    }

    async fn call(&self, fleet: &Fleet, caller: usize, call: &str) -> (StatusCode, HeaderMap, String) {
        if let Way::Bytes(name) = self.way {
            return self.exchange(&fleet.callers[caller], name).await;
        }
        let mesh = &fleet.callers[caller];
        let mut request =
            Request::builder().method(self.method).uri(fleet.filled_in(&self.url)).header(CALL, call);
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        let mut body = Bytes::new();
        if self.way == Way::Grpc {
            request = request.header("content-type", "application/grpc").header("te", "trailers");
            body = Bytes::from_static(EMPTY_MESSAGE);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let authority = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        let answer = match self.way {
            Way::Grpc => MeshChannel::new(mesh, authority).oneshot(request).await,
            _ => MeshClient::new(mesh).oneshot(request).await,
        };
        let (head, body) = answer.expect("failures are responses").into_parts();
        let mut headers = head.headers;
        let Ok(body) = body.collect().await else { return (head.status, headers, "broken off".to_owned()) };
        headers.extend(body.trailers().cloned().unwrap_or_default());
        (head.status, headers, String::from_utf8_lossy(&body.to_bytes()).into_owned())
    }

    /// What is answered on a connection of bytes; that there is none is told as 502.
    async fn exchange(&self, mesh: &Mesh, name: Option<&str>) -> (StatusCode, HeaderMap, String) {
        let connector = MeshConnector::new(mesh);
        let stream = match name {
            None => connector.connect(&self.url).await,
            Some(name) => connector.connect_tls(&self.url, name).await,
        };
        let mut answer = String::new();
        if let Ok(mut stream) = stream
            && stream.write_all(HELLO).await.is_ok()
            && stream.shutdown().await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
        {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(WHO),
                answer.parse().expect("names are ASCII"),
            )]);
            return (StatusCode::OK, headers, answer);
        }
        (StatusCode::BAD_GATEWAY, HeaderMap::new(), answer)
    }

    async fn as_stranger(&self, fleet: &Fleet, call: &str) -> (StatusCode, HeaderMap, String) {
        let path = self.url.splitn(4, '/').last().unwrap_or_default();
        let request = format!(
            "{} /{path} HTTP/1.1\r\nhost: one\r\n{CALL}: {call}\r\nconnection: close\r\n\r\n",
            self.method
        );
        let told = Stranger::Plaintext.call(fleet.address("one"), request.as_bytes()).await;
        let text = String::from_utf8_lossy(&told.answer);
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        let who = text.lines().find_map(|line| line.strip_prefix("x-who: "));
        let mut headers = HeaderMap::new();
        if let Some(who) = who.and_then(|who| who.trim().parse().ok()) {
            headers.insert(WHO, who);
        }
        (status.unwrap_or(StatusCode::BAD_GATEWAY), headers, String::new())
    }
}

/// An answer, and by which name its call is found.
#[derive(Debug)]
struct Answer {
    call: String,
    status: StatusCode,
    headers: HeaderMap,
    body: String,
    took: Duration,
}

impl Answer {
    /// The status where the mesh answered.
    fn who(&self) -> String {
        match (header(&self.headers, "grpc-status"), header(&self.headers, WHO)) {
            (status, _) if status != "-" && status != "0" => format!("grpc {status}"),
            (_, who) if who != "-" && self.status.is_success() => who,
            _ => self.status.as_u16().to_string(),
        }
    }
}

/// What came of a case's calls; copies that nobody waits for may still come.
#[derive(Debug)]
pub(super) struct Observation {
    see: See,
    answers: Vec<Answer>,
}

impl Observation {
    /// In words, as far as it has come by now.
    pub(super) fn words(&self, log: &Log) -> String {
        let Some(answer) = self.answers.last() else { return "-".to_owned() };
        let got: Vec<Got> = self.answers.iter().flat_map(|answer| log.of(&answer.call)).collect();
        let last = |of: fn(&Got) -> Option<String>| got.last().and_then(of).unwrap_or_else(|| "-".to_owned());
        match self.see {
            See::Answer => answer.who(),
            See::Header(name) => header(&answer.headers, name),
            See::Status => answer.status.as_u16().to_string(),
            See::Body => answer.body.clone(),
            See::Time if answer.took < QUICK => "quick".to_owned(),
            See::Time => "slow".to_owned(),
            See::Asked => joined(got.iter().map(|got| got.who.clone()).collect()),
            See::Got(name) => got.last().map_or_else(|| "-".to_owned(), |got| header(&got.headers, name)),
            See::Path => last(|got| Some(got.path.clone())),
            See::Host => last(|got| Some(got.host.clone())),
            See::Principal => last(|got| got.facts.principal.clone()),
            See::ServerName => last(|got| got.facts.server_name.clone()),
            See::Tally => {
                let who: BTreeSet<String> = self.answers.iter().map(Answer::who).collect();
                joined(who.into_iter().collect())
            }
            See::Count => self.answers.iter().map(Answer::who).collect::<BTreeSet<_>>().len().to_string(),
            See::Turns => {
                let in_turn = got.windows(2).all(|two| two[0].who != two[1].who);
                if in_turn { "in turn".to_owned() } else { "at random".to_owned() }
            }
            See::Version => last(|got| Some(format!("{:?}", got.version))),
            See::Resumed(key) => match header(&answer.headers, "set-cookie").as_str() {
                "-" => "-".to_owned(),
                cookie if cookie.contains(key) => "resumed".to_owned(),
                _ => "new".to_owned(),
            },
            See::Attributes => {
                let cookie = header(&answer.headers, "set-cookie");
                cookie.split_once("; ").map_or("-", |(_, attributes)| attributes).to_owned()
            }
            See::Connections => {
                let connections = got.iter().filter_map(|got| got.facts.connection);
                connections.collect::<BTreeSet<_>>().len().to_string()
            }
            See::Retried => {
                let all = self.answers.iter().all(|answer| log.of(&answer.call).len() > 1);
                if all { "all".to_owned() } else { "not all".to_owned() }
            }
            See::Again => {
                let twice = |answer: &Answer| {
                    let who: Vec<String> = log.of(&answer.call).into_iter().map(|got| got.who).collect();
                    who.iter().collect::<BTreeSet<_>>().len() < who.len()
                };
                let twice = self.answers.iter().any(twice);
                if twice { "sometimes".to_owned() } else { "never".to_owned() }
            }
        }
    }
}

fn joined(mut words: Vec<String>) -> String {
    words.sort();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    if values.is_empty() { "-".to_owned() } else { values.join(",") }
}
