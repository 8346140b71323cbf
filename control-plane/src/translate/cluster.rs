//! A cluster: one subset of a service's port, and how its endpoints are spoken to.

use std::collections::BTreeSet;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, TransportSocketMatch,
};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, LoadBalancingPolicy, load_balancing_policy};
use envoy_types::pb::envoy::config::core::v3::{
    Http1ProtocolOptions, Http2ProtocolOptions, TransportSocket, TypedExtensionConfig, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
use envoy_types::pb::envoy::extensions::load_balancing_policies::random::v3::Random;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use envoy_types::pb::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::google::protobuf::Any;
use mesh_core::health::{HealthCheck, Probe};
use mesh_core::resource::{BalancerPolicy, DnsAddresses, Provenance, UpstreamProtocol, locality_weights};

use super::encode::{self, CLUSTER, PLAIN};
use super::endpoints;
use super::listener::ads;
use super::metadata::{self, Entry};
use super::name::ClusterName;
use super::{outlier_detection, tls};
use crate::model::{ClientKind, Protocol, SubsetView, Transport, View, World};

pub(super) fn translate(world: &World, view: &View<'_>, name: &str) -> Option<Any> {
    let name = ClusterName::parse(name)?;
    let subset = world.subset(view, &name)?;
    let transport = subset.transport(world);
    let weighted = subset.localities_weighted(world);
    let mut cluster = Cluster {
        name: name.to_string(),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ads()),
            service_name: name.to_string(),
        }),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        load_balancing_policy: Some(balancers(&subset.balancer(), weighted, view)),
        metadata: Some(metadata::ours(facts(&name, &subset))),
        health_checks: health_check(&subset).map(|check| check.to_wire(name.host)).into_iter().collect(),
        ..Cluster::default()
    };
    let http = http(&subset, transport, view);
    let mut options = options(http);
    subset.connection_pool(world).write(&mut cluster, &mut options);
    options.outlier_detection = subset.outlier_detection().and_then(outlier_detection::errors);
    cluster
        .typed_extension_protocol_options
        .insert(PROTOCOL_OPTIONS.to_owned(), encode::pack(&options, &PLAIN));
    if subset.endpoints(world).iter().any(|endpoint| endpoint.name.is_some()) {
        by_name(&mut cluster, endpoints::assignment(world, view, &subset, &name), world, &subset);
    }
    cluster.transport_socket = match transport {
        Transport::Plaintext => None,
        Transport::Outside(settings) => {
            Some(tls::outside(settings, &subset.service.subject_alt_names, name.host))
        }
        Transport::MeshMtls | Transport::AutoMtls => {
            let said = subset.tls().and_then(|tls| tls.sni.clone());
            let sni = said.unwrap_or_else(|| name.sni());
            let protocols = match http {
                UpstreamProtocol::Auto => &["h2", "http/1.1"][..],
                UpstreamProtocol::Http2 => &["h2"],
                UpstreamProtocol::Http1 => &["http/1.1"],
            };
            Some(tls::upstream(&sni, &identities(world, &subset), protocols, view.client()))
        }
    };
    if let Some(settings) = subset.outlier_detection() {
        outlier_detection::write(settings, &mut cluster);
    }
    if transport == Transport::AutoMtls {
        cluster.transport_socket_matches = vec![plaintext_match()];
    }
    Some(encode::pack(&cluster, &CLUSTER))
}

/// Endpoints that clients look up themselves stand in the cluster.
#[expect(
    deprecated,
    reason = "the extension that takes the place of these fields is known to no gRPC and to few Envoys"
)]
fn by_name(cluster: &mut Cluster, assignment: ClusterLoadAssignment, world: &World, subset: &SubsetView<'_>) {
    let count: usize = assignment.endpoints.iter().map(|group| group.lb_endpoints.len()).sum();
    let discovery = match subset.service.addresses {
        DnsAddresses::First if count == 1 => DiscoveryType::LogicalDns,
        _ => DiscoveryType::StrictDns,
    };
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(discovery.into()));
    cluster.eds_cluster_config = None;
    cluster.load_assignment = Some(assignment);
    cluster.dns_lookup_family = DnsLookupFamily::All.into();
    cluster.dns_refresh_rate = Some(duration(world.settings().dns_refresh_rate));
}

/// What the port's endpoints are asked: only what they can answer.
fn health_check<'w>(subset: &SubsetView<'w>) -> Option<&'w HealthCheck> {
    subset.service.health_check.as_ref().filter(|check| match (&check.probe, subset.port.protocol) {
        (Probe::Tcp, _) | (_, Protocol::Http2 | Protocol::Undeclared) => true,
        (Probe::Http { .. }, protocol) => protocol == Protocol::Http,
        (Probe::Grpc(_), _) => false,
    })
}

/// The SPIFFE IDs that a document names, else those of the workloads that serve the subset: nobody else may answer for it.
fn identities(world: &World, subset: &SubsetView<'_>) -> BTreeSet<String> {
    if let Some(named) = subset.tls().filter(|tls| !tls.subject_alt_names.is_empty()) {
        return named.subject_alt_names.iter().cloned().collect();
    }
    let trust_domain = &world.settings().trust_domain;
    let workloads = subset.endpoints(world).into_iter().filter_map(|endpoint| endpoint.workload);
    let named = subset.service.subject_alt_names.iter().filter(|name| name.starts_with("spiffe://"));
    workloads.filter_map(|workload| workload.spiffe_id(trust_domain)).chain(named.cloned()).collect()
}

fn facts(name: &ClusterName<'_>, subset: &SubsetView<'_>) -> Vec<(String, Entry)> {
    let rules = subset.documents().map(|Provenance { document, at, .. }| {
        let keys = [("document", document), ("at", at)];
        Entry::object(
            keys.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Entry::text(value.as_ref()?)))),
        )
    });
    let mut facts = vec![
        ("host".to_owned(), Entry::text(name.host)),
        ("port".to_owned(), Entry::number(name.port.into())),
        ("destination_rule".to_owned(), Entry::list(rules)),
    ];
    if !name.subset.is_empty() {
        facts.push(("subset".to_owned(), Entry::text(name.subset)));
    }
    facts
}

/// The balancer by preference, ending in the one that every client has: gRPC refuses a list in which it knows nothing.
fn balancers(wanted: &BalancerPolicy, weighted: bool, view: &View<'_>) -> LoadBalancingPolicy {
    let locality_lb_config = locality_weights::of_drawn(weighted);
    let round_robin = RoundRobin { locality_lb_config, ..RoundRobin::default() };
    let round_robin =
        extension("envoy.load_balancing_policies.round_robin", encode::pack(&round_robin, &PLAIN));
    let preferred = match wanted {
        // gRPC weights localities by a balancer around another one, which no other client has.
        _ if weighted && *view.client() == ClientKind::Grpc => {
            let localities = WrrLocality { endpoint_picking_policy: Some(list([round_robin.clone()])) };
            let name = "envoy.load_balancing_policies.wrr_locality";
            vec![extension(name, encode::pack(&localities, &PLAIN))]
        }
        BalancerPolicy::LeastRequest => {
            let least_request = LeastRequest { locality_lb_config, ..LeastRequest::default() };
            let name = "envoy.load_balancing_policies.least_request";
            vec![extension(name, encode::pack(&least_request, &PLAIN))]
        }
        BalancerPolicy::Random => {
            let random = encode::pack(&Random { locality_lb_config }, &PLAIN);
            vec![extension("envoy.load_balancing_policies.random", random)]
        }
        BalancerPolicy::RoundRobin => Vec::new(),
        BalancerPolicy::Hash(policy) => {
            policy.balancers(weighted).into_iter().map(|(name, config)| extension(name, config)).collect()
        }
    };
    list(preferred.into_iter().chain([round_robin]))
}

fn list(balancers: impl IntoIterator<Item = TypedExtensionConfig>) -> LoadBalancingPolicy {
    let policy = |config| load_balancing_policy::Policy { typed_extension_config: Some(config) };
    LoadBalancingPolicy { policies: balancers.into_iter().map(policy).collect() }
}

fn extension(name: &str, config: Any) -> TypedExtensionConfig {
    TypedExtensionConfig { name: name.to_owned(), typed_config: Some(config) }
}

/// Which HTTP is spoken; `Auto` is what TLS itself says. Envoy wants that of every endpoint of a cluster or of none, and one that is
/// spoken to in plaintext has nobody to say it.
fn http(subset: &SubsetView<'_>, transport: Transport<'_>, view: &View<'_>) -> UpstreamProtocol {
    match (subset.port.protocol, subset.http2(), transport) {
        (Protocol::Http2, ..) | (_, Some(true), _) => UpstreamProtocol::Http2,
        (_, Some(false), _) | (.., Transport::Plaintext) => UpstreamProtocol::Http1,
        (.., Transport::AutoMtls) if matches!(view.client(), ClientKind::Envoy { .. }) => {
            UpstreamProtocol::Http1
        }
        _ => UpstreamProtocol::Auto,
    }
}

fn options(http: UpstreamProtocol) -> HttpProtocolOptions {
    let (http1, http2) = (Http1ProtocolOptions::default(), Http2ProtocolOptions::default());
    let options = match http {
        UpstreamProtocol::Http2 => explicit(ProtocolConfig::Http2ProtocolOptions(http2)),
        UpstreamProtocol::Http1 => explicit(ProtocolConfig::HttpProtocolOptions(http1)),
        UpstreamProtocol::Auto => UpstreamProtocolOptions::AutoConfig(AutoHttpConfig {
            http_protocol_options: Some(http1),
            http2_protocol_options: Some(http2),
            ..AutoHttpConfig::default()
        }),
    };
    HttpProtocolOptions { upstream_protocol_options: Some(options), ..HttpProtocolOptions::default() }
}

fn explicit(config: ProtocolConfig) -> UpstreamProtocolOptions {
    UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(config) })
}

/// Endpoints outside the mesh are marked and spoken to in plaintext.
fn plaintext_match() -> TransportSocketMatch {
    let raw = TransportSocket {
        name: "envoy.transport_sockets.raw_buffer".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(encode::pack(&RawBuffer {}, &PLAIN))),
    };
    TransportSocketMatch {
        name: "plaintext".to_owned(),
        r#match: Some(plaintext_mark()),
        transport_socket: Some(raw),
    }
}

/// `{tlsMode: disabled}`, on the endpoint and in the match alike.
pub(super) fn plaintext_mark() -> envoy_types::pb::google::protobuf::Struct {
    metadata::structure([("tlsMode".to_owned(), Entry::text("disabled"))])
}

pub(super) fn duration(duration: Duration) -> envoy_types::pb::google::protobuf::Duration {
    envoy_types::pb::google::protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

const PROTOCOL_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
