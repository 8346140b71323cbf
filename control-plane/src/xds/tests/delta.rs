//! The delta encoding.

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::rig::{EDS, LDS, RDS, Rig, Services, cluster, host};

#[tokio::test]
async fn a_host_is_followed_from_listener_to_endpoints() {
    let rig = Rig::start(Services::new(1).world(&[])).await;
    let mut peer = rig.delta().await;
    let check = async |peer: &mut super::rig::DeltaPeer, kind, name: String| {
        peer.subscribe(kind, [name.clone()]).await;
        assert_eq!(peer.collect(1).await.into_iter().next(), Some(name));
    };
    check(&mut peer, LDS, "s0:80".into()).await;
    check(&mut peer, RDS, format!("{}:80", host(0))).await;
    check(&mut peer, EDS, cluster(0)).await;
}

#[tokio::test]
async fn an_unknown_name_is_removed_and_an_unknown_type_breaks_nothing() {
    let rig = Rig::start(Services::new(1).world(&[])).await;
    let mut peer = rig.delta().await;
    peer.request(DeltaDiscoveryRequest {
        type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret".into(),
        resource_names_subscribe: vec!["default".into()],
        ..Default::default()
    })
    .await;
    peer.subscribe(LDS, ["nowhere:80".into()]).await;
    let response = peer.next().await;
    assert_eq!(response.removed_resources, ["nowhere:80"]);
    assert!(response.resources.is_empty());
}

#[tokio::test]
async fn a_client_that_comes_back_is_told_only_what_it_missed() {
    let services = Services::new(2);
    let rig = Rig::start(services.world(&[])).await;
    let mut peer = rig.delta().await;
    peer.subscribe(EDS, [cluster(0), cluster(1)]).await;
    let first = peer.next().await;
    drop(peer);
    rig.hub.publish(services.world(&[1]));
    let mut peer = rig.delta().await;
    let versions = first.resources.into_iter().map(|resource| (resource.name, resource.version)).collect();
    peer.request(DeltaDiscoveryRequest {
        type_url: EDS.url().into(),
        resource_names_subscribe: vec![cluster(0), cluster(1)],
        initial_resource_versions: versions,
        ..Default::default()
    })
    .await;
    let response = peer.next().await;
    let names: Vec<&str> = response.resources.iter().map(|resource| &*resource.name).collect();
    assert_eq!(names, [cluster(1)]);
}

#[tokio::test]
async fn a_refusal_shows_in_the_status_until_it_is_mended() {
    let services = Services::new(1);
    let rig = Rig::start(services.world(&[])).await;
    let mut peer = rig.delta().await;
    peer.subscribe(EDS, [cluster(0)]).await;
    let response = peer.unanswered().await;
    peer.answer(&response, Some("weight is zero")).await;
    let nack = |statuses: &[crate::xds::StreamStatus]| {
        statuses[0].types.get(&EDS).and_then(|status| status.nack.clone()).map(|nack| nack.reason)
    };
    rig.until(|statuses| nack(statuses).as_deref() == Some("weight is zero")).await;
    assert_eq!(rig.hub.counts().refusals, 1);
    rig.hub.publish(services.world(&[0]));
    peer.next().await;
    rig.until(|statuses| nack(statuses).is_none()).await;
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_not_up_to_date() {
    let services = Services::new(1);
    let rig = Rig::start(services.world(&[])).await;
    let mut peer = rig.delta().await;
    peer.subscribe(EDS, [cluster(0)]).await;
    peer.next().await;
    rig.all_acknowledged().await;
    rig.hub.publish(services.world(&[0]));
    let response = peer.unanswered().await;
    rig.until(|statuses| statuses[0].types[&EDS].unanswered == 1).await;
    assert_eq!(rig.hub.statuses()[0].revision, 0);
    peer.answer(&response, None).await;
    rig.all_acknowledged().await;
}
