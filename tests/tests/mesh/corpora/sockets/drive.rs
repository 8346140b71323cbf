//! One question after the other: its documents applied, its servers there, its caller calling.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use control_plane::explain::{Decision, Outcome as Answer, Question, Transport};
use mesh_core::Mesh;
use mesh_core::canonical::HostPort;
use mesh_core::snapshot::HostState;
use serde_json::{Value, json};

use super::super::{Asked, Outcome, same};
use super::agreement::{self, application_headers, endpoints, essence, holds};
use super::bytes;
use super::call::{Called, Letter, call, send};
use super::copies::Copies;
use super::documents::{Carries, Documents, Labels, Service, Workload};
use super::fleet::{Fleet, Ports};
use super::question::{Drivable, Way, drivable, serving};

/// How often a call is made that has one end.
const CALLS: usize = 2;
/// How improbable it may be that an end is not met which has some odds: e to the minus this.
const MISSED_EXPONENT: f64 = 20.0;
const SETTLED: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// A fleet under one set of documents after the other.
pub(super) struct Driver {
    fleet: Fleet,
    applied: Option<Documents>,
}

impl Driver {
    pub(super) async fn start() -> Self {
        Self { fleet: Fleet::start().await, applied: None }
    }

    /// Drives a case; fails where sockets differ from what `explain` says.
    pub(super) async fn drive(&mut self, asked: &Asked) -> Result<(), Outcome> {
        for drivable in drivable(asked)? {
            self.fleet.recorder.clear();
            self.drive_one(&drivable).await?;
        }
        Ok(())
    }

    async fn drive_one(&mut self, drivable: &Drivable) -> Result<(), Outcome> {
        let Drivable { documents, question, from, way, decision } = drivable;
        self.fleet.serve(&wanted(documents, question, decision)).await;
        if self.applied.as_ref() != Some(documents) {
            self.applied = None;
            let applied = self.fleet.apply(documents).await;
            applied.map_err(|verdicts| Outcome::Wrong(format!("the documents are refused: {verdicts}")))?;
            self.applied = Some(documents.clone());
        }
        let online = self.known(documents, question).await?;
        same("what explain says of the running mesh", essence(&online), essence(decision))?;
        self.fleet.settle().await;
        let caller = self.fleet.caller(from).await;
        match way {
            Way::Whole => self.whole(&caller, documents, question, &online).await,
            Way::Outside => outside(&caller, question).await,
            Way::AtTheServer(transport) => {
                self.at_the_server(&caller, documents, question, *transport, &online).await
            }
        }
    }

    /// The running mesh's answer, once it knows who serves each destination.
    async fn known(&mut self, documents: &Documents, question: &Question) -> Result<Decision, Outcome> {
        let start = Instant::now();
        loop {
            let decision = self.explain(question).await?;
            // A destination without balancer is no cluster: it does not exist, or the route may not use it.
            let mut clusters = decision.destinations.iter().filter(|one| one.load_balancer.is_some());
            let differs = clusters.find_map(|one| {
                let rules = one.destination_rule.iter().filter_map(|rule| rule.document.clone());
                let rules: Vec<String> = rules.collect();
                let due = self.serving(documents, (&one.host, one.port), one.subset.as_deref(), &rules);
                let seen = one.endpoints.iter().filter_map(|one| one.address.as_ref()?.parse().ok());
                let seen: BTreeSet<SocketAddr> = seen.collect();
                (seen != due).then(|| format!("{} is served at {seen:?}, not at {due:?}", one.host))
            });
            match differs {
                None => return Ok(decision),
                Some(differs) if start.elapsed() > SETTLED => return Err(Outcome::Wrong(differs)),
                Some(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    async fn explain(&mut self, question: &Question) -> Result<Decision, Outcome> {
        let answer = self.fleet.explain(&json!(question)).await;
        serde_json::from_str(&answer).map_err(|_| Outcome::Wrong(answer))
    }

    /// Where a service's port, or a subset of it, is served by what the documents say.
    fn serving(
        &self,
        documents: &Documents,
        (host, port): (&str, u16),
        subset: Option<&str>,
        rules: &[String],
    ) -> BTreeSet<SocketAddr> {
        let services = documents.services();
        let Some(service) = services.iter().find(|service| service.hosts.iter().any(|one| one == host))
        else {
            return BTreeSet::new();
        };
        let Some(port) = service.ports.get(&port) else { return BTreeSet::new() };
        let mut labels = service.selector.clone();
        if let Some(name) = subset {
            match documents.subset(rules, name) {
                Some(of_subset) => labels.extend(of_subset),
                None => return BTreeSet::new(),
            }
        }
        self.fleet.listening(&service.namespace, &labels, *port)
    }

    /// The request, from the caller's code to the server's, until each end that has odds has been met.
    async fn whole(
        &mut self,
        caller: &Mesh,
        documents: &Documents,
        question: &Question,
        decision: &Decision,
    ) -> Result<(), Outcome> {
        let ends = self.ends(question, decision).await?;
        let delayed = decision.fault.delay.as_ref().is_some_and(|delay| delay.applies != Some(false));
        let mut copies = Copies::new(decision, |mirror| {
            self.serving(documents, (&mirror.host, mirror.port), mirror.subset.as_deref(), &[])
        });
        let least = if delayed { 1 } else { copies.calls_min().unwrap_or(CALLS) };
        let odds = ends.iter().map(|(odds, _)| *odds).fold(1.0, f64::min);
        let most = (MISSED_EXPONENT / odds).ceil() as usize;
        let mut met = BTreeSet::new();
        for calls in 0..most.max(least) {
            if met.len() == ends.len() && calls >= least {
                break;
            }
            self.fleet.recorder.answer_with(application_headers(decision));
            let called = match bytes::carried(question, decision) {
                Carries::Requests => call(caller, question, &self.fleet.recorder, copies.sure()).await?,
                Carries::Bytes => bytes::connect(caller, question, &self.fleet.recorder).await?,
            };
            met.insert(meets(&ends, &called)?);
            copies.note(&called)?;
        }
        same("how many of its ends are met", met.len(), ends.len())?;
        copies.finish(&self.fleet.recorder).await
    }

    /// What may become of a request, with the odds: one decision for each destination that may be drawn.
    async fn ends(
        &mut self,
        question: &Question,
        decision: &Decision,
    ) -> Result<Vec<(f64, Decision)>, Outcome> {
        if decision.chosen.is_some()
            || decision.destinations.len() < 2
            || decision.outcome == Answer::FaultAbort
        {
            return Ok(vec![(1.0, decision.clone())]);
        }
        let mut ends: Vec<(f64, Decision)> = Vec::new();
        let mut below = 0.0;
        for (place, destination) in decision.destinations.iter().enumerate() {
            if destination.odds > 0.0 {
                let drawn = Question { draw: Some(below + destination.odds / 2.0), ..question.clone() };
                let end = self.explain(&drawn).await?;
                same("the destination drawn", end.chosen, Some(place))?;
                // Nobody could tell two of them apart that do the same at the same place.
                let same_end = |other: &&mut (f64, Decision)| looks(&other.1) == looks(&end);
                match ends.iter_mut().find(same_end) {
                    Some((odds, _)) => *odds += destination.odds,
                    None => ends.push((destination.odds, end)),
                }
            }
            below += destination.odds;
        }
        Ok(ends)
    }

    /// The request as the server would get it, written to the server by hand.
    async fn at_the_server(
        &mut self,
        caller: &Mesh,
        documents: &Documents,
        question: &Question,
        transport: Transport,
        decision: &Decision,
    ) -> Result<(), Outcome> {
        let served = match question.inbound_only {
            true => {
                let (at, port) = server(documents, question);
                self.fleet.listening(&at.namespace, &at.labels, port)
            }
            false => endpoints(decision),
        };
        let server = served.first().copied();
        let server = server.ok_or_else(|| Outcome::Wrong("nobody serves".to_owned()))?;
        if bytes::carried(question, decision) == Carries::Bytes {
            let called = bytes::send(caller, server, transport, decision, &self.fleet.recorder).await?;
            return holds(decision, &called, &served);
        }
        let (_, rest) = question.url.split_once("://").unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let said = question.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let authority = said.map_or(authority, |(_, value)| value.as_str());
        let written = match &decision.upstream_request {
            Some(sent) => Letter {
                server,
                transport,
                method: &sent.method,
                path: &sent.path,
                authority: &sent.authority,
                headers: &sent.headers,
            },
            None => Letter {
                server,
                transport,
                method: question.method(),
                path: if path.is_empty() { "/" } else { path },
                authority,
                headers: &question.headers,
            },
        };
        let called = send(caller, &written, &self.fleet.recorder).await;
        holds(decision, &called, &served)
    }
}

/// The mesh says to the caller that it has no such host. Nobody is called: what is outside is not on this machine.
async fn outside(caller: &Mesh, question: &Question) -> Result<(), Outcome> {
    let authority = question.url.split('/').nth(2).unwrap_or_default();
    let host = HostPort::parse(authority, 80).map_err(|error| Outcome::Wrong(error.to_string()))?;
    match caller.resolve(&host, SETTLED).await {
        Ok(HostState::Absent) => Ok(()),
        other => Err(Outcome::Wrong(format!("{host} should be outside the mesh and is {other:?}"))),
    }
}

/// What of a decision shows to whoever calls and whoever receives.
fn looks(end: &Decision) -> Value {
    let mut said = essence(end);
    said["chosen"].take();
    json!([said, endpoints(end)])
}

/// The place of the end that a call has met.
fn meets(ends: &[(f64, Decision)], called: &Called) -> Result<usize, Outcome> {
    let reached = agreement::addresses(&called.received);
    let is_met = |end: &Decision| !reached.is_disjoint(&endpoints(end));
    let mut failed = None;
    for (place, (_, end)) in ends.iter().enumerate() {
        // Two destinations may be one place: what arrives there says which of them was drawn.
        if reached.is_empty() || is_met(end) || ends.len() == 1 {
            match holds(end, called, &endpoints(end)) {
                Ok(()) => return Ok(place),
                Err(differs) => failed = failed.or(Some(differs)),
            }
        }
    }
    Err(failed.unwrap_or_else(|| Outcome::Wrong(format!("{reached:?} is none of its destinations"))))
}

/// Who is to serve, and on which ports: what the documents describe, and whatever else the question presumes.
fn wanted(documents: &Documents, question: &Question, decision: &Decision) -> BTreeMap<Workload, Ports> {
    let mut wanted: BTreeMap<Workload, Ports> = BTreeMap::new();
    let services = documents.services();
    let asked = bytes::carried(question, decision);
    let listens =
        |workload: &Workload, port: u16| (port, declared(&services, workload, port).unwrap_or(asked));
    for workload in documents.workloads() {
        let selecting = services.iter().filter(|service| service.selects(&workload));
        let ports = selecting.flat_map(|service| service.ports.values());
        let ports: Ports = ports.map(|port| listens(&workload, *port)).collect();
        if !ports.is_empty() {
            wanted.insert(workload, ports);
        }
    }
    for service in services
        .iter()
        .filter(|service| !wanted.keys().any(|workload| service.selects(workload)))
        .collect::<Vec<_>>()
    {
        for labels in presumed(documents, &service.hosts, decision) {
            let labels = service.selector.clone().into_iter().chain(labels).collect();
            let workload =
                Workload { namespace: service.namespace.clone(), account: "default".to_owned(), labels };
            let ports: Ports = service.ports.values().map(|port| listens(&workload, *port)).collect();
            wanted.entry(workload).or_default().extend(ports);
        }
    }
    if question.inbound_only {
        let (at, port) = server(documents, question);
        // A request may be asked about at a port of bytes: how a server listens says what it reads.
        let carries = match declared(&services, &at, port) {
            Some(Carries::Requests) => Carries::Requests,
            _ => asked,
        };
        wanted.entry(at).or_default().insert(port, carries);
    }
    wanted
}

/// What the services of a workload say of its port.
fn declared(services: &[Service], workload: &Workload, port: u16) -> Option<Carries> {
    let selecting = services.iter().filter(|service| service.selects(workload));
    selecting.filter_map(|service| service.declared.get(&port)).copied().next()
}

/// The labels beside its selector that each of a service's destinations asks for.
fn presumed(documents: &Documents, hosts: &[String], decision: &Decision) -> BTreeSet<Labels> {
    let destinations = decision.destinations.iter().map(|one| {
        let rules = one.destination_rule.iter().filter_map(|rule| rule.document.clone()).collect::<Vec<_>>();
        (&one.host, one.subset.as_deref(), rules)
    });
    let mirrors = decision.mirrors.iter().map(|one| (&one.host, one.subset.as_deref(), Vec::new()));
    let named = destinations.chain(mirrors).filter(|(host, ..)| hosts.contains(host));
    named
        .filter_map(|(_, subset, rules)| match subset {
            None => Some(Labels::new()),
            Some(name) => documents.subset(&rules, name),
        })
        .collect()
}

/// The server that an inbound question is about, and the port there.
fn server(documents: &Documents, question: &Question) -> (Workload, u16) {
    let at: Value = json!(question.at);
    let workload = serving(&at);
    let number = |value: &Value| value.as_u64().and_then(|port| u16::try_from(port).ok());
    let declared = || {
        let services = documents.services();
        let of = services.iter().filter(|service| service.selects(&workload));
        let dialled = question.url.parse::<http::Uri>().ok().and_then(|url| url.port_u16());
        let port = number(&at["port"]).or(dialled).unwrap_or(80);
        of.filter_map(|service| service.ports.get(&port).copied()).next()
    };
    let port = number(&at["workload_port"]).or_else(declared);
    (workload.clone(), port.expect("the question says where it is asked"))
}
