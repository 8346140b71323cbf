//! [`MeshConnector`]: connections whose bytes are the application's own, such as a database's.
//!
//! ```text
//!   deadline( host ► rule (port, caller, server name) ► split ► retry( balance ► TCP · mTLS )) ► MeshStream
//! ```
//! Rules, balancers, identities and errors are those of requests; what is chosen, is chosen once per connection. What goes
//! wrong before the first byte may be tried again at another endpoint, for nothing of the application's has been sent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use http::HeaderMap;
use mesh_core::Mesh;
use mesh_core::backoff::Backoff;
use mesh_core::balance::{Endpoint, Moment, OpaqueConnection, Place, Verdict};
use mesh_core::canonical::{HostPort, NotAHost};
use mesh_core::context::RequestContext;
use mesh_core::resource::{ConnectionPool, UpstreamTls};
use mesh_core::route::OpaqueRule;
use mesh_core::snapshot::{Cluster, HostConfig, OpaqueConfig};
use mesh_core::trace::NoTrace;

use crate::connection::{ConnectError, Opening, Spoken, Target, tls_towards};
use crate::error::{ClientError, Failure, Limit};
use crate::hash;
use crate::host::{self, Destination};
use crate::outbound::Outbound;
use crate::record::ClusterRecord;
use crate::report::Report;
use crate::stack::choose;
use crate::stream::MeshStream;

/// Opens connections of bytes to hosts inside the mesh and out; cheap to clone.
///
/// ```no_run
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// # async fn example(mesh: mesh_core::Mesh) -> Result<(), Box<dyn std::error::Error>> {
/// let connector = mesh_client::MeshConnector::new(&mesh);
/// let mut stream = connector.connect("db:5432").await?;
/// stream.write_all(b"hello").await?;
/// stream.shutdown().await?;
/// let mut answer = Vec::new();
/// stream.read_to_end(&mut answer).await?;
/// # Ok(()) }
/// ```
///
/// The port must be one that carries bytes: declared TCP or TLS, or by nobody at all; one that carries requests is refused by
/// name, since its rules see requests. The deadline of the request that is being served, if there is one, bounds the connect.
#[derive(Debug, Clone)]
pub struct MeshConnector {
    outbound: Outbound,
}

impl MeshConnector {
    /// A connector to `mesh`'s hosts and those outside.
    pub fn new(mesh: &Mesh) -> Self {
        Self { outbound: Outbound::new(mesh) }
    }

    /// Connects to `host`, such as `db:5432`. Dropping the future gives the connect up.
    ///
    /// # Errors
    /// Names what failed and, once one was chosen, the rule by which the connection was to go.
    pub async fn connect(&self, host: impl AsRef<str>) -> Result<MeshStream, Failure> {
        self.connect_with(host.as_ref(), None, &mut self.outbound.mesh.rng()).await
    }

    /// The same for TLS that passes through: the application speaks TLS itself on the stream, and `server_name` is the name
    /// that it sends, by which `tls` rules choose.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), and where no rule takes the name.
    pub async fn connect_tls(&self, host: impl AsRef<str>, server_name: &str) -> Result<MeshStream, Failure> {
        self.connect_with(host.as_ref(), Some(server_name), &mut self.outbound.mesh.rng()).await
    }

    /// As the others, with draws that can be foretold.
    pub(crate) async fn connect_with(
        &self,
        host: &str,
        server_name: Option<&str>,
        rng: &mut Rng,
    ) -> Result<MeshStream, Failure> {
        let host = dialled(host)?;
        let server_name = server_name.map(|name| name.trim_end_matches('.').to_ascii_lowercase());
        let deadline = RequestContext::current().and_then(|context| context.deadline);
        let connecting = self.resolve_and_connect(host, server_name.as_deref(), deadline, rng);
        match deadline {
            None => connecting.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(ClientError::Deadline.into()),
            },
        }
    }

    async fn resolve_and_connect(
        &self,
        host: HostPort,
        server_name: Option<&str>,
        deadline: Option<Instant>,
        rng: &mut Rng,
    ) -> Result<MeshStream, Failure> {
        let mesh = &self.outbound.mesh;
        let wait = mesh.settings().resolve_wait;
        let wait =
            deadline.map_or(wait, |deadline| wait.min(deadline.saturating_duration_since(Instant::now())));
        let config = match host::find(mesh, host, &HeaderMap::new(), wait).await? {
            Destination::Mesh(config) => config,
            Destination::Outside(host) => return self.outside(host).await,
        };
        let not_opaque = || ClientError::NotOpaque { host: config.name.clone() };
        let opaque = config.opaque.as_ref().ok_or_else(not_opaque)?;
        let rule = opaque.rules.decide(server_name, &mut NoTrace);
        let rule = rule.ok_or_else(|| ClientError::NoServerName {
            host: config.name.clone(),
            server_name: server_name.map(Into::into),
            documents: opaque.rules.documents().join(", ").into(),
        })?;
        match self.follow(&config, opaque, rule, rng).await {
            Ok(stream) => Ok(stream.by(rule.provenance.clone())),
            Err(error) => Err(Failure { error, rule: Some(rule.provenance.clone()) }),
        }
    }

    /// A host outside the mesh: its bytes as they are, to wherever its name leads.
    async fn outside(&self, host: HostPort) -> Result<MeshStream, Failure> {
        let target = Target::Name(host);
        let opened = self.opening(&target, &UpstreamTls::Plaintext).within(OUTSIDE_CONNECT_TIMEOUT).await;
        let carrier = opened.map_err(|error| ClientError::from(Arc::new(error)))?;
        Ok(MeshStream::outside(carrier))
    }

    fn opening<'a>(&'a self, target: &'a Target, tls: &'a UpstreamTls) -> Opening<'a> {
        let (identity, network) = (self.outbound.mesh.identity(), self.outbound.mesh.network());
        Opening { target, tls, spoken: Spoken::Bytes, identity, network, keep_alive: None }
    }

    /// Chooses a destination and connects to it.
    async fn follow(
        &self,
        config: &HostConfig,
        opaque: &OpaqueConfig,
        rule: &OpaqueRule,
        rng: &mut Rng,
    ) -> Result<MeshStream, ClientError> {
        let no_cluster = |cluster: &Arc<str>| ClientError::NoCluster {
            host: config.name.clone(),
            cluster: cluster.clone(),
            status: http::StatusCode::SERVICE_UNAVAILABLE,
        };
        let choice = choose(&self.outbound.mesh, &rule.split, &HeaderMap::new(), rng);
        let destination = choice.ok_or_else(|| no_cluster(&"(every weight is 0)".into()))?.destination;
        let cluster = opaque.clusters.get(destination.cluster_index).and_then(Option::as_ref);
        let cluster = cluster.ok_or_else(|| no_cluster(&destination.cluster))?;
        let record = self.outbound.state.records.of(&cluster.spec.name);
        record.count_request();
        let connected = self.try_endpoints(cluster, rule.connects_max, &record, rng).await;
        connected.inspect_err(|error| error.flag().into_iter().for_each(|flag| record.count_failure(flag)))
    }

    async fn try_endpoints(
        &self,
        cluster: &Cluster,
        connects_max: u32,
        record: &ClusterRecord,
        rng: &mut Rng,
    ) -> Result<MeshStream, ClientError> {
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut retrying: Option<Place<'_>> = None;
        let hash = hash::of_connection(&self.outbound, cluster);
        loop {
            let no_endpoint = || ClientError::NoHealthyEndpoint {
                cluster: cluster.spec.name.clone(),
                unresolved: cluster.unresolved.clone(),
            };
            let endpoint = cluster.pick(rng, hash, &tried, Moment::now()).ok_or_else(no_endpoint)?;
            let failures = u32::try_from(tried.len()).unwrap_or(u32::MAX);
            if tried.contains(&endpoint.spec.address) {
                tokio::time::sleep(PAUSE.wait(failures - 1, rng.f64())).await;
            }
            let pool = &cluster.spec.connection_pool;
            let max = pool.breaker.connections_max;
            let now = Moment::now();
            let connection = cluster.connect(endpoint, now).ok_or_else(|| ClientError::Overflow {
                of: cluster.spec.name.clone(),
                limit: Limit::Connections(max),
            })?;
            // One that is given up by the deadline has let its caller wait for too long.
            let deadline = RequestContext::current().and_then(|context| context.deadline);
            let report = Report::of(cluster, endpoint, connection, deadline, now);
            let error = match self.attempt(cluster, endpoint, report).await {
                Ok(stream) => return Ok(stream),
                Err(error) => ClientError::from(Arc::new(error)),
            };
            if failures + 1 >= connects_max {
                return Err(error);
            }
            tracing::debug!("connect failed: {error}");
            drop(retrying.take());
            retrying = cluster.state.retry(&pool.breaker, false, Moment::now());
            if retrying.is_none() {
                let cluster = cluster.spec.name.clone();
                return Err(ClientError::RetryOverflow { cluster, error: Arc::new(error) });
            }
            tried.push(endpoint.spec.address);
            record.count_retry();
        }
    }

    /// One endpoint, within the time that its cluster allows.
    async fn attempt(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        report: Report<'_, OpaqueConnection>,
    ) -> Result<MeshStream, ConnectError> {
        let ConnectionPool { connect_timeout, terms, .. } = &cluster.spec.connection_pool;
        let tls = tls_towards(&cluster.spec, &endpoint.spec);
        let target = Target::of(&endpoint.spec);
        let keep_alive = terms.tcp_keep_alive.as_ref();
        let opening = Opening { keep_alive, ..self.opening(&target, tls) };
        let opened = opening.within(*connect_timeout).await;
        let verdict = if opened.is_ok() { Verdict::Connected } else { Verdict::NotConnected };
        let connection = report.end(verdict);
        let carrier = opened.inspect_err(|error| error.report(tls))?;
        Ok(MeshStream::to(&endpoint.spec, carrier, connection, terms))
    }
}

/// The host and its port, which no scheme says here.
fn dialled(host: &str) -> Result<HostPort, ClientError> {
    let parsed = HostPort::parse(host, 0)?;
    match parsed.port() {
        0 => Err(NotAHost { text: host.to_owned(), reason: "it names no port" }.into()),
        _ => Ok(parsed),
    }
}

/// Before the same endpoint is asked again.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(250));
/// Istio's default.
const OUTSIDE_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
