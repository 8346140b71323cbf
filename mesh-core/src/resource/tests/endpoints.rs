use envoy_types::pb::envoy::config::core::v3::socket_address::{PortSpecifier, Protocol};
use envoy_types::pb::envoy::config::core::v3::{
    Address, HealthStatus, Locality, Metadata, Pipe, SocketAddress, address,
};
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints,
};
use envoy_types::pb::google::protobuf::UInt32Value;

use super::*;

fn socket(ip: &str, port: u32) -> SocketAddress {
    let port_specifier = Some(PortSpecifier::PortValue(port));
    SocketAddress { address: ip.into(), port_specifier, ..SocketAddress::default() }
}

fn endpoint(socket: SocketAddress) -> LbEndpoint {
    let address = Some(Address { address: Some(address::Address::SocketAddress(socket)) });
    LbEndpoint {
        health_status: HealthStatus::Healthy.into(),
        metadata: ours(&[("workload", text("default/reviews-v1"))]),
        load_balancing_weight: Some(UInt32Value { value: 2 }),
        host_identifier: Some(HostIdentifier::Endpoint(Endpoint { address, ..Endpoint::default() })),
    }
}

pub(super) fn good() -> ClusterLoadAssignment {
    let locality = Locality { region: "r".into(), zone: "z".into(), ..Locality::default() };
    let group = LocalityLbEndpoints {
        locality: Some(locality),
        lb_endpoints: vec![endpoint(socket("10.0.0.7", 9080)), endpoint(socket("::1", 9080))],
        load_balancing_weight: Some(UInt32Value { value: 4 }),
        priority: 1,
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment {
        cluster_name: "c".into(),
        endpoints: vec![group],
        ..ClusterLoadAssignment::default()
    }
}

/// Endpoints on port 80 at these hosts.
pub(super) fn at(hosts: &[&str]) -> ClusterLoadAssignment {
    let lb_endpoints = hosts.iter().map(|host| endpoint(socket(host, 80))).collect();
    let group = LocalityLbEndpoints { lb_endpoints, ..LocalityLbEndpoints::default() };
    ClusterLoadAssignment { endpoints: vec![group], ..ClusterLoadAssignment::default() }
}

fn parsed(assignment: &ClusterLoadAssignment) -> Arc<EndpointsSpec> {
    match parse(ResourceType::Endpoints, &assignment.encode_to_vec()) {
        Ok(Resource::Endpoints(endpoints)) => endpoints,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(socket: SocketAddress, field: &str) {
    let spoil = |assignment: &mut ClusterLoadAssignment| {
        assignment.endpoints[0].lb_endpoints = vec![endpoint(socket)];
        assignment.endpoints[0].load_balancing_weight = None;
    };
    let field = format!("endpoints[0].lb_endpoints[0].endpoint.address.socket_address{field}");
    check_refused(ResourceType::Endpoints, good(), spoil, &field);
}

#[test]
fn an_endpoint_is_read_with_all_that_is_known_of_it() {
    let endpoints = parsed(&good());
    let expected = EndpointSpec {
        address: "10.0.0.7:9080".parse().expect("address"),
        pipe: None,
        workload: Some("default/reviews-v1".into()),
        locality: Some("r/z".into()),
        locality_weight: 4,
        priority: 1,
        weight: 2,
        health: Health::Healthy,
        mesh_mtls: true,
    };
    assert_eq!(endpoints.endpoints[0], expected);
    assert_eq!(endpoints.endpoints[1].address, "[::1]:9080".parse().expect("address"));
    assert_eq!(&*endpoints.name, "c");
}

#[test]
fn a_mark_says_that_an_endpoint_is_outside_the_mesh() {
    let mut assignment = good();
    let mark = ("envoy.transport_socket_match".to_owned(), object(&[("tlsMode", text("disabled"))]));
    assignment.endpoints[0].lb_endpoints[0].metadata =
        Some(Metadata { filter_metadata: [mark].into(), ..Metadata::default() });
    let marked: Vec<bool> = parsed(&assignment).endpoints.iter().map(|endpoint| endpoint.mesh_mtls).collect();
    assert_eq!(marked, [false, true]);
}

#[test]
fn health_is_read_as_grpc_reads_it() {
    let check = |status: HealthStatus, expected| {
        let mut assignment = good();
        assignment.endpoints[0].lb_endpoints[0].health_status = status.into();
        assert_eq!(parsed(&assignment).endpoints[0].health, expected, "{status:?}");
    };
    check(HealthStatus::Unknown, Health::Healthy);
    check(HealthStatus::Draining, Health::Draining);
    check(HealthStatus::Timeout, Health::Unhealthy);
    check(HealthStatus::Degraded, Health::Unhealthy);
}

#[test]
fn an_address_is_an_ip_with_a_port_over_tcp() {
    refused(socket("reviews", 80), ".address");
    refused(socket("10.0.0.1", 0), ".port_value");
    refused(socket("10.0.0.1", 65536), ".port_value");
    refused(SocketAddress { protocol: Protocol::Udp.into(), ..socket("10.0.0.1", 80) }, ".protocol");
}

#[test]
fn a_unix_socket_is_an_address_too() {
    let piped = |path: &str| {
        let mut assignment = good();
        let address = address::Address::Pipe(Pipe { path: path.to_owned(), mode: 0o600 });
        let at = Endpoint { address: Some(Address { address: Some(address) }), ..Endpoint::default() };
        assignment.endpoints[0].lb_endpoints[0].host_identifier = Some(HostIdentifier::Endpoint(at));
        assignment
    };
    let read = |path| parsed(&piped(path)).endpoints[0].clone();
    let (app, named) = (read("/run/app.sock"), read("@app"));
    assert_eq!(app.pipe.as_deref(), Some(std::path::Path::new("/run/app.sock")));
    assert_eq!([&app, &named].map(ToString::to_string), ["unix:///run/app.sock", "unix://@app"]);
    // What stands for a path is the same in every process and every version.
    assert_eq!(app.address.to_string(), "[100::ae4:ed62:93ab:3ec6]:0");
    assert_ne!(app.address, named.address);
    for path in ["", "run/app.sock", "/run/"] {
        let field = "endpoints[0].lb_endpoints[0].endpoint.address.pipe.path";
        check_refused(ResourceType::Endpoints, piped(path), |_| {}, field);
    }
}

#[test]
fn what_cannot_be_honoured_is_refused() {
    let check = |spoil: fn(&mut ClusterLoadAssignment), field| {
        check_refused(ResourceType::Endpoints, good(), spoil, field);
    };
    check(
        |wire| wire.policy = Some(Policy { weighted_priority_health: true, ..Policy::default() }),
        "policy.weighted_priority_health",
    );
    let factor = |value| Policy { overprovisioning_factor: Some(UInt32Value { value }), ..Policy::default() };
    check_refused(
        ResourceType::Endpoints,
        good(),
        |wire| wire.policy = Some(factor(100)),
        "policy.overprovisioning_factor",
    );
    parsed(&ClusterLoadAssignment { policy: Some(factor(140)), ..good() });
    check(|wire| wire.endpoints.push(wire.endpoints[0].clone()), "endpoints");
    check(
        |wire| wire.endpoints[0].lb_endpoints[0].load_balancing_weight = Some(UInt32Value { value: 0 }),
        "endpoints[0].lb_endpoints[0].load_balancing_weight",
    );
    check(
        |wire| wire.endpoints[0].lb_endpoints[0].host_identifier = None,
        "endpoints[0].lb_endpoints[0].endpoint",
    );
}

#[test]
fn no_endpoint_at_all_is_an_answer_too() {
    let empty = ClusterLoadAssignment { cluster_name: "c".into(), ..ClusterLoadAssignment::default() };
    assert!(parsed(&empty).endpoints.is_empty());
}
