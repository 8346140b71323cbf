//! What the server refuses, and how it ends.

use std::time::{Duration, SystemTime};

use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::rig::{EDS, Rig, Services, cluster};
use crate::xds::{Hub, Limits};

#[tokio::test]
async fn streams_have_a_limit_and_leave_room_when_they_end() {
    let hub = Hub::new(Services::new(1).world(&[]), Limits { streams_max: 1, ..Limits::default() });
    let rig = Rig::serve(hub).await;
    let first = rig.delta().await;
    let (_requests, queue) = tokio::sync::mpsc::channel(1);
    let refused =
        rig.client().await.delta_aggregated_resources(ReceiverStream::new(queue)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("streams_max of 1"), "{refused}");
    drop(first);
    rig.until(|statuses| statuses.is_empty()).await;
    rig.delta().await;
}

#[tokio::test]
async fn a_stream_may_not_subscribe_to_more_than_its_limit() {
    let hub = Hub::new(Services::new(1).world(&[]), Limits { stream_names_max: 2, ..Limits::default() });
    let rig = Rig::serve(hub).await;
    let mut peer = rig.delta().await;
    peer.subscribe(EDS, (0..3).map(cluster)).await;
    assert_eq!(peer.end().await.code(), Code::ResourceExhausted);
    rig.until(|statuses| statuses.is_empty()).await;
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_opened_it() {
    let hub = Hub::new(Services::new(1).world(&[]), Limits::default());
    let soon = SystemTime::now() + Duration::from_millis(200);
    let rig = Rig::serve_until(hub, Some(soon)).await;
    let mut peer = rig.delta().await;
    peer.subscribe(EDS, [cluster(0)]).await;
    peer.collect(1).await;
    assert_eq!(peer.end().await.code(), Code::Unauthenticated);
    assert!(SystemTime::now() >= soon);
}

#[tokio::test]
async fn a_hub_that_closes_sends_its_clients_elsewhere() {
    let rig = Rig::start(Services::new(1).world(&[])).await;
    let mut peer = rig.delta().await;
    rig.hub.close();
    assert_eq!(peer.end().await.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_client_that_reads_slowly_skips_to_the_latest_state() {
    let services = Services::new(1);
    let rig = Rig::start(services.world(&[])).await;
    let mut peer = rig.delta().await;
    peer.subscribe(EDS, [cluster(0)]).await;
    let first = peer.unanswered().await;
    for round in 0..200 {
        let moved: &[usize] = if round % 2 == 0 { &[0] } else { &[] };
        rig.hub.publish(services.world(moved));
        tokio::task::yield_now().await;
    }
    let latest = services.world(&[0, 0]);
    rig.hub.publish(latest.clone());
    assert!(rig.hub.counts().answers <= 8, "{:?}", rig.hub.counts());
    peer.answer(&first, None).await;
    let latest = crate::translate::translate(&latest, &Default::default(), EDS, &cluster(0)).message.unwrap();
    let mut seen = Vec::new();
    while seen != latest.value {
        let response = peer.next().await;
        seen = response.resources[0].resource.as_ref().unwrap().value.clone();
    }
    rig.all_acknowledged().await;
}
