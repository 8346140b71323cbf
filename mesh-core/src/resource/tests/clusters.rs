use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, TransportSocketMatch,
};
use envoy_types::pb::envoy::config::cluster::v3::{
    Cluster, LoadBalancingPolicy, load_balancing_policy::Policy,
};
use envoy_types::pb::envoy::config::core::v3::{
    Http2ProtocolOptions, TransportSocket, TypedExtensionConfig, transport_socket,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::LocalityLbConfig;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config::LocalityConfigSpecifier;
use envoy_types::pb::envoy::extensions::load_balancing_policies::least_request::v3::LeastRequest;
use envoy_types::pb::envoy::extensions::load_balancing_policies::random::v3::Random;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use envoy_types::pb::envoy::extensions::load_balancing_policies::wrr_locality::v3::WrrLocality;
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher,
    UpstreamTlsContext,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::explicit_http_config::ProtocolConfig;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    AutoHttpConfig, ExplicitHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::google::protobuf::{self, ListValue, UInt32Value};

use super::*;

const NAME: &str = "outbound|9080|v1|reviews.default.svc.cluster.local";
const IDENTITY: &str = "spiffe://cluster.local/ns/default/sa/reviews";

pub(super) fn socket(config: Any) -> TransportSocket {
    let config_type = Some(transport_socket::ConfigType::TypedConfig(config));
    TransportSocket { name: "socket".into(), config_type }
}

fn validation() -> CertificateValidationContext {
    let san = SubjectAltNameMatcher {
        san_type: SanType::Uri.into(),
        matcher: Some(exact(IDENTITY)),
        ..SubjectAltNameMatcher::default()
    };
    CertificateValidationContext {
        ca_certificate_provider_instance: Some(CertificateProviderPluginInstance::default()),
        match_typed_subject_alt_names: vec![san],
        ..CertificateValidationContext::default()
    }
}

/// The mesh's own TLS, with whom the peer may be.
pub(super) fn common(validation: CertificateValidationContext) -> CommonTlsContext {
    CommonTlsContext {
        tls_certificate_provider_instance: Some(CertificateProviderPluginInstance::default()),
        alpn_protocols: vec!["h2".into(), "http/1.1".into()],
        validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn tls(validation: CertificateValidationContext) -> UpstreamTlsContext {
    let common_tls_context = Some(common(validation));
    UpstreamTlsContext {
        common_tls_context,
        sni: "outbound_.9080_.v1_.reviews".into(),
        ..UpstreamTlsContext::default()
    }
}

pub(super) fn protocol(options: UpstreamProtocolOptions) -> [(String, Any); 1] {
    let http =
        HttpProtocolOptions { upstream_protocol_options: Some(options), ..HttpProtocolOptions::default() };
    [("envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned(), pack_any(http))]
}

pub(super) fn balancers(configs: Vec<Any>) -> Option<LoadBalancingPolicy> {
    let policy = |config| {
        let extension = TypedExtensionConfig { name: "balancer".into(), typed_config: Some(config) };
        Policy { typed_extension_config: Some(extension) }
    };
    Some(LoadBalancingPolicy { policies: configs.into_iter().map(policy).collect() })
}

pub(super) fn good() -> Cluster {
    let rule =
        object(&[("document", text("DestinationRule/default/reviews")), ("at", text("reviews.yaml:40"))]);
    let rules = ListValue { values: vec![Value { kind: Some(Kind::StructValue(rule)) }] };
    Cluster {
        name: NAME.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), service_name: NAME.into() }),
        connect_timeout: Some(protobuf::Duration { seconds: 3, nanos: 0 }),
        transport_socket: Some(socket(pack_any(tls(validation())))),
        typed_extension_protocol_options: protocol(UpstreamProtocolOptions::AutoConfig(
            AutoHttpConfig::default(),
        ))
        .into(),
        load_balancing_policy: balancers(vec![
            pack_any(LeastRequest::default()),
            pack_any(RoundRobin::default()),
        ]),
        metadata: ours(&[
            ("host", text("reviews.default.svc.cluster.local")),
            ("port", Value { kind: Some(Kind::NumberValue(9080.0)) }),
            ("subset", text("v1")),
            ("destination_rule", Value { kind: Some(Kind::ListValue(rules)) }),
        ]),
        ..Cluster::default()
    }
}

pub(super) fn changed(change: impl FnOnce(&mut Cluster)) -> Arc<ClusterSpec> {
    let mut cluster = good();
    change(&mut cluster);
    match parse(ResourceType::Cluster, &cluster.encode_to_vec()) {
        Ok(Resource::Cluster(cluster)) => cluster,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
pub(super) fn refused(spoil: impl FnOnce(&mut Cluster), field: &str) {
    check_refused(ResourceType::Cluster, good(), spoil, field);
}

#[track_caller]
fn refused_tls(spoil: impl FnOnce(&mut CertificateValidationContext), field: &str) {
    let mut validation = validation();
    spoil(&mut validation);
    let field = format!("transport_socket.typed_config.common_tls_context.validation_context.{field}");
    refused(|cluster| cluster.transport_socket = Some(socket(pack_any(tls(validation)))), &field);
}

#[test]
fn a_cluster_is_read_with_all_that_it_says() {
    let cluster = changed(|_| {});
    let expected = ClusterSpec {
        name: NAME.into(),
        host: "reviews.default.svc.cluster.local".into(),
        port: 9080,
        subset: Some("v1".into()),
        endpoints: EndpointSource::ControlPlane(NAME.into()),
        tls: UpstreamTls::MeshMtls {
            identities: Arc::new([IDENTITY.into()]),
            sni: "outbound_.9080_.v1_.reviews".into(),
        },
        plaintext_endpoints: false,
        protocol: UpstreamProtocol::Auto,
        balancer: BalancerPolicy::LeastRequest,
        outlier_detection: None,
        panic_threshold_percent: None,
        localities_weighted: false,
        health_check: None,
        connection_pool: ConnectionPool {
            connect_timeout: Duration::from_secs(3),
            breaker: CircuitBreaker::default(),
            terms: ConnectionTerms::DEFAULT,
        },
        destination_rules: vec![Provenance {
            document: Some("DestinationRule/default/reviews".into()),
            at: Some("reviews.yaml:40".into()),
            ..Provenance::default()
        }],
    };
    assert_eq!(*cluster, expected);
}

#[test]
fn what_is_not_said_has_a_default() {
    let plain = changed(|cluster| {
        *cluster = Cluster {
            name: "c".into(),
            cluster_discovery_type: cluster.cluster_discovery_type.clone(),
            eds_cluster_config: Some(EdsClusterConfig {
                eds_config: Some(ads()),
                ..EdsClusterConfig::default()
            }),
            ..Cluster::default()
        };
    });
    assert_eq!(plain.endpoints, EndpointSource::ControlPlane("c".into()));
    assert_eq!((&*plain.host, plain.port), ("c", 0));
    assert_eq!((&plain.tls, plain.protocol), (&UpstreamTls::Plaintext, UpstreamProtocol::Http1));
    assert_eq!(
        (&plain.balancer, plain.connection_pool.connect_timeout),
        (&BalancerPolicy::RoundRobin, Duration::from_secs(10))
    );
}

#[test]
fn protocols_and_balancers_are_told_apart() {
    let http2 = ProtocolConfig::Http2ProtocolOptions(Http2ProtocolOptions::default());
    let explicit =
        UpstreamProtocolOptions::ExplicitHttpConfig(ExplicitHttpConfig { protocol_config: Some(http2) });
    let cluster = changed(|cluster| cluster.typed_extension_protocol_options = protocol(explicit).into());
    assert_eq!(cluster.protocol, UpstreamProtocol::Http2);
    let unknown_first = balancers(vec![pack_any(WrrLocality::default()), pack_any(RoundRobin::default())]);
    assert_eq!(
        changed(|cluster| cluster.load_balancing_policy = unknown_first).balancer,
        BalancerPolicy::RoundRobin
    );
}

#[test]
fn a_balancer_says_whether_localities_are_weighted() {
    let read = |config| changed(|cluster| cluster.load_balancing_policy = balancers(vec![config]));
    for weighted in [false, true] {
        let locality_lb_config = locality_weights::of_drawn(weighted);
        for config in [
            pack_any(LeastRequest { locality_lb_config, ..LeastRequest::default() }),
            pack_any(RoundRobin { locality_lb_config, ..RoundRobin::default() }),
            pack_any(Random { locality_lb_config }),
        ] {
            assert_eq!(read(config).localities_weighted, weighted);
        }
    }
    let specifier = Some(LocalityConfigSpecifier::ZoneAwareLbConfig(Default::default()));
    let zones = LocalityLbConfig { locality_config_specifier: specifier };
    refused(
        |cluster| {
            let config = pack_any(Random { locality_lb_config: Some(zones) });
            cluster.load_balancing_policy = balancers(vec![config]);
        },
        "load_balancing_policy.locality_lb_config",
    );
}

#[test]
fn endpoints_may_be_plaintext_where_the_cluster_says_so() {
    let plaintext = |mode: &str, config| TransportSocketMatch {
        name: "plaintext".into(),
        r#match: Some(object(&[("tlsMode", text(mode))])),
        transport_socket: Some(socket(config)),
    };
    let raw = || pack_any(RawBuffer {});
    let cluster = changed(|cluster| cluster.transport_socket_matches = vec![plaintext("disabled", raw())]);
    assert!(cluster.plaintext_endpoints);
    for other in [plaintext("istio", raw()), plaintext("disabled", pack_any(tls(validation())))] {
        refused(
            |cluster| cluster.transport_socket_matches = vec![other],
            "transport_socket_matches[0].match",
        );
    }
}

#[test]
fn a_cluster_that_cannot_be_honoured_is_refused() {
    refused(|cluster| cluster.cluster_discovery_type = None, "type");
    refused(|cluster| cluster.eds_cluster_config = None, "eds_cluster_config.eds_config");
    refused(
        |cluster| cluster.load_balancing_policy = balancers(vec![pack_any(WrrLocality::default())]),
        "load_balancing_policy",
    );
    let three = LeastRequest { choice_count: Some(UInt32Value { value: 3 }), ..LeastRequest::default() };
    refused(
        |cluster| cluster.load_balancing_policy = balancers(vec![pack_any(three)]),
        "load_balancing_policy.choice_count",
    );
    refused(|cluster| cluster.transport_socket = None, "typed_extension_protocol_options");
    refused(
        |cluster| cluster.connect_timeout = Some(protobuf::Duration { seconds: -1, nanos: 0 }),
        "connect_timeout",
    );
}

#[test]
fn a_peer_is_named_exactly_and_verified_by_the_mesh() {
    refused_tls(|tls| tls.ca_certificate_provider_instance = None, "ca_certificate_provider_instance");
    refused_tls(
        |tls| tls.match_typed_subject_alt_names[0].matcher.as_mut().expect("there").ignore_case = true,
        "match_typed_subject_alt_names[0].matcher",
    );
    refused_tls(
        |tls| tls.match_typed_subject_alt_names[0].san_type = SanType::Dns.into(),
        "match_typed_subject_alt_names[0].san_type",
    );
    refused_tls(|tls| tls.allow_expired_certificate = true, "allow_expired_certificate");
    let unverified = UpstreamTlsContext::default();
    refused(
        |cluster| cluster.transport_socket = Some(socket(pack_any(unverified))),
        "transport_socket.typed_config.common_tls_context.tls_certificate_provider_instance",
    );
}

#[expect(
    deprecated,
    reason = "the extension that takes the place of these fields is known to no gRPC and to few Envoys"
)]
fn by_name(kind: DiscoveryType, hosts: &[&str]) -> Cluster {
    let mut cluster = good();
    cluster.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
    cluster.eds_cluster_config = None;
    cluster.dns_lookup_family = DnsLookupFamily::All.into();
    cluster.dns_refresh_rate = Some(protobuf::Duration { seconds: 30, nanos: 0 });
    cluster.load_assignment = Some(super::endpoints::at(hosts));
    cluster
}

#[test]
#[expect(
    deprecated,
    reason = "the extension that takes the place of these fields is known to no gRPC and to few Envoys"
)]
fn endpoints_may_be_names() {
    let read = |wire: Cluster| {
        let cluster = changed(|cluster| *cluster = wire);
        let EndpointSource::Dns(dns) = &cluster.endpoints else { panic!("{:?}", cluster.endpoints) };
        let hosts =
            dns.targets.iter().map(|target| format!("{}:{}", target.host, target.endpoint.address.port()));
        (dns.addresses, dns.refresh.as_secs(), hosts.collect::<Vec<_>>())
    };
    let hosts = ["API.example.com.", "10.0.0.1", "::1"];
    let wanted = ["api.example.com:80", "10.0.0.1:80", "::1:80"].map(str::to_owned).to_vec();
    assert_eq!(read(by_name(DiscoveryType::StrictDns, &hosts)), (DnsAddresses::All, 30, wanted));
    let mut hasty = by_name(DiscoveryType::LogicalDns, &["a.com"]);
    hasty.dns_refresh_rate = Some(protobuf::Duration { seconds: 0, nanos: 1 });
    assert_eq!(read(hasty), (DnsAddresses::First, 5, vec!["a.com:80".to_owned()]));
}

#[test]
#[expect(
    deprecated,
    reason = "the extension that takes the place of these fields is known to no gRPC and to few Envoys"
)]
fn names_that_cannot_be_honoured_are_refused() {
    let check = |kind, hosts: &[&str], spoil: fn(&mut Cluster), field: &str| {
        let mut wire = by_name(kind, hosts);
        spoil(&mut wire);
        refused(|cluster| *cluster = wire, field);
    };
    let (strict, logical) = (DiscoveryType::StrictDns, DiscoveryType::LogicalDns);
    check(logical, &["a.com", "b.com"], |_| {}, "load_assignment");
    check(strict, &["a.com"], |cluster| cluster.load_assignment = None, "load_assignment");
    check(strict, &["a.com"], |cluster| cluster.respect_dns_ttl = true, "respect_dns_ttl");
    check(
        strict,
        &["a.com"],
        |cluster| cluster.dns_lookup_family = DnsLookupFamily::V6Only.into(),
        "dns_lookup_family",
    );
    check(DiscoveryType::Static, &["a.com"], |_| {}, "type");
    let place = "load_assignment.endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address";
    for bad in ["", "a b", "a.com:80", "[::1]"] {
        check(strict, &[bad], |_| {}, place);
    }
    refused(|cluster| cluster.load_assignment = Some(super::endpoints::at(&["a.com"])), "load_assignment");
}
