//! Mirrors: copies of requests that are sent and forgotten.
//!
//! A copy never holds the request up and never fails it. Copies have a limit in number, in the size of their body and in time, and
//! what is beyond is not mirrored: counted with the mirror's cluster, and told at debug level. A copy goes straight to its
//! cluster and is not routed again, so that a mirror to itself makes one copy and no more. A request for an upgrade has no copy: what
//! would come of it is a connection, and nobody is there to speak on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use http::uri::Uri;
use http_body_util::BodyExt;
use mesh_core::route::Mirror;
use mesh_core::snapshot::Cluster;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::body::{BodyCopy, Protocol, RequestBody, Tee};
use crate::connection::Outgoing;
use crate::hash;
use crate::outbound::Outbound;
use crate::retry::{Answered, Forwarding};
use crate::upgrade::Upgrade;

/// The copies in flight, of all clients of a mesh.
#[derive(Debug)]
pub(crate) struct Mirrors(Arc<Semaphore>);

impl Default for Mirrors {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(COPIES_IN_FLIGHT_MAX)))
    }
}

/// How a request is sent, and so its copies.
pub(crate) struct Original<'a> {
    pub(crate) outbound: &'a Outbound,
    pub(crate) clusters: &'a [Option<Arc<Cluster>>],
    pub(crate) deadline: Option<Instant>,
    pub(crate) protocol: Protocol,
}

/// A copy that has a place among those in flight, and no body yet.
struct Copy {
    outbound: Outbound,
    cluster: Arc<Cluster>,
    request: Outgoing,
    deadline: Option<Instant>,
    protocol: Protocol,
    rng: Rng,
    _permit: OwnedSemaphorePermit,
}

impl Original<'_> {
    /// Sends the copies that are drawn. A body that is still to come is copied while it is sent.
    pub(crate) fn mirror(&self, mirrors: &[Mirror], request: &mut Outgoing, rng: &mut Rng) {
        let drawn = mirrors.iter().filter(|mirror| mirror.fraction.holds(Some(rng.f64())) == Some(true));
        let drawn: Vec<&Mirror> = drawn.collect();
        let copies: Vec<Copy> =
            drawn.into_iter().filter_map(|mirror| self.copy(mirror, request, rng)).collect();
        if copies.is_empty() {
            return;
        }
        match &request.body {
            RequestBody::Empty => send_all(copies, Some(BodyCopy::default())),
            RequestBody::Once(data) => {
                let whole = BodyCopy { data: data.clone(), trailers: None };
                send_all(copies, (data.len() <= BODY_BYTES_MAX).then_some(whole));
            }
            RequestBody::Stream { .. } | RequestBody::Kept(_) => {
                let body = std::mem::replace(&mut request.body, RequestBody::Empty);
                let tee = Tee::new(body, BODY_BYTES_MAX, move |copied| send_all(copies, copied));
                request.body = RequestBody::stream(tee);
            }
        }
    }

    fn copy(&self, mirror: &Mirror, request: &Outgoing, rng: &mut Rng) -> Option<Copy> {
        let Some(cluster) = self.clusters.get(mirror.cluster_index).and_then(Option::as_ref) else {
            tracing::debug!(cluster = %mirror.cluster, "not mirrored: the cluster does not exist");
            return None;
        };
        if request.upgrade != Upgrade::Nothing {
            self.outbound.state.records.of(&mirror.cluster).count_unmirrored();
            tracing::debug!(cluster = %mirror.cluster, "not mirrored: the request asks for an upgrade");
            return None;
        }
        let Ok(permit) = self.outbound.state.mirrors.0.clone().try_acquire_owned() else {
            self.outbound.state.records.of(&mirror.cluster).count_unmirrored();
            tracing::debug!(cluster = %mirror.cluster, COPIES_IN_FLIGHT_MAX, "not mirrored: too many copies in flight");
            return None;
        };
        let mut copied = Outgoing::new(request.copy_head(), RequestBody::Empty);
        copied.head.uri = shadow(&request.head.uri);
        Some(Copy {
            outbound: self.outbound.clone(),
            cluster: cluster.clone(),
            request: copied,
            deadline: self.deadline,
            protocol: self.protocol,
            rng: rng.fork(),
            _permit: permit,
        })
    }
}

/// The same, at the host that copies are sent to by name.
fn shadow(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.authority = parts.authority.as_ref().map(Mirror::authority);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// Sends copies of a body; none is one that was too large.
fn send_all(copies: Vec<Copy>, body: Option<BodyCopy>) {
    for mut copy in copies {
        let cluster = &copy.cluster.spec.name;
        let Some(body) = &body else {
            copy.outbound.state.records.of(cluster).count_unmirrored();
            tracing::debug!(%cluster, BODY_BYTES_MAX, "not mirrored: the body is too large");
            continue;
        };
        copy.request.body = copied(body.clone());
        // It owns all that it needs, and ends by itself: nobody is to wait for it.
        tokio::spawn(async move {
            let left = copy.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let time = left.map_or(COPY_TIME_MAX, |left| left.min(COPY_TIME_MAX));
            if tokio::time::timeout(time, copy.send()).await.is_err() {
                tracing::debug!("a copy was given up: it took too long");
            }
        });
    }
}

fn copied(BodyCopy { data, trailers }: BodyCopy) -> RequestBody {
    match trailers {
        None if data.is_empty() => RequestBody::Empty,
        None => RequestBody::Once(data),
        Some(trailers) => {
            let trailers = std::future::ready(Some(Ok::<_, std::convert::Infallible>(trailers)));
            RequestBody::stream(http_body_util::Full::new(data).with_trailers(trailers))
        }
    }
}

impl Copy {
    /// Sends the copy once, and reads the answer away.
    async fn send(mut self) {
        let record = self.outbound.state.records.of(&self.cluster.spec.name);
        record.count_request();
        // Nobody reads a cookie that comes back.
        let hashed = hash::of(&self.outbound, &self.cluster, &self.request.head, None);
        let forwarding = Forwarding {
            outbound: &self.outbound,
            cluster: &self.cluster,
            session: None,
            hash: hashed.number,
            policy: None,
            record: &record,
            deadline: self.deadline,
            protocol: self.protocol,
        };
        match forwarding.send(&mut self.request, &mut self.rng).await {
            Ok(Answered { response, in_flight, .. }) => {
                let mut body = response.into_body();
                body.hold(in_flight);
                while let Some(Ok(_)) = body.frame().await {}
            }
            Err(error) => tracing::debug!(%error, "a copy was not answered"),
        }
    }
}

/// As many copies are on their way, or wait for the end of their request's body, at a time.
const COPIES_IN_FLIGHT_MAX: usize = 256;
/// A larger body is not mirrored.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// After that a copy is given up.
const COPY_TIME_MAX: Duration = Duration::from_secs(15);
