//! What a change costs: only what changed is made and sent, once for all who cannot tell the difference.

use super::rig::{CDS, EDS, Rig, Services, cluster};

#[tokio::test]
async fn one_endpoint_of_a_thousand_clusters_is_one_resource_to_those_subscribed() {
    const COUNT: usize = 1000;
    let services = Services::new(COUNT);
    let rig = Rig::start(services.world(&[])).await;
    let (mut all, mut others) = (rig.delta().await, rig.delta().await);
    for kind in [CDS, EDS] {
        all.subscribe(kind, (0..COUNT).map(cluster)).await;
        assert_eq!(all.collect(COUNT).await.len(), COUNT);
        others.subscribe(kind, (0..COUNT).filter(|number| *number != 7).map(cluster)).await;
        others.collect(COUNT - 1).await;
    }
    rig.all_acknowledged().await;
    let before = rig.hub.counts();
    assert_eq!(before.translations, 2 * COUNT as u64, "the second client takes what was made for the first");

    rig.hub.publish(services.world(&[7]));
    let response = all.next().await;
    let names: Vec<&str> = response.resources.iter().map(|resource| &*resource.name).collect();
    assert_eq!((names, &*response.type_url), (vec![&*cluster(7)], EDS.url()));
    rig.all_acknowledged().await;
    let after = rig.hub.counts();
    assert_eq!(after.resources - before.resources, 1);
    assert_eq!(after.answers - before.answers, 1);
    assert_eq!(after.translations - before.translations, 2, "its endpoints, and its cluster's identities");
    assert_eq!(after.lookups - before.lookups, 2, "nobody else looked");
}

#[tokio::test]
async fn new_documents_send_only_what_reads_differently() {
    let services = Services::new(3);
    let rig = Rig::start(services.world(&[])).await;
    let mut peer = rig.delta().await;
    for kind in [CDS, EDS] {
        peer.subscribe(kind, (0..3).map(cluster)).await;
        peer.collect(3).await;
    }
    rig.all_acknowledged().await;
    let before = rig.hub.counts();
    let changed = services.with_documents(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: s1, namespace: default}\n\
         spec: {host: s1, trafficPolicy: {loadBalancer: {simple: RANDOM}}}\n",
    );
    rig.hub.publish(changed.world(&[]));
    assert_eq!(peer.next().await.resources[0].name, cluster(1));
    rig.all_acknowledged().await;
    assert_eq!(rig.hub.counts().resources - before.resources, 1);
}

#[tokio::test]
async fn what_nobody_subscribes_to_any_more_is_forgotten() {
    let services = Services::new(1);
    let rig = Rig::start(services.world(&[])).await;
    for round in 1..=2 {
        let mut peer = rig.delta().await;
        peer.subscribe(EDS, [cluster(0)]).await;
        peer.collect(1).await;
        assert_eq!(rig.hub.counts().translations, round);
        drop(peer);
        rig.until(|statuses| statuses.is_empty()).await;
    }
}
