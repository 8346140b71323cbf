//! Who is asked first, for callers of several localities.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use mesh_core::resource::Resource;
use prost::Message;

use super::*;
use crate::document::{DocumentSet, Source};
use crate::model::{ClientKind, Config};

const NAME: &str = "outbound|80||a.example";

fn world(endpoints: &str, balancer: &str) -> World {
    let documents = format!(
        "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: a}}
spec: {{hosts: [a.example], resolution: STATIC, ports: [{{number: 80, name: http}}], endpoints: [{endpoints}]}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: a}}
spec: {{host: a.example, trafficPolicy: {{loadBalancer: {{{balancer}}}, tls: {{mode: DISABLE}}}}}}
"
    );
    let reading = DocumentSet::read(&[Source::file("documents.yaml", documents)]);
    let findings: Vec<_> = reading.reports.iter().flat_map(|report| &report.findings).collect();
    assert!(findings.is_empty(), "{findings:?}");
    World::offline(Arc::new(Config::new(&reading.documents)))
}

fn caller(locality: &str) -> Caller {
    Caller { namespace: "default".into(), locality: Some(locality.into()), ..Caller::default() }
}

/// Priority and weight of each locality, once a client has taken them.
fn groups(world: &World, caller: &Caller) -> Vec<(u32, String, u32)> {
    let message = translate(world, caller, ResourceType::Endpoints, NAME).message.expect("endpoints");
    let taken = mesh_core::resource::parse(ResourceType::Endpoints, &message.value);
    assert!(matches!(taken, Ok(Resource::Endpoints(_))), "{taken:?}");
    let assignment = ClusterLoadAssignment::decode(&*message.value).expect("what we encode can be decoded");
    let group = |group: envoy_types::pb::envoy::config::endpoint::v3::LocalityLbEndpoints| {
        let region = group.locality.map(|locality| locality.region).unwrap_or_default();
        (group.priority, region, group.load_balancing_weight.map_or(0, |weight| weight.value))
    };
    assignment.endpoints.into_iter().map(group).collect()
}

const ENDPOINTS: &str = "{address: 10.0.0.1, locality: r1/z1}, {address: 10.0.0.2, locality: r2/z1, weight: 3}, {address: 10.0.0.3}";

#[test]
fn callers_share_what_does_not_depend_on_where_they_are() {
    let read = |endpoints, balancer| {
        let world = world(endpoints, balancer);
        let key = |locality| {
            let caller = caller(locality);
            caller.key(translate(&world, &caller, ResourceType::Endpoints, NAME).inputs)
        };
        key("r1/z1") != key("r2/z1")
    };
    assert!(!read(ENDPOINTS, "simple: RANDOM"), "nothing fails over");
    assert!(read(ENDPOINTS, "zoneAwareLbSetting: {enabled: true}"));
    assert!(!read("{address: 10.0.0.1}", "zoneAwareLbSetting: {enabled: true}"), "nobody has a locality");
    assert!(!read(ENDPOINTS, "zoneAwareLbSetting: {enabled: false}"));
}

#[test]
fn localities_have_priorities_and_shares() {
    let zones = world(ENDPOINTS, "zoneAwareLbSetting: {enabled: true}");
    let group = |priority, region: &str, weight| (priority, region.to_owned(), weight);
    assert_eq!(groups(&zones, &caller("r1/z1")), [group(0, "r1", 1), group(1, "r2", 3), group(2, "", 1)]);
    assert_eq!(groups(&zones, &caller("r2/z9")), [group(0, "r2", 3), group(1, "r1", 1), group(2, "", 1)]);
    let shares = world(ENDPOINTS, "localityLbSetting: {distribute: [{from: r1, to: {r1: 60, r2: 40}}]}");
    assert_eq!(groups(&shares, &caller("r1/z1")), [group(0, "r1", 60), group(0, "r2", 40)]);
    assert_eq!(groups(&shares, &caller("r2/z1")), [group(0, "", 1), group(0, "r1", 1), group(0, "r2", 3)]);
}

#[test]
fn every_kind_of_client_is_told_of_shares_in_its_own_words() {
    let world = world(ENDPOINTS, "localityLbSetting: {distribute: [{from: r1, to: {r1: 60, r2: 40}}]}");
    let balancers = |client| {
        let caller = Caller { client, ..caller("r1/z1") };
        let message = translate(&world, &caller, ResourceType::Cluster, NAME).message.expect("a cluster");
        let cluster = Cluster::decode(&*message.value).expect("what we encode can be decoded");
        let policies = cluster.load_balancing_policy.unwrap_or_default().policies;
        let names = policies.into_iter().filter_map(|policy| policy.typed_extension_config);
        names.map(|config| config.name.rsplit('.').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(balancers(ClientKind::Grpc), ["wrr_locality", "round_robin"]);
    assert_eq!(balancers(ClientKind::Mesh), ["least_request", "round_robin"]);
    let message =
        translate(&world, &caller("r1/z1"), ResourceType::Cluster, NAME).message.expect("a cluster");
    match mesh_core::resource::parse(ResourceType::Cluster, &message.value) {
        Ok(Resource::Cluster(cluster)) => assert!(cluster.localities_weighted),
        other => panic!("{other:?}"),
    }
}
