//! Where an outbound listener leads connections of bytes: a filter chain per rule, each ending in `tcp_proxy`.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::TrafficDirection;
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener, ListenerFilter, filter, listener_filter,
};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
    ClusterSpecifier, WeightedCluster,
};
use envoy_types::pb::google::protobuf::UInt32Value;
use mesh_core::resource::Provenance;
use mesh_core::route::StickyKey;

use super::encode::{self, PLAIN};
use super::metadata::{self, Entry};
use super::name::ClusterName;
use super::route::destination_cluster;
use super::sticky;
use crate::document::RouteDestination;
use crate::model::{ConnectionRule, Resolved, Routing, View, World};

/// Adds what takes a host's connections, and what our clients read the host's name from.
pub(super) fn add_chains(
    world: &World,
    view: &View<'_>,
    resolved: &Resolved<'_>,
    port: u16,
    listener: &mut Listener,
) {
    let spoken = resolved.service.and_then(|service| service.port(port)).map(|port| port.protocol);
    let routing = world.config().virtual_service(view, &resolved.host);
    let rules = routing.into_iter().flat_map(|routing| {
        let rules = routing.connection_rules(view, port, spoken);
        rules.into_iter().map(move |rule| (routing, rule))
    });
    let mut taken = BTreeSet::new();
    for (routing, rule) in rules {
        // The first rule wins a server name, as in Istio; what it does not name the most specific rule takes, as in Envoy.
        let names = rule.entries.iter().flat_map(|entry| &entry.sni_hosts);
        let names: Vec<String> = names.filter(|name| taken.insert(name.to_string())).cloned().collect();
        let takes_all = rule.protocol == "tcp";
        if takes_all || !names.is_empty() {
            listener.filter_chains.push(ruled(world, view, (routing, &rule), port, names));
        }
        if takes_all {
            break;
        }
    }
    if listener.filter_chains.is_empty() {
        let whole = ClusterName { port, subset: "", host: &resolved.host };
        listener.filter_chains.push(chain(&resolved.host, ClusterSpecifier::Cluster(whole.to_string())));
    }
    if !taken.is_empty() {
        listener.listener_filters.push(tls_inspector());
    }
    let facts =
        [("host".to_owned(), Entry::text(&resolved.host)), ("port".to_owned(), Entry::number(port.into()))];
    listener.metadata = Some(metadata::ours(facts));
    listener.traffic_direction = TrafficDirection::Outbound.into();
}

/// The chain of a rule; without server names it takes every connection.
fn ruled(
    world: &World,
    view: &View<'_>,
    (routing, rule): (&Routing, &ConnectionRule<'_>),
    port: u16,
    server_names: Vec<String>,
) -> FilterChain {
    let document = &routing.document;
    let place = format!("{}[{}]", rule.protocol, rule.index);
    let provenance = Provenance { rule: Some((*place).into()), ..document.provenance(rule.rule.span) };
    let to = |destination: &RouteDestination| {
        destination_cluster(world, view, &document.namespace, destination, port)
    };
    let destinations = &rule.rule.destinations;
    // The only fact that a connection has in common with requests.
    let by_identity = document.sticky == Some(StickyKey::Identity);
    let sticky = sticky::annotated(document, destinations.len()).filter(|_| by_identity);
    let condition = FilterChainMatch { server_names, ..FilterChainMatch::default() };
    FilterChain {
        filter_chain_match: (!condition.server_names.is_empty()).then_some(condition),
        metadata: Some(metadata::route(&provenance, sticky)),
        ..chain(&place, specifier(destinations, to))
    }
}

/// A weight of 0 is none on the wire; a single destination takes everything, whatever its weight.
fn specifier(
    destinations: &[RouteDestination],
    to: impl Fn(&RouteDestination) -> String,
) -> ClusterSpecifier {
    if let [only] = destinations {
        return ClusterSpecifier::Cluster(to(only));
    }
    let weighted = destinations.iter().filter(|destination| destination.weight > 0);
    let clusters = weighted.map(|destination| ClusterWeight {
        name: to(destination),
        weight: destination.weight,
        ..ClusterWeight::default()
    });
    ClusterSpecifier::WeightedClusters(WeightedCluster { clusters: clusters.collect() })
}

fn chain(name: &str, specifier: ClusterSpecifier) -> FilterChain {
    let proxy = TcpProxy {
        stat_prefix: name.to_owned(),
        cluster_specifier: Some(specifier),
        max_connect_attempts: Some(UInt32Value { value: CONNECTS_MAX }),
        ..TcpProxy::default()
    };
    FilterChain {
        name: name.to_owned(),
        metadata: Some(metadata::ours([])),
        filters: vec![Filter {
            name: "envoy.filters.network.tcp_proxy".to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(encode::pack(&proxy, &PLAIN))),
        }],
        ..FilterChain::default()
    }
}

/// By it a proxy sees the server name; callers in process say it themselves.
fn tls_inspector() -> ListenerFilter {
    let config = encode::pack(&TlsInspector::default(), &PLAIN);
    ListenerFilter {
        name: "envoy.filters.listener.tls_inspector".to_owned(),
        config_type: Some(listener_filter::ConfigType::TypedConfig(config)),
        ..ListenerFilter::default()
    }
}

/// As many endpoints are tried as for a request of which nothing is said.
const CONNECTS_MAX: u32 = 3;
