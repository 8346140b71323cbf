//! A cluster: one set of endpoints and how to talk to them.

use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, LbPolicy, TransportSocketMatch,
};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, LoadBalancingPolicy};
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
use envoy_types::pb::envoy::extensions::load_balancing_policies::random::v3::Random;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::UpstreamProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::protobuf::value::Kind;
use http::StatusCode;

use super::connection_manager::from_ads;
use super::connection_pool::ConnectionPool;
use super::invalid::{Inside, Invalid, each, holds, nothing_else, unpack};
use super::metadata::Facts;
use super::outlier_detection::error_statuses;
use super::{
    DnsAddresses, DnsEndpoints, OutlierDetection, OutsideTls, Provenance, hash_policy, health_check,
    locality_weights, transport_socket,
};
use crate::health::HealthCheck;
use crate::route::HashPolicy;

/// What a `Cluster` resource says, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpec {
    /// `outbound|9080|v1|reviews.default.svc.cluster.local`.
    pub name: Arc<str>,
    /// The service's full name.
    pub host: Arc<str>,
    /// The service's port.
    pub port: u16,
    /// The subset, where the cluster is one.
    pub subset: Option<Arc<str>>,
    /// Where its endpoints come from.
    pub endpoints: EndpointSource,
    /// How a mesh endpoint of it is spoken to.
    pub tls: UpstreamTls,
    /// Whether endpoints may be marked as outside the mesh and spoken to in plaintext, though the others are not.
    pub plaintext_endpoints: bool,
    /// The HTTP version towards it.
    pub protocol: UpstreamProtocol,
    /// How an endpoint is chosen.
    pub balancer: BalancerPolicy,
    /// How endpoints that fail are found and left alone, if they are.
    pub outlier_detection: Option<OutlierDetection>,
    /// From how few healthy endpoints of a hundred on the unhealthy ones are asked too; `None` where nothing is said of it.
    pub panic_threshold_percent: Option<u8>,
    /// Whether localities have weights, rather than endpoints alone.
    pub localities_weighted: bool,
    /// What its endpoints are asked in the background, if they are.
    pub health_check: Option<HealthCheck>,
    /// How many connections and requests there may be, and how connections live.
    pub connection_pool: ConnectionPool,
    /// The DestinationRules that shaped it.
    pub destination_rules: Vec<Provenance>,
}

/// Where a cluster's endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointSource {
    /// The control plane, under this name.
    ControlPlane(Arc<str>),
    /// Names that this process looks up.
    Dns(Arc<DnsEndpoints>),
}

impl EndpointSource {
    /// The name under which the control plane sends them, if it does.
    pub fn sent_as(&self) -> Option<&Arc<str>> {
        match self {
            Self::ControlPlane(name) => Some(name),
            Self::Dns(_) => None,
        }
    }
}

/// Transport security towards a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamTls {
    /// None.
    Plaintext,
    /// The mesh's own: our SVID against theirs.
    MeshMtls {
        /// The SPIFFE IDs that may answer, with scheme; empty refuses all.
        identities: Arc<[Arc<str>]>,
        /// The SNI to send.
        sni: Arc<str>,
    },
    /// Another one, by files of this host.
    Outside(Arc<OutsideTls>),
}

/// The HTTP version towards a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// What ALPN says (TLS only).
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in plaintext by prior knowledge.
    Http2,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BalancerPolicy {
    /// The better of two drawn ones (P2C).
    #[default]
    LeastRequest,
    /// One after the other.
    RoundRobin,
    /// Any.
    Random,
    /// By a key of the request; one that has none goes to the better of two drawn ones.
    Hash(Arc<HashPolicy>),
}

impl ClusterSpec {
    pub(super) fn parse(mut wire: Cluster) -> Result<Self, Invalid> {
        let name: Arc<str> = take(&mut wire.name).into();
        let metadata = take(&mut wire.metadata);
        let facts = Facts::ours(metadata.as_ref());
        let endpoints = endpoint_source(&mut wire, &name)?;
        let tls = transport_socket::upstream(take(&mut wire.transport_socket)).inside("transport_socket")?;
        let matches =
            each("transport_socket_matches", take(&mut wire.transport_socket_matches), plaintext_mark)?;
        if !matches.is_empty() && matches!(tls, UpstreamTls::Outside(_)) {
            return Err(Invalid::new("transport_socket_matches", "go with the mesh's own TLS alone"));
        }
        let (protocol, connection_pool, error_statuses) = connections(&mut wire, &tls)?;
        let (balancer, localities_weighted) = balancer(&mut wire)?;
        let outlier_detection = take(&mut wire.outlier_detection)
            .map(|wire| OutlierDetection::parse(wire, error_statuses))
            .transpose()
            .inside("outlier_detection")?;
        let panic_threshold_percent = panic_threshold(&mut wire).inside("common_lb_config")?;
        let health_check = health_check::parse(take(&mut wire.health_checks))?;
        // A name for Envoy's own statistics.
        wire.alt_stat_name.clear();
        nothing_else(&wire)?;
        Ok(Self {
            host: facts.text("host").unwrap_or_else(|| Arc::clone(&name)),
            port: facts.port("port").unwrap_or_default(),
            subset: facts.text("subset"),
            destination_rules: facts.objects("destination_rule").map(Facts::provenance).collect(),
            name,
            endpoints,
            tls,
            plaintext_endpoints: !matches.is_empty(),
            protocol,
            balancer,
            outlier_detection,
            panic_threshold_percent,
            localities_weighted,
            health_check,
            connection_pool,
        })
    }
}

fn endpoint_source(wire: &mut Cluster, name: &Arc<str>) -> Result<EndpointSource, Invalid> {
    let discovery = match take(&mut wire.cluster_discovery_type) {
        Some(ClusterDiscoveryType::Type(discovery)) => DiscoveryType::try_from(discovery).ok(),
        _ => None,
    };
    let addresses = match discovery {
        Some(DiscoveryType::Eds) => None,
        Some(DiscoveryType::StrictDns) => Some(DnsAddresses::All),
        Some(DiscoveryType::LogicalDns) => Some(DnsAddresses::First),
        _ => return Err(Invalid::new("type", "is none of EDS, STRICT_DNS and LOGICAL_DNS")),
    };
    if let Some(addresses) = addresses {
        return DnsEndpoints::parse(wire, addresses).map(|dns| EndpointSource::Dns(dns.into()));
    }
    let config = take(&mut wire.eds_cluster_config).unwrap_or_default();
    from_ads("eds_cluster_config.eds_config", config.eds_config)?;
    let named = !config.service_name.is_empty();
    let name = if named { config.service_name.into() } else { Arc::clone(name) };
    Ok(EndpointSource::ControlPlane(name))
}

/// The one match that is known: endpoints marked `{tlsMode: disabled}` are spoken to in plaintext.
fn plaintext_mark(wire: TransportSocketMatch) -> Result<(), Invalid> {
    let fields = wire.r#match.map(|mark| mark.fields).unwrap_or_default();
    let disabled = fields.get(TLS_MODE).and_then(|value| value.kind.as_ref());
    let known =
        fields.len() == 1 && matches!(disabled, Some(Kind::StringValue(mode)) if mode == TLS_DISABLED);
    let plaintext = transport_socket::upstream(wire.transport_socket).inside("transport_socket")?;
    match known && plaintext == UpstreamTls::Plaintext {
        true => Ok(()),
        false => Err(Invalid::new("match", "is not `tlsMode: disabled` for a raw buffer")),
    }
}

/// Which HTTP is spoken, all else that is said of connections, and the answers that count as failures.
fn connections(
    wire: &mut Cluster,
    tls: &UpstreamTls,
) -> Result<(UpstreamProtocol, ConnectionPool, Vec<StatusCode>), Invalid> {
    let field = "typed_extension_protocol_options";
    let http = wire.typed_extension_protocol_options.remove(HTTP_PROTOCOL_OPTIONS);
    let is_said = http.is_some();
    let mut http = http.map_or(Ok(HttpProtocolOptions::default()), |http| unpack(&http)).inside(field)?;
    let pool = ConnectionPool::parse(wire, &mut http)?;
    if let Some(other) = take(&mut wire.typed_extension_protocol_options).keys().next() {
        return Err(Invalid::new(field, format!("`{other}` is not supported by this mesh")));
    }
    let protocol = match take(&mut http.upstream_protocol_options) {
        Some(UpstreamProtocolOptions::AutoConfig(_)) if *tls != UpstreamTls::Plaintext => {
            UpstreamProtocol::Auto
        }
        Some(UpstreamProtocolOptions::AutoConfig(_)) => {
            return Err(Invalid::new(field, "auto_config needs TLS, whose ALPN it asks"));
        }
        Some(UpstreamProtocolOptions::ExplicitHttpConfig(explicit)) => match explicit.protocol_config {
            Some(ProtocolConfig::HttpProtocolOptions(_)) => UpstreamProtocol::Http1,
            Some(ProtocolConfig::Http2ProtocolOptions(_)) => UpstreamProtocol::Http2,
            _ => return Err(Invalid::new(field, "is neither HTTP/1.1 nor HTTP/2")),
        },
        None if !is_said => UpstreamProtocol::Http1,
        _ => return Err(Invalid::new(field, "is neither explicit_http_config nor auto_config")),
    };
    let error_statuses = error_statuses(take(&mut http.outlier_detection)).inside(field)?;
    nothing_else(&http).inside(field)?;
    Ok((protocol, pool, error_statuses))
}

/// Rounded to whole hundredths, as by Envoy.
fn panic_threshold(wire: &mut Cluster) -> Result<Option<u8>, Invalid> {
    let Some(mut common) = take(&mut wire.common_lb_config) else { return Ok(None) };
    let threshold = take(&mut common.healthy_panic_threshold).map(|percent| percent.value);
    nothing_else(&common)?;
    match threshold {
        Some(percent) if !(0.0..=100.0).contains(&percent) => {
            Err(Invalid::new("healthy_panic_threshold", format!("{percent} is not from 0 to 100")))
        }
        threshold => Ok(threshold.map(|percent| percent.round() as u8)),
    }
}

/// The first of the preferred balancers that is known here, else the older enumeration; and whether it weights localities.
fn balancer(wire: &mut Cluster) -> Result<(BalancerPolicy, bool), Invalid> {
    let older = LbPolicy::try_from(take(&mut wire.lb_policy));
    if let Some(LoadBalancingPolicy { policies }) = take(&mut wire.load_balancing_policy) {
        let configs = policies.into_iter().filter_map(|policy| policy.typed_extension_config?.typed_config);
        let known = configs.map(|config| preferred(&config)).find_map(Result::transpose);
        let unknown = || Invalid::new("", "names no balancer that this mesh has");
        return known.unwrap_or_else(|| Err(unknown())).inside("load_balancing_policy");
    }
    match older {
        Ok(LbPolicy::RoundRobin) => Ok((BalancerPolicy::RoundRobin, false)),
        Ok(LbPolicy::LeastRequest) => Ok((BalancerPolicy::LeastRequest, false)),
        Ok(LbPolicy::Random) => Ok((BalancerPolicy::Random, false)),
        _ => Err(Invalid::new("lb_policy", "is not supported by this mesh")),
    }
}

fn preferred(config: &Any) -> Result<Option<(BalancerPolicy, bool)>, Invalid> {
    if holds::<LeastRequest>(config) {
        let mut least_request: LeastRequest = unpack(config)?;
        if least_request.choice_count.take().is_some_and(|count| count.value != 2) {
            return Err(Invalid::new("choice_count", "is not 2"));
        }
        let weighted = locality_weights::read(&mut least_request.locality_lb_config)?;
        return nothing_else(&least_request).map(|()| Some((BalancerPolicy::LeastRequest, weighted)));
    }
    if holds::<RoundRobin>(config) {
        let mut round_robin: RoundRobin = unpack(config)?;
        let weighted = locality_weights::read(&mut round_robin.locality_lb_config)?;
        return nothing_else(&round_robin).map(|()| Some((BalancerPolicy::RoundRobin, weighted)));
    }
    if holds::<Random>(config) {
        let mut random: Random = unpack(config)?;
        let weighted = locality_weights::read(&mut random.locality_lb_config)?;
        return nothing_else(&random).map(|()| Some((BalancerPolicy::Random, weighted)));
    }
    let hashed = hash_policy::parse(config)?;
    Ok(hashed.map(|(policy, weighted)| (BalancerPolicy::Hash(policy.into()), weighted)))
}

pub(super) const TLS_MODE: &str = "tlsMode";
pub(super) const TLS_DISABLED: &str = "disabled";
const HTTP_PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
