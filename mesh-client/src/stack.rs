//! The way of a request, written once:
//!
//! ```text
//!   context ► host ► route ► fault ► cors ► external auth ► split ► mirror ► deadline ► retry( balance ► connection )
//! ```
//! * **context** first, since everything after it may read the deadline, trace and headers that the request inherits;
//! * **host**: one look at one snapshot, whose closure serves the request to its end, whatever is published meanwhile;
//! * **route** sees the path in canonical form and the headers as they will be sent, save for its own changes;
//! * **fault** waits or answers before anything is chosen or sent, and its wait is no part of the route's timeout;
//! * **cors** answers a browser's preflight in the destination's place, and tells it who may read the response;
//! * **external auth** asks a service once per request. A preflight is answered before, for it carries no credentials; everything
//!   that the rule does comes after, so that nothing of a denied request is sent or copied, and a sticky choice sees what the answer
//!   says of the user;
//! * **split** chooses once per request, not per attempt: a retry must not leak a request into another version;
//! * **mirror** copies the request as it is sent, and neither waits nor fails;
//! * **deadline** lies around all attempts and the response's body, as the route's timeout is defined;
//! * **retry** inside it asks another endpoint each time; **balance** and **connection** know one attempt only.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fastrand::Rng;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use mesh_core::Mesh;
use mesh_core::canonical::{NotAHost, PathNormalization, canonicalize_uri};
use mesh_core::context::RequestContext;
use mesh_core::route::{
    Choice, CorsVerdict, ExternalAuth, Forward, Hashed, HeaderOperations, KeySource, RequestFacts, Route,
    RouteAction, Split, StickyKey,
};
use mesh_core::snapshot::HostConfig;
use mesh_core::trace::NoTrace;

use crate::answer;
use crate::body::{BoxError, Protocol, RequestBody, ResponseBody};
use crate::channel;
use crate::connection::Outgoing;
use crate::deadline::{Limits, Timer, grpc_timeout};
use crate::error::{ClientError, Failure};
use crate::external_auth::Asking;
use crate::fault;
use crate::hash;
use crate::host::{self, Destination};
use crate::mirror::Original;
use crate::outbound::Outbound;
use crate::propagation;
use crate::retry::{Answered, Forwarding};

/// What a channel dials, or why it dials nothing; a client's requests say it themselves.
pub(crate) type Dialled = Option<Arc<Result<channel::Destination, NotAHost>>>;

impl Outbound {
    /// Sends a request, whose draws the mesh makes. The context is taken here, in the caller's own task.
    pub(crate) fn call<B>(
        self,
        dialled: Dialled,
        request: Request<B>,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + 'static
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let rng = self.mesh.rng();
        self.call_with(dialled, request, rng)
    }

    /// As [`call`](Self::call), with draws that can be foretold.
    pub(crate) fn call_with<B>(
        self,
        dialled: Dialled,
        request: Request<B>,
        mut rng: Rng,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + 'static
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let context = RequestContext::current();
        let (head, body) = request.into_parts();
        let (mut request, mut body) = (Outgoing::new(head, RequestBody::Empty), Some(body));
        async move {
            let protocol = protocol_of(&request.head);
            let call = Call { outbound: &self, context, protocol, start: Instant::now() };
            let done = match poll_fn(|cx| Poll::Ready(read_ahead(&mut request, body.take(), cx))).await {
                Ok(()) => call.run(dialled.as_deref(), &mut request, &mut rng).await,
                Err(error) => Err(error.into()),
            };
            done.unwrap_or_else(|failure| answer::refuse(failure, protocol))
        }
    }
}

/// One request and what all its stages need.
struct Call<'a> {
    outbound: &'a Outbound,
    context: Option<Arc<RequestContext>>,
    protocol: Protocol,
    start: Instant,
}

impl Call<'_> {
    async fn run(
        &self,
        dialled: Option<&Result<channel::Destination, NotAHost>>,
        request: &mut Outgoing,
        rng: &mut Rng,
    ) -> Result<Response<ResponseBody>, Failure> {
        if request.head.method == Method::CONNECT {
            let reason = "CONNECT asks for a tunnel, which the mesh does not carry";
            return Err(ClientError::Unsendable(reason.into()).into());
        }
        if let Some(context) = &self.context {
            propagation::inherit(context, &mut request.head.headers);
        }
        propagation::strip_hop_by_hop(request);
        let head = &mut request.head;
        match self.find_host(dialled, head).await? {
            Destination::Outside(host) => {
                let limits = self.limits(head);
                let sending = pin!(self.outbound.state.passthrough.send(&self.outbound.mesh, host, request));
                Ok(self.within(limits, sending).await?)
            }
            Destination::Mesh(config) => {
                let route = decide(&config, head)?;
                let answered = self.follow(&config, route, request, rng).await;
                answered.map_err(|error| Failure { error, rule: Some(route.provenance.clone()) })
            }
        }
    }

    /// Resolves the host and settles what the request calls it.
    async fn find_host(
        &self,
        dialled: Option<&Result<channel::Destination, NotAHost>>,
        head: &mut http::request::Parts,
    ) -> Result<Destination, ClientError> {
        let (name, authority) = match dialled {
            Some(Ok(channel)) => (channel.host.clone(), Some(&channel.authority)),
            Some(Err(error)) => return Err(error.clone().into()),
            None => match host::known(&self.outbound.mesh, &head.uri, &head.headers) {
                Some(config) => return Ok(Destination::Mesh(config)),
                None => (host::dialled(&head.uri, &head.headers)?, None),
            },
        };
        if host::is_https(&head.uri) {
            return Err(ClientError::Https { host: name.as_str().into() });
        }
        let wait = self.outbound.mesh.settings().resolve_wait;
        let deadline = self.limits(head).deadline(self.start);
        let wait =
            deadline.map_or(wait, |deadline| wait.min(deadline.saturating_duration_since(Instant::now())));
        let found = host::find(&self.outbound.mesh, name, &head.headers, wait).await?;
        host::settle_authority(head, authority)?;
        Ok(found)
    }

    /// Does what the rule says: first its filters, then its action.
    async fn follow(
        &self,
        config: &HostConfig,
        route: &Route,
        request: &mut Outgoing,
        rng: &mut Rng,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let head = &mut request.head;
        let held_up = match &route.filters.fault {
            Some(fault) => {
                let deadline = self.limits(head).deadline(self.start).map(Into::into);
                fault::inject(fault, deadline, rng).await?
            }
            None => Duration::ZERO,
        };
        let cors = route.filters.cors.as_ref().map(|cors| cors.judge(&head.method, &head.headers));
        let mut told: Option<Box<HeaderOperations>> = match cors {
            Some(CorsVerdict::Answer(headers)) => return Ok(answer::preflight(headers)),
            Some(CorsVerdict::Allow(headers)) => {
                let set = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                Some(Box::new(HeaderOperations { set, ..HeaderOperations::default() }))
            }
            Some(CorsVerdict::Untouched) | None => None,
        };
        let acted = match &route.filters.external_auth {
            None => self.act(config, (route, held_up), request, rng).await,
            // On the heap, so that requests of other rules are no larger for it.
            Some(auth) => {
                let rule = (route, auth, held_up);
                Box::pin(self.act_if_authorized(config, rule, request, &mut told, rng)).await
            }
        };
        let Some(told) = told else { return acted };
        let refuse = |error| Failure { error, rule: Some(route.provenance.clone()) };
        let mut response = acted.unwrap_or_else(|error| answer::refuse(refuse(error), self.protocol));
        told.apply(response.headers_mut());
        Ok(response)
    }

    /// Acts if the rule's authorization service, asked within the request's own time, lets it.
    async fn act_if_authorized(
        &self,
        config: &HostConfig,
        (route, auth, held_up): (&Route, &ExternalAuth, Duration),
        request: &mut Outgoing,
        told: &mut Option<Box<HeaderOperations>>,
        rng: &mut Rng,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let timeout = match &route.action {
            RouteAction::Forward(forward) => forward.timeout.map(|timeout| timeout.saturating_add(held_up)),
            RouteAction::Redirect(_) | RouteAction::DirectResponse(_) => None,
        };
        let deadline = Limits { route: timeout, ..self.limits(&request.head) }.deadline(self.start);
        let (outbound, clusters, protocol) = (self.outbound, &*config.clusters, self.protocol);
        let asking = Asking { outbound, clusters, route, auth, deadline, protocol };
        match asking.denial(request, told, rng).await {
            Some(denied) => denied,
            None => self.act(config, (route, held_up), request, rng).await,
        }
    }

    /// What the rule does with a request that has passed its filters.
    async fn act(
        &self,
        config: &HostConfig,
        (route, held_up): (&Route, Duration),
        request: &mut Outgoing,
        rng: &mut Rng,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let mut answer = match &route.action {
            RouteAction::Forward(forward) => {
                return self.forward(config, (route, forward, held_up), request, rng).await;
            }
            RouteAction::Redirect(redirect) => {
                // The path is canonical by now.
                let location =
                    with_facts(&mut request.head, PathNormalization::None, |facts| redirect.location(facts))?;
                answer::redirect(redirect.status, &location)
            }
            RouteAction::DirectResponse(direct) => {
                answer::direct(direct.status, direct.body.clone(), self.protocol)
            }
        };
        route.apply_response(None, answer.headers_mut());
        Ok(answer)
    }

    async fn forward(
        &self,
        config: &HostConfig,
        (route, forward, held_up): (&Route, &Forward, Duration),
        request: &mut Outgoing,
        rng: &mut Rng,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let no_cluster = |cluster: &Arc<str>| ClientError::NoCluster {
            host: config.name.clone(),
            cluster: cluster.clone(),
            status: forward.no_cluster_status,
        };
        let Some(choice) = choose(&self.outbound.mesh, &forward.split, &request.head.headers, rng) else {
            return Err(no_cluster(&Arc::from("(every weight is 0)")));
        };
        let destination = choice.destination;
        let cluster = config.clusters.get(destination.cluster_index).and_then(Option::as_ref);
        let cluster = cluster.ok_or_else(|| no_cluster(&destination.cluster))?;
        // A session has told the caller all that brings it back.
        let told = choice.session.is_none().then_some(&mut *rng);
        let Hashed { number: hash, set_cookie } = hash::of(self.outbound, cluster, &request.head, told);
        let timeout = forward.timeout.map(|timeout| timeout.saturating_add(held_up));
        let limits = Limits { route: timeout, ..self.limits(&request.head) };
        route.apply_request(destination, &mut request.head)?;
        host::settle_authority(&mut request.head, None)?;
        let deadline = limits.deadline(self.start);
        if !forward.mirrors.is_empty() {
            let (outbound, clusters, protocol) = (self.outbound, &*config.clusters, self.protocol);
            Original { outbound, clusters, deadline, protocol }.mirror(&forward.mirrors, request, rng);
        }
        let record = self.outbound.state.records.of(&cluster.spec.name);
        record.count_request();
        let forwarding = Forwarding {
            outbound: self.outbound,
            cluster,
            session: choice.session.as_ref(),
            hash,
            policy: forward.retry.as_ref(),
            record: &record,
            deadline,
            protocol: self.protocol,
        };
        let sending = pin!(async {
            let Answered { mut response, in_flight, endpoint } = forwarding.send(request, rng).await?;
            response.body_mut().hold(in_flight);
            route.apply_response(Some(destination), response.headers_mut());
            for cookie in choice.set_cookie.iter().chain(&set_cookie) {
                response.headers_mut().append(header::SET_COOKIE, HeaderValue::clone(cookie));
            }
            if let Some(session) = &choice.session {
                session.tell(endpoint, response.headers_mut());
            }
            Ok(response)
        });
        let sent = self.within(limits, sending).await;
        sent.inspect_err(|error| error.flag().into_iter().for_each(|flag| record.count_failure(flag)))
    }

    /// Puts head and body of a response under the request's deadline.
    async fn within(
        &self,
        limits: Limits,
        mut sending: Pin<&mut impl Future<Output = Result<Response<ResponseBody>, ClientError>>>,
    ) -> Result<Response<ResponseBody>, ClientError> {
        let Some(deadline) = limits.deadline(self.start) else {
            return sending.await;
        };
        // Asked of the clock, since a timer goes off only with its next tick.
        if deadline <= Instant::now() {
            return Err(ClientError::Deadline);
        }
        let mut timer = Timer::at(deadline);
        let mut response = poll_fn(|cx| match sending.as_mut().poll(cx) {
            Poll::Ready(sent) => Poll::Ready(sent),
            Poll::Pending => timer.poll(cx).map(|()| Err(ClientError::Deadline)),
        })
        .await?;
        response.body_mut().limit(timer, self.protocol);
        Ok(response)
    }

    /// What limits the request without its route.
    fn limits(&self, head: &http::request::Parts) -> Limits {
        Limits {
            route: None,
            grpc: grpc_timeout(&head.headers),
            inherited: self.context.as_ref().and_then(|context| context.deadline),
        }
    }
}

/// One choice for all attempts, by the headers as the rule saw them, and by who this process is.
pub(crate) fn choose<'s>(
    mesh: &Mesh,
    split: &'s Split,
    headers: &HeaderMap,
    rng: &mut Rng,
) -> Option<Choice<'s>> {
    let by_identity = matches!(split.sticky_key(), Some(StickyKey::Identity));
    let identity = mesh.identity().filter(|_| by_identity).map(|source| source.current());
    let principal = identity.as_ref().map(|identity| identity.svid.id().principal());
    let unix_time = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let unix_seconds = split.minds_time().then(unix_time);
    split.choose(&KeySource { headers, identity: principal, unix_seconds }, Some(rng.f64()))
}

/// The host's rule for the request, whose path becomes canonical.
fn decide<'c>(config: &'c HostConfig, head: &mut http::request::Parts) -> Result<&'c Route, ClientError> {
    let routes = config.routes.as_ref().ok_or_else(|| ClientError::Opaque { host: config.name.clone() })?;
    let decided = with_facts(head, config.path_normalization, |facts| routes.decide(facts, &mut NoTrace))?;
    decided.ok_or_else(|| ClientError::NoRoute {
        host: config.name.clone(),
        documents: routes.documents().join(", ").into(),
    })
}

/// What rules see of a request, once its path is canonical.
fn with_facts<T>(
    head: &mut http::request::Parts,
    level: PathNormalization,
    see: impl FnOnce(&RequestFacts<'_>) -> T,
) -> Result<T, ClientError> {
    let uri = head.uri.clone();
    let path = canonicalize_uri(&mut head.uri, level)?;
    Ok(see(&RequestFacts {
        method: &head.method,
        scheme: "http",
        authority: uri.authority().map_or("", Authority::as_str),
        path,
        query: uri.query(),
        headers: &head.headers,
    }))
}

/// Puts the caller's body, unless it has been taken already, into the request.
fn read_ahead<B>(request: &mut Outgoing, body: Option<B>, cx: &mut Context<'_>) -> Result<(), ClientError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    if let Some(body) = body {
        request.body = RequestBody::read_ahead(body, cx)
            .map_err(|error| ClientError::RequestBody(error.to_string().into()))?;
    }
    Ok(())
}

/// gRPC says what it is in its content type.
fn protocol_of(head: &http::request::Parts) -> Protocol {
    let grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if grpc { Protocol::Grpc } else { Protocol::Http }
}
