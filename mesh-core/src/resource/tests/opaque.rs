//! Listeners for connections of bytes.

use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
    ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight,
};
use envoy_types::pb::google::protobuf::UInt32Value;

use super::*;
use crate::resource::OutboundListener;
use crate::route::StickyKey;
use crate::trace::NoTrace;

fn proxy() -> TcpProxy {
    TcpProxy {
        stat_prefix: "db:5432".into(),
        cluster_specifier: Some(ClusterSpecifier::Cluster("outbound|5432||db".into())),
        max_connect_attempts: Some(UInt32Value { value: 3 }),
        ..TcpProxy::default()
    }
}

fn weighted(weights: &[(&str, u32)]) -> TcpProxy {
    let weight = |(name, weight): &(&str, u32)| ClusterWeight {
        name: (*name).into(),
        weight: *weight,
        ..ClusterWeight::default()
    };
    let clusters = weights.iter().map(weight).collect();
    let specifier = ClusterSpecifier::WeightedClusters(WeightedCluster { clusters });
    TcpProxy { cluster_specifier: Some(specifier), ..proxy() }
}

fn chain(server_names: &[&str], proxy: TcpProxy) -> FilterChain {
    let condition = FilterChainMatch {
        server_names: server_names.iter().map(|name| (*name).into()).collect(),
        ..FilterChainMatch::default()
    };
    FilterChain {
        name: "tcp[0]".into(),
        filter_chain_match: (!server_names.is_empty()).then_some(condition),
        filters: vec![Filter {
            name: "envoy.filters.network.tcp_proxy".into(),
            config_type: Some(filter::ConfigType::TypedConfig(pack_any(proxy))),
        }],
        ..FilterChain::default()
    }
}

fn with(filter_chains: Vec<FilterChain>) -> Listener {
    let traffic_direction = TrafficDirection::Outbound.into();
    Listener { name: "db:5432".into(), filter_chains, traffic_direction, ..Listener::default() }
}

fn parsed(wire: &Listener) -> Arc<OutboundListener> {
    match parse(ResourceType::Listener, &wire.encode_to_vec()) {
        Ok(Resource::Outbound(listener)) => listener,
        other => panic!("no outbound listener: {other:?}"),
    }
}

pub(super) fn good() -> Listener {
    with(vec![chain(&["a.b", "*.c"], weighted(&[("v1", 1), ("v2", 2)])), chain(&[], proxy())])
}

#[track_caller]
fn refused(chains: Vec<FilterChain>, field: &str) {
    check_refused(ResourceType::Listener, with(chains), |_| {}, field);
}

#[track_caller]
fn proxy_refused(proxy: TcpProxy, field: &str) {
    refused(vec![chain(&[], proxy)], &format!("filter_chains[0].filters[0].{field}"));
}

#[test]
fn a_chain_without_server_names_takes_every_connection() {
    let listener = parsed(&with(vec![chain(&[], weighted(&[("v1", 90), ("v2", 10)]))]));
    assert!(listener.requests().is_none());
    let spec = listener.connections().expect("takes connections");
    assert_eq!(spec.clusters, [Arc::from("v1"), Arc::from("v2")]);
    let rule = spec.table.decide(None, &mut NoTrace).expect("a rule");
    let weights: Vec<_> = rule.split.destinations.iter().map(|one| (&*one.cluster, one.weight)).collect();
    assert_eq!((weights, rule.connects_max), (vec![("v1", 90), ("v2", 10)], 3));
}

#[test]
fn server_names_choose_a_chain_in_either_case() {
    let mut wire = with(vec![chain(&["DB.example.com", "*.db.example.com"], proxy())]);
    let inspector = listener_filter::ConfigType::TypedConfig(pack_any(TlsInspector::default()));
    wire.listener_filters =
        vec![ListenerFilter { config_type: Some(inspector), ..ListenerFilter::default() }];
    let listener = parsed(&wire);
    let table = &listener.connections().expect("takes connections").table;
    let takes = |name| table.decide(name, &mut NoTrace).is_some();
    assert!(takes(Some("db.example.com")) && takes(Some("one.db.example.com")));
    assert!(!takes(Some("example.com")) && !takes(None));
}

#[test]
fn a_listener_can_take_requests_and_connections() {
    let wire = Listener { filter_chains: vec![chain(&[], proxy())], ..super::listeners::good() };
    let listener = parsed(&wire);
    assert!(listener.requests().is_some() && listener.connections().is_some());
}

#[test]
fn a_chain_says_where_it_came_from_and_by_what_it_is_sticky() {
    let sticky = |on: &str| {
        let structure = object(&[("on", text(on)), ("salt", text("VirtualService/default/db"))]);
        let sticky = Value { kind: Some(Kind::StructValue(structure)) };
        let facts =
            [("document", text("VirtualService/default/db")), ("rule", text("tcp[0]")), ("sticky", sticky)];
        FilterChain { metadata: ours(&facts), ..chain(&[], proxy()) }
    };
    let listener = parsed(&with(vec![sticky("identity")]));
    let rule = &listener.connections().expect("takes connections").table.rules()[0];
    assert_eq!(rule.provenance.to_string(), "VirtualService/default/db tcp[0]");
    assert_eq!(rule.split.sticky_key(), Some(&StickyKey::Identity));
    refused(vec![sticky("header:x")], "filter_chains[0].metadata.sticky.on");
}

#[test]
fn what_a_chain_for_connections_must_not_say_is_refused() {
    refused(vec![], "filter_chains");
    refused(vec![chain(&[], proxy()), chain(&[], proxy())], "filter_chains");
    refused(vec![chain(&["a.b"], proxy()), chain(&["A.b"], proxy())], "filter_chains");
    for wrong in ["*", "a*", "*.", "*.*.b", ""] {
        refused(vec![chain(&[wrong], proxy())], "filter_chains[0].filter_chain_match.server_names[0]");
    }
    let mut by_port = chain(&["a.b"], proxy());
    let port = Some(UInt32Value { value: 80 });
    by_port.filter_chain_match.get_or_insert_default().destination_port = port;
    refused(vec![by_port], "filter_chains[0].filter_chain_match.destination_port");
    let mut twice = chain(&[], proxy());
    twice.filters.push(twice.filters[0].clone());
    refused(vec![twice], "filter_chains[0].filters");
    let socket = Some(Default::default());
    let encrypted = FilterChain { transport_socket: socket, ..chain(&[], proxy()) };
    refused(vec![encrypted], "filter_chains[0].transport_socket");
    let default_chain = |wire: &mut Listener| wire.default_filter_chain = Some(chain(&[], proxy()));
    let good = with(vec![chain(&["a.b"], proxy())]);
    check_refused(ResourceType::Listener, good, default_chain, "default_filter_chain");
}

#[test]
fn what_a_tcp_proxy_must_not_say_is_refused() {
    proxy_refused(TcpProxy { cluster_specifier: None, ..proxy() }, "cluster_specifier");
    proxy_refused(weighted(&[]), "weighted_clusters.clusters");
    proxy_refused(weighted(&[("a", 0)]), "weighted_clusters.clusters");
    proxy_refused(weighted(&[("", 1)]), "weighted_clusters.clusters[0].name");
    let none = Some(UInt32Value { value: 0 });
    proxy_refused(TcpProxy { max_connect_attempts: none, ..proxy() }, "max_connect_attempts");
    let idle = Some(Default::default());
    proxy_refused(TcpProxy { idle_timeout: idle, ..proxy() }, "idle_timeout");
}
