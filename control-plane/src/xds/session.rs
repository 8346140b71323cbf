//! One stream from its first request to its end.
//!
//! It is a state that the transport pulls answers from. Nobody pulls while the client does not read, so changes pile up as
//! names in the mailbox and the next answer carries the latest state: there is no queue to bound.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{Node, node::UserAgentVersionType};
use envoy_types::pb::google::protobuf::value::Kind;
use futures_util::{Stream, StreamExt};
use mesh_core::subscription::{Answer, Request, ServerStream, SotwRequest};
use tonic::Status;

use super::hub::Place;
use super::mailbox::Pending;
use super::service::StreamCaller;
use crate::model::{AGENT_DIRECTORY, ClientKind};

/// What a client sent, in either encoding.
#[derive(Debug)]
pub(super) struct Incoming {
    /// With the first request of a stream only.
    pub(super) node: Option<Node>,
    /// None for a type that the mesh does not serve.
    pub(super) request: Option<Either>,
}

/// A request in either encoding.
#[derive(Debug)]
pub(super) enum Either {
    Delta(Request),
    Sotw(SotwRequest),
}

/// A stream's state.
#[derive(Debug)]
pub(super) struct Session {
    place: Place,
    caller: StreamCaller,
    stream: ServerStream,
}

impl Session {
    pub(super) fn new(place: Place, caller: StreamCaller, stream: ServerStream) -> Self {
        Self { place, caller, stream }
    }

    /// The stream of answers to a stream of requests.
    pub(super) fn answers<R>(self, requests: R) -> impl Stream<Item = Result<Answer<Bytes>, Status>> + Send
    where
        R: Stream<Item = Result<Incoming, Status>> + Send + Unpin,
    {
        futures_util::stream::unfold(Some((self, requests)), |state| async {
            let (mut session, mut requests) = state?;
            match session.next(&mut requests).await {
                Ok(Some(answer)) => Some((Ok(answer), Some((session, requests)))),
                Ok(None) => None,
                Err(status) => Some((Err(status), None)),
            }
        })
    }

    /// The next answer; none once the client has ended the stream.
    async fn next<R>(&mut self, requests: &mut R) -> Result<Option<Answer<Bytes>>, Status>
    where
        R: Stream<Item = Result<Incoming, Status>> + Unpin,
    {
        let expiry = until(self.caller.expires);
        let mut expiry = std::pin::pin!(expiry);
        loop {
            if let Some(answer) = self.next_answer() {
                return Ok(Some(answer));
            }
            tokio::select! {
                request = requests.next() => match request {
                    Some(request) => self.request(request?)?,
                    None => return Ok(None),
                },
                pending = self.place.mailbox().take() => self.changed(pending),
                () = self.place.hub().closing().cancelled() => return Err(closing()),
                () = &mut expiry => return Err(expired()),
            }
        }
    }

    /// Makes the next answer out of what is due, if the client does not have all of it.
    fn next_answer(&mut self) -> Option<Answer<Bytes>> {
        while let Some(due) = self.stream.due() {
            let (mut found, mut bytes) = (Vec::with_capacity(due.names.len()), 0);
            for name in due.names {
                let resource = self.place.hub().look_up(&self.caller.caller, due.kind, &name);
                bytes += resource.as_ref().map_or(0, |resource| resource.body.len());
                found.push((name, resource));
                if bytes > ANSWER_BYTES_MAX && !due.whole {
                    break;
                }
            }
            if let Some(answer) = self.stream.answer(due.kind, found) {
                self.count(&answer);
                self.report();
                return Some(answer);
            }
        }
        if self.stream.is_answered() {
            self.place.settle();
        }
        None
    }

    fn request(&mut self, incoming: Incoming) -> Result<(), Status> {
        if let Some(node) = incoming.node {
            self.introduce(node);
        }
        let Some(request) = incoming.request else { return Ok(()) };
        self.place.mailbox().unsettle();
        let refused = match &request {
            Either::Delta(request) => request.error.is_some(),
            Either::Sotw(request) => request.error.is_some(),
        };
        if refused {
            self.place.hub().counters.refusals.fetch_add(1, Relaxed);
        }
        let (kind, subscribed) = match request {
            Either::Delta(request) => (request.kind, self.stream.delta_request(request)),
            Either::Sotw(request) => (request.kind, self.stream.sotw_request(request)),
        };
        let subscribed = subscribed.map_err(|full| Status::resource_exhausted(full.to_string()))?;
        self.place.subscribed(kind, &subscribed);
        self.report();
        Ok(())
    }

    fn changed(&mut self, pending: Pending) {
        if pending.everything {
            self.stream.everything_changed();
        }
        for (kind, name) in &pending.names {
            self.stream.changed(*kind, name);
        }
    }

    /// Notes what the client says it is; whom it is, its certificate has said.
    fn introduce(&mut self, node: Node) {
        let directory =
            node.metadata.as_ref().and_then(|facts| facts.fields.get(AGENT_DIRECTORY)?.kind.as_ref());
        let directory = match directory {
            Some(Kind::StringValue(path)) => Some(path.as_str()),
            _ => None,
        };
        let kind = ClientKind::of(&node.user_agent_name, directory);
        let version = match node.user_agent_version_type {
            Some(UserAgentVersionType::UserAgentVersion(version)) => version,
            Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build
                .version
                .map(|version| format!("{}.{}.{}", version.major_number, version.minor_number, version.patch))
                .unwrap_or_default(),
            None => String::new(),
        };
        self.caller.caller.client = kind.clone();
        self.place.report(|status| {
            status.client = kind;
            status.version = version.chars().take(VERSION_CHARS_MAX).collect::<String>().into();
        });
    }

    fn report(&self) {
        self.place.report(|status| status.types = self.stream.status());
    }

    fn count(&self, answer: &Answer<Bytes>) {
        let counters = &self.place.hub().counters;
        let bytes: usize = answer.resources.iter().map(|(_, found)| found.body.len()).sum();
        counters.answers.fetch_add(1, Relaxed);
        counters.resources.fetch_add(answer.resources.len() as u64, Relaxed);
        counters.resource_bytes.fetch_add(bytes as u64, Relaxed);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.place.leave(self.stream.names());
    }
}

/// Completes at `expires`; never where nothing expires.
async fn until(expires: Option<SystemTime>) {
    match expires {
        Some(expires) => {
            tokio::time::sleep(expires.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO)).await;
        }
        None => std::future::pending().await,
    }
}

fn closing() -> Status {
    Status::unavailable("this control plane is going away; connect to another, or again later")
}

fn expired() -> Status {
    Status::unauthenticated("the certificate of this stream has expired; connect with the renewed one")
}

/// Beyond this an answer is cut where the protocol allows: gRPC clients take messages of 4 MiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

const VERSION_CHARS_MAX: usize = 64;
