//! The server's side: whether the transport is taken, and whether policy lets the request in.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Uri};
use mesh_core::authz::{InboundFacts, InboundHttp};
use mesh_core::balance::Endpoint;
use mesh_core::canonical::{
    NotCanonical, PathNormalization, canonicalize_uri, inbound_authority, outbound_authority,
};
use mesh_core::resource::{ClusterSpec, Health, InboundListener, InvalidResource, MtlsMode, UpstreamTls};
use mesh_core::snapshot::Cluster;
use mesh_core::status::{Fault, answer};
use mesh_core::trace::Steps;

use super::closure::Client;
use super::explainer::is_grpc;
use super::outbound::owned;
use super::request::Request;
use super::target::Target;
use super::{Inbound, InboundRequest, Protocol, Question, Transport, TransportResult, Verdict, request};
use crate::model::Protocol as PortProtocol;

/// A request as it comes to a server.
pub(super) struct Arriving {
    /// Its head, unless no server could read it.
    head: Result<Head, NotCanonical>,
    /// The cluster that it was sent to, and the endpoint.
    pub(super) sent_to: Option<(Arc<ClusterSpec>, SocketAddr)>,
    transport: Option<Transport>,
    /// Whether it is a connection of bytes, of which no server reads a request.
    is_connection: bool,
}

#[derive(Clone)]
struct Head {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Arriving {
    /// A request, or a connection, that was sent to the endpoint that is sure, else to the first of a cluster that takes requests.
    pub(super) fn at(
        cluster: &Cluster,
        sure: Option<&Endpoint>,
        parts: Option<&http::request::Parts>,
    ) -> Self {
        let healthy = |endpoint: &&Endpoint| endpoint.spec.health == Health::Healthy;
        let endpoint = sure.or_else(|| cluster.endpoints.iter().find(healthy)).map(|endpoint| &endpoint.spec);
        let transport = match (&cluster.spec.tls, endpoint) {
            (UpstreamTls::MeshMtls { .. }, Some(endpoint)) if endpoint.mesh_mtls => Transport::Mtls,
            // Whatever it shows, it is no certificate of the mesh's.
            (UpstreamTls::Outside(_), _) => Transport::Tls,
            _ => Transport::Plaintext,
        };
        Self {
            head: parts.map_or(Err(NotCanonical("it is no request")), head),
            is_connection: parts.is_none(),
            sent_to: endpoint.map(|endpoint| (Arc::clone(&cluster.spec), endpoint.address)),
            transport: Some(transport),
        }
    }

    /// A request as its caller wrote it, or the connection that it asks for.
    pub(super) fn untouched(question: &Question, request: &Request) -> Self {
        let unreadable = Err(NotCanonical("the path is none"));
        let head = request.parts.as_ref().map_or(unreadable, head);
        Self { head, sent_to: None, transport: None, is_connection: question.protocol() == Protocol::Tcp }
    }
}

/// What a server gets: a path, and one authority.
fn head(parts: &http::request::Parts) -> Result<Head, NotCanonical> {
    let authority = outbound_authority(&parts.uri, &parts.headers)?;
    let refuse = |_| NotCanonical("the authority is none");
    let mut headers = parts.headers.clone();
    headers.insert(HOST, HeaderValue::from_str(authority).map_err(refuse)?);
    let uri = request::path_and_query(&parts.uri).parse().map_err(|_| NotCanonical("the path is none"))?;
    Ok(Head { method: parts.method.clone(), uri, headers })
}

/// Judges a request at a workload; none if the workload has no configuration, and so takes nothing.
pub(super) fn decide(
    server: &Client<'_>,
    target: &Target,
    (question, request): (&Question, &Request),
    arriving: &Arriving,
    trace: &mut Vec<String>,
) -> Result<Option<Inbound>, InvalidResource> {
    let Some(listener) = server.inbound(&target.listener())? else { return Ok(None) };
    let transport = question.transport.or(arriving.transport).unwrap_or(match listener.mtls_mode {
        MtlsMode::Disable => Transport::Plaintext,
        MtlsMode::Permissive | MtlsMode::Strict => Transport::Mtls,
    });
    let result = transport_result(&listener, transport, arriving.is_connection, target.protocol);
    let mtls = (transport, result) == (Transport::Mtls, TransportResult::Accepted);
    let inbound = Inbound {
        workload: owned(&listener.workload),
        mtls_mode: spelled(listener.mtls_mode).to_owned(),
        transport,
        transport_result: result,
        reason: None,
        principal: question.from.principal(&server.world.settings().trust_domain).filter(|_| mtls),
        request_principal: None,
        decision: Verdict::Deny,
        policy: None,
        rule: None,
        at: None,
        status: None,
        grpc_status: None,
        would_deny: Vec::new(),
        request: None,
    };
    let own = arriving.sent_to.as_ref().and_then(|(cluster, _)| match &cluster.tls {
        UpstreamTls::MeshMtls { sni, .. } => Some(&**sni),
        UpstreamTls::Plaintext | UpstreamTls::Outside(_) => None,
    });
    let server_name = question.sni.as_deref().or(own).filter(|_| mtls).unwrap_or_default();
    let is_grpc = is_grpc(question, request);
    let judge = Judge { listener: &listener, target, question, server_name, is_grpc };
    Ok(Some(match result {
        TransportResult::Refused => judge.refused(inbound),
        TransportResult::ProtocolError => {
            let reason = "the port speaks HTTP".to_owned();
            Inbound { reason: Some(reason), ..inbound }
        }
        TransportResult::ForwardUntouched => judge.bytes(inbound, trace),
        TransportResult::Accepted if arriving.is_connection => judge.bytes(inbound, trace),
        TransportResult::Accepted => match &arriving.head {
            Ok(head) => judge.http(inbound, head.clone(), trace),
            Err(NotCanonical(reason)) => judge.unreadable(inbound, reason),
        },
    }))
}

struct Judge<'a> {
    listener: &'a InboundListener,
    target: &'a Target,
    question: &'a Question,
    /// That of a handshake of the mesh's own TLS.
    server_name: &'a str,
    is_grpc: bool,
}

impl Judge<'_> {
    /// The transport is not taken: PeerAuthentication decides before any policy is asked.
    fn refused(&self, inbound: Inbound) -> Inbound {
        let by = &self.listener.mtls_provenance;
        Inbound {
            reason: Some(format!("{} takes mutual TLS only", spelled(self.listener.mtls_mode))),
            policy: owned(&by.document),
            rule: owned(&by.rule),
            at: owned(&by.at),
            ..inbound
        }
    }

    /// What cannot be made canonical is refused before any policy is asked.
    fn unreadable(&self, inbound: Inbound, reason: &'static str) -> Inbound {
        self.denied(Inbound { reason: Some(reason.to_owned()), ..inbound }, &Fault::BadRequest(reason))
    }

    fn denied(&self, inbound: Inbound, fault: &Fault) -> Inbound {
        let status = answer(fault, self.is_grpc).status().as_u16();
        let grpc_status = self.is_grpc.then(|| fault.grpc_status());
        Inbound { decision: Verdict::Deny, status: Some(status), grpc_status, ..inbound }
    }

    /// A connection of which only the ends are known.
    fn bytes(&self, inbound: Inbound, trace: &mut Vec<String>) -> Inbound {
        let (verdict, inbound) = self.policy(inbound, None, trace);
        Inbound { decision: verdict, ..inbound }
    }

    fn http(&self, inbound: Inbound, mut head: Head, trace: &mut Vec<String>) -> Inbound {
        let canonical = canonicalize_uri(&mut head.uri, self.listener.path_normalization).map(|_| ());
        let authority =
            canonical.and_then(|()| inbound_authority(&head.uri, &head.headers).map(str::to_owned));
        let authority = match authority {
            Ok(authority) => authority,
            Err(NotCanonical(reason)) => return self.unreadable(inbound, reason),
        };
        let request = InboundRequest {
            authority: authority.clone(),
            path: request::path_and_query(&head.uri),
            headers: request::pairs(&head.headers, &self.question.headers),
        };
        let path = match canonicalize_uri(&mut head.uri, PathNormalization::None) {
            Ok(path) => path,
            Err(NotCanonical(reason)) => return self.unreadable(inbound, reason),
        };
        let http = InboundHttp { method: &head.method, authority: &authority, path, headers: &head.headers };
        match self.policy(inbound, Some(http), trace) {
            (Verdict::Allow, inbound) => {
                Inbound { decision: Verdict::Allow, status: Some(200), request: Some(request), ..inbound }
            }
            (Verdict::Deny, inbound) => self.denied(inbound, &Fault::Denied),
        }
    }

    fn policy(
        &self,
        inbound: Inbound,
        http: Option<InboundHttp<'_>>,
        trace: &mut Vec<String>,
    ) -> (Verdict, Inbound) {
        let facts = InboundFacts {
            principal: inbound.principal.as_deref(),
            source_ip: self.question.from.ip,
            destination_ip: self.target.known_ip(),
            destination_port: self.target.port,
            server_name: self.server_name,
            http,
        };
        let mut steps = Steps::default();
        let verdict = self.listener.policy.decide(&facts, &mut steps);
        trace.append(&mut steps.0);
        let named = verdict.rule.map(|key| key.split_once(' ').unwrap_or((key, "")));
        let inbound = Inbound {
            policy: named.map(|(policy, _)| policy.to_owned()),
            rule: named.map(|(_, rule)| rule.to_owned()).filter(|rule| !rule.is_empty()),
            at: verdict.at.map(str::to_owned),
            ..inbound
        };
        (if verdict.allowed { Verdict::Allow } else { Verdict::Deny }, inbound)
    }
}

/// What becomes of a transport (ISTIO-FIELDS §2.7.3). Where a port is not declared, the server listens for what is asked about:
/// one that speaks HTTP ends TLS itself, one that takes bytes passes on what is not the mesh's.
fn transport_result(
    listener: &InboundListener,
    transport: Transport,
    is_connection: bool,
    port: PortProtocol,
) -> TransportResult {
    let speaks_http = matches!(port, PortProtocol::Http | PortProtocol::Http2);
    let opaque = matches!(port, PortProtocol::Tcp | PortProtocol::Tls) || is_connection && !speaks_http;
    let taken = match is_connection && speaks_http {
        true => TransportResult::ProtocolError,
        false => TransportResult::Accepted,
    };
    match (listener.mtls_mode, transport) {
        (MtlsMode::Strict | MtlsMode::Permissive, Transport::Mtls) => taken,
        (MtlsMode::Strict, Transport::Tls | Transport::Plaintext) => TransportResult::Refused,
        (MtlsMode::Permissive | MtlsMode::Disable, Transport::Plaintext) => taken,
        (MtlsMode::Permissive, Transport::Tls) if opaque => TransportResult::ForwardUntouched,
        (MtlsMode::Permissive, Transport::Tls) => TransportResult::Refused,
        (MtlsMode::Disable, Transport::Mtls | Transport::Tls) if speaks_http => {
            TransportResult::ProtocolError
        }
        (MtlsMode::Disable, Transport::Mtls | Transport::Tls) => TransportResult::ForwardUntouched,
    }
}

fn spelled(mode: MtlsMode) -> &'static str {
    match mode {
        MtlsMode::Disable => "DISABLE",
        MtlsMode::Permissive => "PERMISSIVE",
        MtlsMode::Strict => "STRICT",
    }
}
