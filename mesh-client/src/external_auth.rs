//! External authorization: a service is asked whether a request may go on, before anything of it is sent.
//!
//! Whatever keeps the service from saying yes denies the request: no such cluster, no endpoint, no connection, no answer in time, an
//! error, or an answer that means nothing. The question is the request's head, asked while a body is still to come; only where the
//! rule wants some of the body told is that waited for, and given back to the request. The question is dropped with the request.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use fastrand::Rng;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt, Limited};
use mesh_core::ext_authz::{ANSWER_BYTES_MAX, Allowed, Answer, CheckBody, CheckFacts, GRPC_PATH, Verdict};
use mesh_core::route::{AuthProtocol, ExternalAuth, HeaderOperations, RetryCondition, RetryPolicy, Route};
use mesh_core::snapshot::Cluster;
use mesh_core::status::ResponseFlag;

use crate::answer;
use crate::body::{Beginning, BoxError, Protocol, RequestBody, ResponseBody};
use crate::connection::Outgoing;
use crate::error::ClientError;
use crate::hash;
use crate::outbound::Outbound;
use crate::record::ClusterRecord;
use crate::retry::{Answered, Forwarding};

/// A request whose rule has a service asked.
pub(crate) struct Asking<'a> {
    pub(crate) outbound: &'a Outbound,
    pub(crate) clusters: &'a [Option<Arc<Cluster>>],
    pub(crate) route: &'a Route,
    pub(crate) auth: &'a ExternalAuth,
    /// When the request itself must be done.
    pub(crate) deadline: Option<Instant>,
    /// What the request speaks.
    pub(crate) protocol: Protocol,
}

impl Asking<'_> {
    /// What a request that may not go on is answered. Of one that may, the headers change, and what its response is told besides.
    pub(crate) async fn denial(
        &self,
        request: &mut Outgoing,
        told: &mut Option<Box<HeaderOperations>>,
        rng: &mut Rng,
    ) -> Option<Result<Response<ResponseBody>, ClientError>> {
        let body = match self.beginning(&mut request.body).await {
            Ok(body) => body,
            Err(error) => return Some(Err(error)),
        };
        let head = &mut request.head;
        match self.verdict(head, body.as_ref(), rng).await {
            Ok(Verdict::Allow(Allowed { request, response })) => {
                request.apply(&mut head.headers);
                if response != HeaderOperations::default() {
                    let HeaderOperations { set, add, remove } = told.get_or_insert_default().as_mut();
                    set.extend(response.set);
                    add.extend(response.add);
                    remove.extend(response.remove);
                }
                None
            }
            Ok(Verdict::Deny(denial)) => {
                let (cluster, rule) = (self.auth.cluster.clone(), self.route.provenance.clone());
                Some(Ok(answer::denied(denial, cluster, rule, self.protocol)))
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// As much of the body as the service is told, if that is wanted: waited for as long as the request itself may take.
    async fn beginning(&self, body: &mut RequestBody) -> Result<Option<Beginning>, ClientError> {
        let Some(wanted) = self.auth.body else { return Ok(None) };
        let reading = body.beginning(wanted.bytes_max);
        let read = match self.deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.into(), reading).await,
            None => Ok(reading.await),
        };
        let read = read.map_err(|_| ClientError::Deadline)?;
        read.map(Some).map_err(|error| ClientError::RequestBody(error.to_string().into()))
    }

    async fn verdict(
        &self,
        head: &http::request::Parts,
        body: Option<&Beginning>,
        rng: &mut Rng,
    ) -> Result<Verdict, ClientError> {
        let record = self.outbound.state.records.of(&self.auth.cluster);
        record.count_request();
        let end = Instant::now() + self.auth.timeout;
        let end = self.deadline.map_or(end, |deadline| deadline.min(end));
        let asked = tokio::time::timeout_at(end.into(), self.ask((head, body), &record, end, rng)).await;
        let verdict = asked.unwrap_or_else(|_| Err("it did not answer in time".into()));
        if !matches!(verdict, Ok(Verdict::Allow(_))) {
            record.count_failure(ResponseFlag::UAEX);
        }
        verdict.map_err(|reason| ClientError::NotAuthorized {
            cluster: self.auth.cluster.clone(),
            reason: reason.to_string().into(),
        })
    }

    async fn ask(
        &self,
        (head, body): (&http::request::Parts, Option<&Beginning>),
        record: &ClusterRecord,
        end: Instant,
        rng: &mut Rng,
    ) -> Result<Verdict, BoxError> {
        let cluster = self.clusters.get(self.auth.cluster_index).and_then(Option::as_ref);
        let cluster = cluster.ok_or("it does not exist")?;
        let (mut question, protocol) = self.question(head, body)?;
        let forwarding = Forwarding {
            outbound: self.outbound,
            cluster,
            session: None,
            hash: hash::of(self.outbound, cluster, &question.head, None).number,
            policy: Some(&resent()),
            record,
            deadline: Some(end),
            protocol,
        };
        let Answered { response, in_flight, .. } = forwarding.send(&mut question, rng).await?;
        let (head, mut body) = response.into_parts();
        body.hold(in_flight);
        let collected = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        let trailers = collected.trailers().cloned();
        let body = collected.to_bytes();
        let answer = Answer { status: head.status, headers: head.headers, body, trailers };
        Ok(answer.verdict(&self.auth.protocol)?)
    }

    /// The question as the service wants it.
    fn question(
        &self,
        head: &http::request::Parts,
        body: Option<&Beginning>,
    ) -> Result<(Outgoing, Protocol), BoxError> {
        let identity = self.outbound.mesh.identity().map(|source| source.current());
        let principal = identity.as_ref().map(|identity| identity.svid.id().as_str());
        let authority = head.uri.authority().ok_or("the request names no host")?;
        let facts = CheckFacts {
            method: &head.method,
            scheme: "http",
            authority: authority.as_str(),
            path: head.uri.path_and_query().map_or("/", PathAndQuery::as_str),
            headers: &head.headers,
            principal,
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            body: body.zip(self.auth.body).map(|(body, wanted)| CheckBody {
                data: &body.data,
                is_partial: body.is_partial,
                as_bytes: wanted.as_bytes,
            }),
        };
        Ok(match &self.auth.protocol {
            AuthProtocol::Grpc(auth) => {
                let uri = uri(&auth.authority, GRPC_PATH)?;
                let body = RequestBody::Once(facts.grpc(auth));
                (outgoing(Method::POST, uri, of_grpc(), body), Protocol::Grpc)
            }
            AuthProtocol::Http(auth) => {
                let uri = uri(authority, &facts.http_path(auth))?;
                let headers = facts.http_headers(auth);
                let body = body.map(|body| body.data.clone()).filter(|data| !data.is_empty());
                let body = body.map_or(RequestBody::Empty, RequestBody::Once);
                (outgoing(head.method.clone(), uri, headers, body), Protocol::Http)
            }
        })
    }
}

fn uri(authority: &Authority, path: &str) -> Result<Uri, http::Error> {
    Uri::builder().scheme(Scheme::HTTP).authority(authority.clone()).path_and_query(path).build()
}

fn of_grpc() -> HeaderMap {
    HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/grpc")),
        (header::TE, HeaderValue::from_static("trailers")),
    ])
}

fn outgoing(method: Method, uri: Uri, headers: HeaderMap, body: RequestBody) -> Outgoing {
    let (mut head, ()) = Request::new(()).into_parts();
    (head.method, head.uri, head.headers) = (method, uri, headers);
    Outgoing::new(head, body)
}

/// A question that was certainly not looked at is asked again, as the mesh does with every request of which nothing is said.
fn resent() -> RetryPolicy {
    use RetryCondition::{ConnectFailure, RefusedStream, ResetBeforeRequest};
    let on = vec![ConnectFailure, RefusedStream, ResetBeforeRequest];
    RetryPolicy { attempts: RESENT_MAX, on, avoids_previous: true, ..RetryPolicy::default() }
}

const RESENT_MAX: u32 = 2;
