//! The caller's side: which rule takes the request, where it goes, what is changed on the way.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use mesh_core::balance::{Endpoint, Moment};
use mesh_core::canonical::{NotCanonical, canonicalize_uri, outbound_authority};
use mesh_core::resource::Provenance;
use mesh_core::route::{
    CorsVerdict, Forward, HashSource, HeaderOperations, Mirror as WireMirror, RequestFacts, RetryCondition,
    RetryPolicy, Route, RouteAction, RouteTable, WeightedDestination,
};
use mesh_core::snapshot::{HostConfig, HostState, OpaqueConfig};
use mesh_core::status::{Fault, NOT_OPAQUE, OPAQUE, answer, grpc_status_of};
use mesh_core::trace::Steps;

use super::closure::Client;
use super::destination::{fault_of, sample};
use super::explainer::is_grpc;
use super::hash::Hashing;
use super::inbound::Arriving;
use super::request::Request;
use super::target::Target;
use super::{
    Decision, DirectAnswer, HeaderChanges, Mirror, Outcome, Protocol, Question, RedirectTaken, Retries,
    RouteTaken, Translate, Unanswerable, UpstreamRequest, external_auth, fault, inbound, request, split,
};
use crate::model::{Caller, ClientKind, View, World, is_untold};
use crate::translate::name::ClusterName;

/// Follows a request from its caller.
pub(super) fn decide(
    world: &World,
    translate: &Translate,
    question: &Question,
    request: &Request,
) -> Result<Decision, Unanswerable> {
    let caller = Caller {
        namespace: question.from.namespace.as_str().into(),
        labels: Arc::new(question.from.labels.clone()),
        locality: question.from.locality.as_deref().map(Into::into),
        workload: None,
        client: ClientKind::Mesh,
    };
    let client = Client { translate, world, caller: &caller };
    let step = Step { client, question, request };
    let mut decision = Decision::new(Outcome::Forward);
    let state = step.dialled()?;
    let connects = step.connects(&state);
    let taken = match state {
        HostState::Ready(host) => {
            decision.host = Some(host.host.to_string());
            match (&host.routes, &host.opaque) {
                (_, Some(opaque)) if connects => step.connect(opaque, &mut decision).map(Some),
                (Some(routes), _) if !connects => step.route(&host, routes, &mut decision),
                _ => Err(Fault::BadRequest(if connects { NOT_OPAQUE } else { OPAQUE })),
            }
        }
        HostState::Refused => Err(Fault::DeniedOutbound),
        HostState::Absent => step.outside(connects, &mut decision),
    };
    match taken {
        Ok(Some(arriving)) => step.inbound(&arriving, &mut decision)?,
        Ok(None) => {}
        Err(fault) => step.fail(&fault, &mut decision),
    }
    if connects {
        // Who opens a connection gets an error, and no status.
        (decision.status, decision.grpc_status) = (None, None);
    }
    Ok(decision)
}

/// What every step of one question needs.
struct Step<'a> {
    client: Client<'a>,
    question: &'a Question,
    request: &'a Request,
}

impl Step<'_> {
    /// What the request is for: the host that its `host` header names, where the mesh has it on the dialled port, else what
    /// is dialled.
    fn dialled(&self) -> Result<HostState, Unanswerable> {
        let named = self.request.named().filter(|named| *named != self.request.dialled);
        if let Some(named) = named
            && let ready @ HostState::Ready(_) = self.client.host(named.as_str())?
        {
            return Ok(ready);
        }
        Ok(self.client.host(self.request.dialled.as_str())?)
    }

    /// Whether a connection is asked about: bytes, or TLS of the caller's own to a port that takes no requests.
    fn connects(&self, state: &HostState) -> bool {
        let opaque = || matches!(state, HostState::Ready(host) if host.routes.is_none());
        self.question.protocol() == Protocol::Tcp || self.request.scheme == "https" && opaque()
    }

    /// A connection of bytes: the rule that takes it, and where it goes.
    fn connect(&self, opaque: &OpaqueConfig, decision: &mut Decision) -> Result<Arriving, Fault> {
        let own = || (self.request.scheme == "https").then(|| self.request.dialled.host().to_owned());
        let server_name = self.question.sni.as_ref().map(|name| name.to_ascii_lowercase()).or_else(own);
        let mut steps = Steps::default();
        let rule = opaque.rules.decide(server_name.as_deref(), &mut steps);
        decision.trace.append(&mut steps.0);
        let rule = rule.ok_or(Fault::NoRoute)?;
        decision.route = Some(taken(&rule.provenance));
        decision.retries = (rule.connects_max > 1).then(|| Retries {
            attempts: rule.connects_max - 1,
            on: vec![RetryCondition::ConnectFailure.as_str().to_owned()],
            status_codes: Vec::new(),
            per_try_timeout: None,
        });
        let chosen = split::choose(&rule.split, self.client.world, self.question, &HeaderMap::new());
        (decision.chosen, decision.sticky) = (chosen.at, chosen.sticky);
        let cluster =
            |one: &WeightedDestination| opaque.clusters.get(one.cluster_index).and_then(Option::as_deref);
        let no_cluster = StatusCode::SERVICE_UNAVAILABLE;
        let headers = HeaderMap::new();
        let source = HashSource { headers: &headers, query: None, address: self.question.from.ip };
        let hashing = Hashing { source, draw: None, tells: false };
        let sample = sample(&rule.split, cluster, no_cluster, &hashing, decision);
        match (fault_of(cluster(sample), no_cluster), cluster(sample)) {
            (None, Some(cluster)) => Ok(Arriving::at(cluster, sure(hashing.met(cluster), decision), None)),
            (fault, _) => Err(fault.unwrap_or(Fault::NoCluster(no_cluster))),
        }
    }

    /// A host that the mesh does not know.
    fn outside(&self, connects: bool, decision: &mut Decision) -> Result<Option<Arriving>, Fault> {
        let dialled = self.request.dialled.as_str();
        decision.trace.push(format!("{dialled}: the mesh has no such host"));
        decision.outcome = Outcome::Passthrough;
        if let Some(parts) = self.request.parts.as_ref().filter(|_| !connects) {
            decision.upstream_request = Some(self.upstream_request(parts).map_err(bad_request)?);
        }
        Ok(None)
    }

    /// A host of the mesh: the rule that takes the request, and what it does.
    fn route(
        &self,
        host: &HostConfig,
        routes: &RouteTable,
        decision: &mut Decision,
    ) -> Result<Option<Arriving>, Fault> {
        let parts = self.request.parts.as_ref().ok_or(Fault::BadRequest("the path is none"))?;
        let mut canonical = parts.uri.clone();
        canonicalize_uri(&mut canonical, host.path_normalization).map_err(bad_request)?;
        let path = canonicalize_uri(&mut canonical, mesh_core::canonical::PathNormalization::None)
            .map_err(bad_request)?;
        let facts = RequestFacts {
            method: &parts.method,
            scheme: self.request.scheme,
            authority: outbound_authority(&parts.uri, &parts.headers).map_err(bad_request)?,
            path,
            query: parts.uri.query(),
            headers: &parts.headers,
        };
        let mut steps = Steps::default();
        let route = routes.decide(&facts, &mut steps);
        decision.trace.append(&mut steps.0);
        let route = route.ok_or(Fault::NoRoute)?;
        decision.route = Some(taken(&route.provenance));
        if let Some(injection) = &route.filters.fault {
            fault::inject(injection, self.question.draw, decision)?;
        }
        let cors = route.filters.cors.as_ref().map(|cors| cors.judge(&parts.method, &parts.headers));
        if let Some(CorsVerdict::Answer(headers)) = cors {
            decision.outcome = Outcome::DirectResponse;
            decision.status = Some(200);
            let headers = request::pairs(&headers, &[]);
            decision.direct_response = Some(DirectAnswer { status: 200, body: String::new(), headers });
            return Ok(None);
        }
        if let Some(auth) = &route.filters.external_auth {
            let cluster = host.clusters.get(auth.cluster_index).and_then(Option::as_deref);
            external_auth::ask(auth, cluster, decision)?;
        }
        decision.response_headers = changes(&route.response_headers);
        if let Some(CorsVerdict::Allow(headers)) = cors {
            decision.response_headers.set.extend(request::pairs(&headers, &[]));
        }
        match &route.action {
            RouteAction::Redirect(redirect) => {
                let (status, location) = (redirect.status.as_u16(), redirect.location(&facts));
                decision.outcome = Outcome::Redirect;
                decision.status = Some(status);
                decision.redirect = Some(RedirectTaken { status, location });
                Ok(None)
            }
            RouteAction::DirectResponse(response) => {
                let status = response.status.as_u16();
                let mut headers = HeaderMap::new();
                route.apply_response(None, &mut headers);
                let body = String::from_utf8_lossy(&response.body).into_owned();
                decision.outcome = Outcome::DirectResponse;
                // A gRPC caller reads trailers, which stand in an answer of HTTP's 200.
                let is_grpc = is_grpc(self.question, self.request);
                decision.status = Some(if is_grpc { 200 } else { status });
                decision.grpc_status = is_grpc.then(|| grpc_status_of(response.status));
                decision.direct_response =
                    Some(DirectAnswer { status, body, headers: request::pairs(&headers, &[]) });
                Ok(None)
            }
            RouteAction::Forward(forward) => {
                self.forward(host, route, forward, canonical_head(parts, canonical), decision)
            }
        }
    }

    fn forward(
        &self,
        host: &HostConfig,
        route: &Route,
        forward: &Forward,
        mut parts: http::request::Parts,
        decision: &mut Decision,
    ) -> Result<Option<Arriving>, Fault> {
        let destinations = &forward.split.destinations;
        let cluster =
            |one: &WeightedDestination| host.clusters.get(one.cluster_index).and_then(Option::as_deref);
        decision.timeout = forward.timeout.map(duration);
        decision.retries = forward.retry.as_ref().map(retries);
        decision.mirrors = forward.mirrors.iter().map(mirror).collect();
        let chosen = split::choose(&forward.split, self.client.world, self.question, &parts.headers);
        (decision.chosen, decision.sticky) = (chosen.at, chosen.sticky);
        let headers = parts.headers.clone();
        let query = self.request.parts.as_ref().and_then(|parts| parts.uri.query());
        let source = HashSource { headers: &headers, query, address: self.question.from.ip };
        let hashing = Hashing { source, draw: self.question.draw, tells: chosen.session.is_none() };
        let sample = sample(&forward.split, cluster, forward.no_cluster_status, &hashing, decision);
        let shown = decision.chosen.map_or(&destinations[0], |chosen| &destinations[chosen]);
        let mut shown_parts = parts.clone();
        route.apply_request(shown, &mut shown_parts).map_err(bad_request)?;
        decision.upstream_request = Some(self.upstream_request(&shown_parts).map_err(bad_request)?);
        let of_destination = changes(&shown.response_headers);
        decision.response_headers.set.extend(of_destination.set);
        decision.response_headers.add.extend(of_destination.add);
        decision.response_headers.remove.extend(of_destination.remove);
        let cluster = match (fault_of(cluster(sample), forward.no_cluster_status), cluster(sample)) {
            (None, Some(cluster)) => cluster,
            (fault, _) => return Err(fault.unwrap_or(Fault::NoCluster(forward.no_cluster_status))),
        };
        let met = chosen.session.as_ref().and_then(|session| cluster.met_by(session, Moment::START));
        let met = sure(met.or_else(|| hashing.met(cluster)), decision);
        let hash = decision.chosen.and_then(|chosen| decision.destinations[chosen].hash.as_ref());
        let told = decision.sticky.iter().chain(hash).filter_map(|one| one.set_cookie.clone());
        let told = told.map(|cookie| ("set-cookie".to_owned(), cookie));
        decision.response_headers.add.extend(told.collect::<Vec<_>>());
        route.apply_request(sample, &mut parts).map_err(bad_request)?;
        Ok(Some(Arriving::at(cluster, met, Some(&parts))))
    }

    fn upstream_request(&self, parts: &http::request::Parts) -> Result<UpstreamRequest, NotCanonical> {
        Ok(UpstreamRequest {
            method: parts.method.to_string(),
            authority: outbound_authority(&parts.uri, &parts.headers)?.to_owned(),
            path: request::path_and_query(&parts.uri),
            headers: request::pairs(&parts.headers, &self.question.headers),
        })
    }

    /// The other side of a request that is sent.
    fn inbound(&self, arriving: &Arriving, decision: &mut Decision) -> Result<(), Unanswerable> {
        let world = self.client.world;
        let port = arriving.sent_to.as_ref().map_or(self.request.dialled.port(), |(cluster, _)| cluster.port);
        let target = match &self.question.at {
            Some(at) => Some(Target::at(world, at, port)),
            None => self.served_by(arriving),
        };
        let Some(target) = target else { return Ok(()) };
        let caller = target.caller();
        let server = Client { caller: &caller, ..self.client };
        decision.inbound =
            inbound::decide(&server, &target, (self.question, self.request), arriving, &mut decision.trace)?;
        Ok(())
    }

    /// The workload that the request was sent to, if it is one of the mesh's.
    fn served_by(&self, arriving: &Arriving) -> Option<Target> {
        let (cluster, address) = arriving.sent_to.as_ref()?;
        let world = self.client.world;
        let view = View::new(self.client.caller);
        let subset = world.subset(&view, &ClusterName::parse(&cluster.name)?)?;
        let endpoints = subset.endpoints(world);
        let endpoint = endpoints.iter().find(|endpoint| endpoint.address == *address)?;
        subset.is_in_mesh(endpoint).then(|| Target::behind(subset.service, subset.port, endpoint))
    }

    /// The caller's side answers by itself, exactly as the data path would.
    fn fail(&self, fault: &Fault, decision: &mut Decision) {
        let is_grpc = is_grpc(self.question, self.request);
        decision.outcome = match fault {
            Fault::BadRequest(_) => Outcome::BadRequest,
            Fault::DeniedOutbound => Outcome::DeniedOutbound,
            Fault::NoRoute => Outcome::NoRoute,
            Fault::NoHealthyEndpoint => Outcome::NoHealthyEndpoint,
            Fault::Injected { .. } => Outcome::FaultAbort,
            _ => Outcome::NoCluster,
        };
        decision.status = Some(answer(fault, is_grpc).status().as_u16());
        decision.grpc_status = is_grpc.then(|| fault.grpc_status());
        decision.reason = Some(fault.to_string());
        decision.response_flags = match &*decision.response_flags {
            "-" => fault.response_flags().to_owned(),
            before => format!("{before},{}", fault.response_flags()),
        };
    }
}

/// The endpoint that is met, told where the destination is sure too.
fn sure<'c>(met: Option<&'c Endpoint>, decision: &mut Decision) -> Option<&'c Endpoint> {
    let met = met.filter(|_| decision.chosen.is_some());
    let told = met.filter(|met| !is_untold(met.spec.address));
    decision.endpoint = told.map(|met| met.spec.to_string());
    met
}

/// The head as it is matched: with the path that was made canonical.
fn canonical_head(parts: &http::request::Parts, uri: http::Uri) -> http::request::Parts {
    let mut parts = parts.clone();
    parts.uri = uri;
    parts
}

fn bad_request(NotCanonical(reason): NotCanonical) -> Fault {
    Fault::BadRequest(reason)
}

fn mirror(mirror: &WireMirror) -> Mirror {
    let name = ClusterName::parse(&mirror.cluster);
    Mirror {
        host: name.map_or(&*mirror.cluster, |name| name.host).to_owned(),
        subset: name.map(|name| name.subset).filter(|subset| !subset.is_empty()).map(str::to_owned),
        port: name.map_or(0, |name| name.port),
        percentage: mirror.fraction.percentage(),
    }
}

fn changes(operations: &HeaderOperations) -> HeaderChanges {
    let pair =
        |(name, value): &(http::HeaderName, http::HeaderValue)| (name.to_string(), request::text(value));
    HeaderChanges {
        set: operations.set.iter().map(pair).collect(),
        add: operations.add.iter().map(pair).collect(),
        remove: operations.remove.iter().map(ToString::to_string).collect(),
    }
}

fn retries(policy: &RetryPolicy) -> Retries {
    Retries {
        attempts: policy.attempts,
        on: policy.on.iter().map(|condition| condition.as_str().to_owned()).collect(),
        status_codes: policy.status_codes.iter().map(|status| status.as_u16()).collect(),
        per_try_timeout: policy.per_try_timeout.map(duration),
    }
}

pub(super) fn taken(provenance: &Provenance) -> RouteTaken {
    RouteTaken {
        document: owned(&provenance.document),
        rule: owned(&provenance.rule),
        name: owned(&provenance.name),
        at: owned(&provenance.at),
    }
}

pub(super) fn owned(text: &Option<Arc<str>>) -> Option<String> {
    text.as_deref().map(str::to_owned)
}

/// `1.5s`, `250ms`.
pub(super) fn duration(duration: Duration) -> String {
    let milliseconds = duration.as_secs_f64() * 1000.0;
    if milliseconds < 1000.0 { format!("{milliseconds}ms") } else { format!("{}s", duration.as_secs_f64()) }
}
