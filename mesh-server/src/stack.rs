//! The life of an inbound request, in the one order there is.
//!
//! ```text
//!   accept · mTLS      listener/    who is there is proved before a byte of HTTP is read
//!   → placement        guard        the layer protects only what has not been routed yet, on connections it can vouch for
//!   → canonical        canonical    before the first decision, so that policy and application judge the same request
//!   → context          inherited    before anything may call out, so that every call inherits deadline and trace
//!   → authn            guard        the peer's identity is that of its connection; headers prove nothing
//!   → transport        guard        the mode may have changed since the handshake; a connection that does not fit it ends here
//!   → authz            guard        last before the application, on all that the stages above established
//!   → the application  run          under its context, its deadline, and a net for its panics
//! ```
//!
//! Allocations per request, beyond those of hyper and the application: the box of the response future (`layer`), the
//! shared context (the outbound side holds on to it), and the extensions by which handlers find their peer.

#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, MatchedPath, OriginalUri};
use futures_util::FutureExt;
use http::request::Parts;
use http::{Request, Response};
use mesh_core::authz::{InboundHttp, Policy};
use mesh_core::context::{PROPAGATED_BY_DEFAULT, RequestContext};
use mesh_core::resource::InboundListener;
use mesh_core::status::{Fault, is_grpc};
use mesh_core::trace::NoTrace;
use tonic::transport::server::TcpConnectInfo;
use tower::Service;

use crate::canonical::canonicalize;
use crate::inherited;
use crate::listener::{Event, Inbound};
use crate::peer::{Peer, Transport};
use crate::refusal::{Connection, Refusal, RefusalBody};

/// A request that every stage let through.
struct Admitted {
    peer: Peer,
    context: Arc<RequestContext>,
}

/// Answers one request: by the application, or in its place.
pub(crate) async fn run<S, B, R>(mut application: S, request: Request<B>) -> Result<Response<R>, S::Error>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: RefusalBody,
{
    let (mut parts, body) = request.into_parts();
    let is_grpc = is_grpc(&parts.headers);
    let admitted = match guard(&mut parts) {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(refusal.respond(is_grpc, parts.version)),
    };
    let version = parts.version;
    tell(&mut parts, &admitted.peer);
    let request = Request::from_parts(parts, body);
    let deadline = admitted.context.deadline;
    let answer = admitted.context.scope(async move { application.call(request).await });
    // A panic leaves nothing of this request behind that another could see: service, request and context end with it.
    let contained = AssertUnwindSafe(answer).catch_unwind();
    let outcome = match deadline {
        None => contained.await,
        Some(deadline) => match tokio::time::timeout_at(deadline.into(), contained).await {
            Ok(outcome) => outcome,
            Err(_) => return Ok(Refusal::from(Fault::Timeout).respond(is_grpc, version)),
        },
    };
    outcome.unwrap_or_else(|_| {
        let site = admitted.peer.site();
        site.counters.add(Event::Panic);
        tracing::error!(listener = %site.name, "a handler panicked; its request was answered with an error");
        Ok(Refusal::from(Fault::Internal).respond(is_grpc, version))
    })
}

/// Every stage before the application, on one state of the configuration.
fn guard(parts: &mut Parts) -> Result<Admitted, Refusal> {
    let peer = placement(parts)?;
    let listener = configuration(&peer)?;
    // Two counted references: the authority is read from the target as received while the path is being rewritten.
    let received = parts.uri.clone();
    let propagated = listener.as_ref().map_or(&PROPAGATED_BY_DEFAULT[..], |it| &it.propagated_headers);
    let context = inherited::context(&parts.headers, propagated, peer.shared_spiffe_id(), Instant::now());
    let normalization = listener.as_ref().map(|listener| listener.path_normalization).unwrap_or_default();
    let http = canonicalize(parts, &received, normalization).map_err(|reason| {
        tracing::info!(listener = %peer.site().name, peer = %peer.address(), "request refused: {reason}");
        Fault::BadRequest(reason.0)
    })?;
    if let Some(listener) = listener {
        transport(&peer, &listener, http)?;
        authorize(&peer, &listener.policy, http)?;
    }
    Ok(Admitted { peer, context: Arc::new(context) })
}

/// A request that has been routed may have lost its path on the way (a nested router strips a prefix), and siblings of the
/// route it came by are not guarded at all; one without connection facts came in by another listener.
fn placement(parts: &Parts) -> Result<Peer, Fault> {
    if parts.extensions.get::<OriginalUri>().is_some() || parts.extensions.get::<MatchedPath>().is_some() {
        tracing::error!(
            "MeshLayer stands inside a router, where it misses routes; wrap the finished app: \
             `let app = MeshLayer::new(&mesh).layer(app);`"
        );
        return Err(Fault::Internal);
    }
    Peer::of(&parts.extensions).cloned().ok_or_else(|| {
        tracing::error!(
            "MeshLayer does not know the connection; accept with `MeshListener::bind(&mesh, address).await?` and serve \
             with `axum::serve(listener, MeshLayer::new(&mesh).layer(app).into_make_service())`"
        );
        Fault::Internal
    })
}

/// What holds at this moment; nothing without a mesh.
fn configuration(peer: &Peer) -> Result<Option<Arc<InboundListener>>, Fault> {
    let site = peer.site();
    match site.inbound() {
        Inbound::Configured(listener) => Ok(Some(listener)),
        Inbound::Outside => Ok(None),
        Inbound::Pending => {
            tracing::warn!(listener = %site.name, "request refused: the inbound configuration was withdrawn");
            Err(Fault::NotConfigured)
        }
    }
}

/// A connection that could not be made anew serves no further request: its mode is that of this moment, not that of its handshake.
fn transport(peer: &Peer, listener: &InboundListener, http: InboundHttp<'_>) -> Result<(), Refusal> {
    if peer.transport().fits(listener.mtls_mode) {
        return Ok(());
    }
    let rule = match peer.transport() {
        Transport::Plaintext => "an open plaintext connection, where mutual TLS is required by now",
        Transport::Mtls => "an open connection of mutual TLS, which is not taken any more",
    };
    let mode = &listener.mtls_provenance;
    let at = mode.at.as_deref().or(mode.document.as_deref());
    Err(denied(peer, http, Reason { rule, at }, Connection::Ends))
}

fn authorize(peer: &Peer, policy: &Policy, http: InboundHttp<'_>) -> Result<(), Refusal> {
    let verdict = policy.decide(&peer.facts(Some(http)), &mut NoTrace);
    if verdict.allowed {
        return Ok(());
    }
    let rule = verdict.rule.unwrap_or("no ALLOW rule matches");
    Err(denied(peer, http, Reason { rule, at: verdict.at }, Connection::Stays))
}

/// Why a request is denied, for the operator alone.
struct Reason<'a> {
    rule: &'a str,
    at: Option<&'a str>,
}

fn denied(peer: &Peer, http: InboundHttp<'_>, reason: Reason<'_>, connection: Connection) -> Refusal {
    let site = peer.site();
    let decision = fastrand::u64(..);
    site.counters.add(Event::DeniedRequest);
    tracing::warn!(
        decision = format_args!("{decision:016x}"),
        rule = reason.rule,
        at = reason.at.unwrap_or("-"),
        caller = peer.principal().unwrap_or("-"),
        peer = %peer.address(),
        method = %http.method,
        path = http.path.as_str(),
        listener = %site.name,
        "request denied"
    );
    Refusal { fault: Fault::Denied, decision: Some(decision), connection }
}

/// Leaves the connection's facts where handlers look for them: ours, axum's, tonic's.
fn tell(parts: &mut Parts, peer: &Peer) {
    let (remote, local) = (peer.address(), peer.local_address());
    parts.extensions.insert(ConnectInfo(remote));
    parts.extensions.insert(TcpConnectInfo { local_addr: Some(local), remote_addr: Some(remote) });
    // Our own server has put it there, tonic's as well; axum's make-service has not.
    if parts.extensions.get::<Peer>().is_none() {
        parts.extensions.insert(peer.clone());
    }
}
