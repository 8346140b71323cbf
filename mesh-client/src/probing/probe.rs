//! One endpoint's probes: a request, or a connect, and whether what came of it is good.

use std::sync::Arc;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Limited};
use mesh_core::Mesh;
use mesh_core::balance::Endpoint;
use mesh_core::health::{self, GRPC_PATH, HealthCheck, Probe};
use mesh_core::identity::IdentitySource;
use mesh_core::network::Network;
use mesh_core::resource::ConnectionPool;
use mesh_core::snapshot::Cluster;

use super::ANSWER_BYTES_MAX;
use crate::attempt::{Keep, attempt};
use crate::body::{BoxError, RequestBody};
use crate::connection::{Outgoing, Target, Upstream};
use crate::pool::Pool;

/// What a mesh's connections are made of.
#[derive(Debug, Clone)]
pub(super) struct Way {
    identity: Option<Arc<IdentitySource>>,
    network: Network,
}

impl Way {
    pub(super) fn of(mesh: &Mesh) -> Self {
        Self { identity: mesh.identity().cloned(), network: mesh.network().clone() }
    }
}

/// Probes one endpoint as its cluster's requests would reach it.
#[derive(Debug)]
pub(super) struct Prober {
    pub(super) check: HealthCheck,
    cluster: Arc<str>,
    /// Whom a request names.
    host: Box<str>,
    target: Target,
    upstream: Upstream,
    way: Way,
    /// The connection of the probes; another one after each bad answer, so that no back-off stands before a good one.
    pool: Option<Arc<Pool>>,
}

impl Prober {
    pub(super) fn new(cluster: &Cluster, check: &HealthCheck, endpoint: &Endpoint, way: &Way) -> Self {
        let spec = &cluster.spec;
        let host = match &check.probe {
            Probe::Http { host, .. } if !host.is_empty() => host.clone(),
            _ => format!("{}:{}", spec.host, spec.port).into(),
        };
        Self {
            check: check.clone(),
            cluster: Arc::clone(&spec.name),
            host,
            target: Target::of(&endpoint.spec),
            upstream: Upstream::of(spec, &endpoint.spec),
            way: way.clone(),
            pool: None,
        }
    }

    /// Asks once.
    pub(super) async fn probe(&mut self) -> Result<(), BoxError> {
        let asked = tokio::time::timeout(self.check.timeout, self.ask()).await;
        let result = asked.unwrap_or_else(|_| Err("it did not answer in time".into()));
        if result.is_err() {
            self.pool = None;
        }
        result
    }

    /// Tells the operator that the endpoint's health is another one now.
    pub(super) fn report(&self, result: &Result<(), BoxError>) {
        let (cluster, endpoint) = (&self.cluster, &self.target);
        match result {
            Ok(()) => tracing::info!(%cluster, %endpoint, "endpoint is healthy"),
            Err(reason) => tracing::warn!(%cluster, %endpoint, %reason, "endpoint is unhealthy"),
        }
    }

    async fn ask(&mut self) -> Result<(), BoxError> {
        match &self.check.probe {
            Probe::Tcp => {
                self.target.socket(&self.way.network).await?;
                Ok(())
            }
            Probe::Http { path, statuses, .. } => {
                let (head, ()) = Request::get(self.uri(path)?).body(())?.into_parts();
                let statuses = statuses.clone();
                let (status, _) = self.exchange(Outgoing::new(head, RequestBody::Empty)).await?;
                match statuses.contains(&status) {
                    true => Ok(()),
                    false => Err(format!("it answers {status}").into()),
                }
            }
            Probe::Grpc(service) => {
                let request = Request::builder().method(Method::POST).uri(self.uri(GRPC_PATH)?);
                let request = request.header(header::CONTENT_TYPE, "application/grpc");
                let (head, ()) = request.header(header::TE, "trailers").body(())?.into_parts();
                let body = RequestBody::Once(health::question(service));
                let (status, body) = self.exchange(Outgoing::new(head, body)).await?;
                match status == 200 && health::is_serving(&body) {
                    true => Ok(()),
                    false => Err("it does not answer that it serves".into()),
                }
            }
        }
    }

    fn uri(&self, path: &str) -> Result<Uri, BoxError> {
        let authority = Authority::try_from(&*self.host)?;
        let path = PathAndQuery::try_from(path)?;
        Ok(Uri::builder().scheme(Scheme::HTTP).authority(authority).path_and_query(path).build()?)
    }

    async fn exchange(&mut self, mut request: Outgoing) -> Result<(u16, bytes::Bytes), BoxError> {
        request.head.headers.insert(header::USER_AGENT, USER_AGENT);
        let pool = self.pool.get_or_insert_with(|| {
            let Way { identity, network } = self.way.clone();
            Pool::apart(identity, network, self.target.clone(), self.upstream.clone())
        });
        let settings = ConnectionPool { connect_timeout: self.check.timeout, ..ConnectionPool::DEFAULT };
        let answered = attempt(pool, &settings, &mut request, Keep::Nothing).await;
        let (head, body) = answered.map_err(|failed| failed.error)?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
        Ok((head.status.as_u16(), body))
    }
}

const USER_AGENT: HeaderValue = HeaderValue::from_static("proxyless-mesh health check");
