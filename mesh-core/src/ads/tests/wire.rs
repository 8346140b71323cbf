//! The smallest resources that say something: host `NAME:80` → routes `NAME` → cluster `NAME` → endpoints `NAME`.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, DiscoveryType, EdsClusterConfig,
};
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ConfigSource, SocketAddress, address, config_source, socket_address,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action, route_match,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use prost::{Message, Name};

use crate::resource::ResourceType;

/// A resource: type, name, version, bytes.
pub(crate) type Resource = (ResourceType, String, String, Vec<u8>);

/// Everything that `NAME:80` needs, with one endpoint at 10.0.0.1:`port`.
pub(crate) fn host(name: &str, port: u16) -> [Resource; 4] {
    [listener(name), routes(name), cluster(name), endpoints(name, port)]
}

pub(crate) fn listener(name: &str) -> Resource {
    let manager = HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: name.into(),
        })),
        http_filters: vec![HttpFilter {
            name: "router".into(),
            config_type: Some(http_filter::ConfigType::TypedConfig(pack(&Router::default()))),
            ..HttpFilter::default()
        }],
        ..HttpConnectionManager::default()
    };
    let listener = Listener {
        name: format!("{name}:80"),
        api_listener: Some(ApiListener { api_listener: Some(pack(&manager)) }),
        ..Listener::default()
    };
    (ResourceType::Listener, listener.name.clone(), "1".into(), listener.encode_to_vec())
}

fn routes(name: &str) -> Resource {
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix("/".into())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(name.into())),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    let routes = RouteConfiguration {
        name: name.into(),
        virtual_hosts: vec![VirtualHost {
            name: name.into(),
            domains: vec!["*".into()],
            routes: vec![route],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    (ResourceType::RouteConfiguration, name.into(), "1".into(), routes.encode_to_vec())
}

fn cluster(name: &str) -> Resource {
    let cluster = Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: Some(ads()), ..EdsClusterConfig::default() }),
        ..Cluster::default()
    };
    (ResourceType::Cluster, name.into(), "1".into(), cluster.encode_to_vec())
}

/// What `NAME:80` needs where its endpoint is a name.
pub(crate) fn named_host(name: &str, host: &str) -> [Resource; 3] {
    let cluster = Cluster {
        name: name.into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::StrictDns.into())),
        load_assignment: Some(assignment(name, host, 80)),
        ..Cluster::default()
    };
    let cluster = (ResourceType::Cluster, name.into(), "1".into(), cluster.encode_to_vec());
    [listener(name), routes(name), cluster]
}

/// One endpoint at 10.0.0.1; its port is its version. Port 0 is refused.
pub(crate) fn endpoints(name: &str, port: u16) -> Resource {
    let assignment = assignment(name, "10.0.0.1", port);
    (ResourceType::Endpoints, name.into(), port.to_string(), assignment.encode_to_vec())
}

fn assignment(name: &str, address: &str, port: u16) -> ClusterLoadAssignment {
    let address = SocketAddress {
        address: address.into(),
        port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
        ..SocketAddress::default()
    };
    let endpoint = LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(Address { address: Some(address::Address::SocketAddress(address)) }),
            ..Endpoint::default()
        })),
        load_balancing_weight: Some(UInt32Value { value: u32::from(port != 0) }),
        ..LbEndpoint::default()
    };
    ClusterLoadAssignment {
        cluster_name: name.into(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: vec![endpoint],
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    }
}

fn ads() -> ConfigSource {
    ConfigSource {
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn pack<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}
