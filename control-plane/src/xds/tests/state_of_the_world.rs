//! The state-of-the-world encoding, as gRPC and Envoy use it.

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use mesh_core::resource::ResourceType;
use prost::Message;

use super::rig::{CDS, EDS, LDS, Rig, Services, SotwPeer, cluster};
use crate::model::ClientKind;

/// Asks and takes the answer.
async fn exchange(peer: &mut SotwPeer, kind: ResourceType, names: &[String], nonce: &str) -> (usize, String) {
    peer.request(kind, names, nonce, None).await;
    let response = peer.next().await;
    assert_eq!(response.type_url, kind.url());
    (response.resources.len(), response.nonce)
}

#[tokio::test]
async fn a_client_that_subscribes_step_by_step_gets_each_step() {
    let rig = Rig::start(Services::new(3).world(&[])).await;
    let mut peer = rig.sotw().await;
    let (count, nonce) = exchange(&mut peer, CDS, &[cluster(0)], "").await;
    assert_eq!(count, 1);
    let (count, nonce) = exchange(&mut peer, CDS, &[cluster(0), cluster(1)], &nonce).await;
    assert_eq!(count, 2, "clusters are all there in every answer");
    peer.request(CDS, &[cluster(0), cluster(1)], &nonce, None).await;
    let (count, nonce) = exchange(&mut peer, EDS, &[cluster(0)], "").await;
    assert_eq!(count, 1);
    let (count, _) = exchange(&mut peer, EDS, &[cluster(0), cluster(1)], &nonce).await;
    assert_eq!(count, 1, "endpoints come as they change");
    rig.until(|statuses| statuses[0].client == ClientKind::Grpc).await;
}

#[tokio::test]
async fn a_change_carries_every_cluster_and_only_the_changed_endpoints() {
    let services = Services::new(3);
    let rig = Rig::start(services.world(&[])).await;
    let mut peer = rig.sotw().await;
    let names: Vec<String> = (0..3).map(cluster).collect();
    let (_, nonce) = exchange(&mut peer, EDS, &names, "").await;
    peer.request(EDS, &names, &nonce, None).await;
    let (_, nonce) = exchange(&mut peer, CDS, &names, "").await;
    peer.request(CDS, &names, &nonce, None).await;
    rig.hub.publish(services.world(&[1]));
    let response = peer.next().await;
    assert_eq!((response.type_url.as_str(), response.resources.len()), (EDS.url(), 1));
    peer.request(EDS, &names, &response.nonce, None).await;
    let rule = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: s1, namespace: default}\n\
                spec: {host: s1, trafficPolicy: {loadBalancer: {simple: RANDOM}}}\n";
    rig.hub.publish(services.with_documents(rule).world(&[1]));
    let response = peer.next().await;
    let clusters: Vec<String> =
        response.resources.iter().map(|any| Cluster::decode(&*any.value).unwrap().name).collect();
    assert_eq!(clusters, names);
}

#[tokio::test]
async fn an_unknown_listener_is_absent_and_a_wildcard_is_answered() {
    let rig = Rig::start(Services::new(1).world(&[])).await;
    let mut peer = rig.sotw().await;
    let (count, nonce) = exchange(&mut peer, LDS, &["nowhere:80".into(), "s0:80".into()], "").await;
    assert_eq!(count, 1);
    peer.request(LDS, &["nowhere:80".into(), "s0:80".into()], &nonce, Some("unhappy")).await;
    rig.until(|statuses| statuses[0].types[&LDS].nack.is_some()).await;
    assert_eq!(exchange(&mut peer, CDS, &[], "").await.0, 0);
}
