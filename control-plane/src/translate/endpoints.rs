//! The endpoints of a cluster, grouped by locality.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, HealthStatus, Locality, Metadata, Pipe, SocketAddress, address,
};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    self as wire, ClusterLoadAssignment, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use mesh_core::resource::Health;

use super::cluster::plaintext_mark;
use super::encode::{self, ENDPOINTS};
use super::metadata::{self, Entry};
use super::name::ClusterName;
use crate::model::{Endpoint, Listening, SubsetView, Transport, View, World};

pub(super) fn translate(world: &World, view: &View<'_>, name: &str) -> Option<Any> {
    let name = ClusterName::parse(name)?;
    let subset = world.subset(view, &name)?;
    // Such clusters have their endpoints within them.
    let named = subset.endpoints(world).iter().any(|endpoint| endpoint.name.is_some());
    (!named).then(|| encode::pack(&assignment(world, view, &subset, &name), &ENDPOINTS))
}

/// The endpoints of a subset, by address or by name, as they stand for the caller.
pub(super) fn assignment(
    world: &World,
    view: &View<'_>,
    subset: &SubsetView<'_>,
    name: &ClusterName<'_>,
) -> ClusterLoadAssignment {
    let automatic = subset.transport(world) == Transport::AutoMtls;
    let endpoints = subset.endpoints(world);
    let standings = subset.standings(world, view, &endpoints);
    let mut groups: BTreeMap<Group<'_>, Vec<LbEndpoint>> = BTreeMap::new();
    for (endpoint, standing) in endpoints.iter().zip(standings) {
        let Some(standing) = standing else { continue };
        let marked = automatic && !subset.takes_mtls(world, endpoint);
        groups
            .entry((standing.priority, endpoint.locality(), standing.locality_weight))
            .or_default()
            .push(lb_endpoint(endpoint, marked));
    }
    ClusterLoadAssignment {
        cluster_name: name.to_string(),
        endpoints: groups.into_iter().map(|(key, endpoints)| group(key, endpoints)).collect(),
        ..ClusterLoadAssignment::default()
    }
}

/// Priority, locality and its weight, where localities are weighted.
type Group<'a> = (u32, Option<&'a str>, Option<u32>);

fn group((priority, locality, weight): Group<'_>, lb_endpoints: Vec<LbEndpoint>) -> LocalityLbEndpoints {
    let mut parts = locality.unwrap_or_default().splitn(3, '/').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    let locality = Locality { region: part(), zone: part(), sub_zone: part() };
    let weights =
        lb_endpoints.iter().map(|endpoint| endpoint.load_balancing_weight.map_or(1, |weight| weight.value));
    // gRPC leaves out a locality without a weight.
    let weight = weight.unwrap_or_else(|| weights.fold(0, u32::saturating_add));
    LocalityLbEndpoints {
        locality: Some(locality),
        lb_endpoints,
        load_balancing_weight: Some(UInt32Value { value: weight }),
        priority,
        ..LocalityLbEndpoints::default()
    }
}

fn lb_endpoint(endpoint: &Endpoint<'_>, plaintext: bool) -> LbEndpoint {
    let health = match endpoint.health() {
        Health::Healthy => HealthStatus::Healthy,
        Health::Draining => HealthStatus::Draining,
        Health::Unhealthy => HealthStatus::Unhealthy,
    };
    let workload =
        endpoint.workload.map(|workload| ("workload".to_owned(), Entry::text(&workload.full_name())));
    let mut metadata = metadata::ours(workload);
    if plaintext {
        let mark = HashMap::from([(TRANSPORT_SOCKET_MATCH.to_owned(), plaintext_mark())]);
        metadata = Metadata {
            filter_metadata: mark.into_iter().chain(metadata.filter_metadata).collect(),
            ..metadata
        };
    }
    LbEndpoint {
        health_status: health.into(),
        metadata: Some(metadata),
        load_balancing_weight: Some(UInt32Value { value: endpoint.weight() }),
        host_identifier: Some(HostIdentifier::Endpoint(wire::Endpoint {
            address: Some(match (&endpoint.name, endpoint.workload.map(|workload| &workload.listening)) {
                (Some(name), _) => host(name.to_string(), endpoint.address.port()),
                (None, Some(Listening::Pipe(path))) => pipe(path),
                (None, _) => socket(endpoint.address),
            }),
            ..wire::Endpoint::default()
        })),
    }
}

fn pipe(path: &Path) -> Address {
    let path = path.display().to_string();
    Address { address: Some(address::Address::Pipe(Pipe { path, ..Pipe::default() })) }
}

pub(super) fn socket(address: std::net::SocketAddr) -> Address {
    host(address.ip().to_string(), address.port())
}

fn host(address: String, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address,
            port_specifier: Some(PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

const TRANSPORT_SOCKET_MATCH: &str = "envoy.transport_socket_match";
