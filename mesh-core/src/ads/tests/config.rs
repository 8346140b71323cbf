//! What the configuration makes of responses, without a stream.

use std::collections::BTreeSet;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::Any;

use super::wire::{self, Resource};
use crate::ads::Config;
use crate::resource::ResourceType;
use crate::snapshot::Snapshot;

fn names(names: &[&str]) -> BTreeSet<Arc<str>> {
    names.iter().map(|name| Arc::from(*name)).collect()
}

fn response(resources: impl IntoIterator<Item = Resource>) -> discovery::DeltaDiscoveryResponse {
    let mut response = discovery::DeltaDiscoveryResponse { nonce: "1".into(), ..Default::default() };
    for (kind, name, version, value) in resources {
        response.type_url = kind.url().into();
        let resource = Some(Any { type_url: kind.url().into(), value });
        response.resources.push(discovery::Resource { name, version, resource, ..Default::default() });
    }
    response
}

fn give(config: &mut Config, resource: Resource) -> Option<Snapshot> {
    config.received(response([resource]))
}

fn errors(config: &mut Config) -> Vec<String> {
    std::iter::from_fn(|| config.next_request()).filter_map(|request| request.error).collect()
}

fn wanting(hosts: &[&str], inbound: &[&str]) -> Config {
    let mut config = Config::default();
    config.want(names(hosts), names(inbound));
    assert!(errors(&mut config).is_empty());
    config
}

#[test]
fn a_resource_must_be_what_was_asked_for() {
    fn check(mut config: Config, resource: Resource, expected: &str) {
        assert!(give(&mut config, resource).is_none());
        let errors = errors(&mut config);
        assert!(errors.len() == 1 && errors[0].contains(expected), "{errors:?}");
    }
    let (kind, _, version, body) = wire::listener("a");
    check(wanting(&["b:80"], &[]), (kind, "b:80".into(), version.clone(), body.clone()), "name: is `a:80`");
    check(
        wanting(&[], &["a:80"]),
        (kind, "a:80".into(), version.clone(), body),
        "api_listener: is for clients",
    );
    check(wanting(&["a:80"], &[]), (kind, "a:80".into(), version, b"\xff".to_vec()), "listener");
}

#[test]
fn what_was_refused_is_missing_with_the_reason() {
    let mut config = wanting(&["a:80"], &[]);
    let [listener, routes, cluster, _] = wire::host("a", 1);
    for resource in [listener, routes, cluster, wire::endpoints("a", 0)] {
        assert!(give(&mut config, resource).is_none());
    }
    let missing = config.missing("a:80").join(", ");
    assert!(missing.starts_with("endpoints `a` (refused: ") && missing.contains("weight"), "{missing}");
    assert!(give(&mut config, wire::endpoints("a", 1)).is_some());
    assert!(config.missing("a:80").is_empty());
}

#[test]
fn what_is_unasked_for_or_comes_too_late_is_passed_over() {
    let mut config = wanting(&["a:80"], &[]);
    assert!(give(&mut config, wire::endpoints("a", 1)).is_none());
    config.want(names(&[]), names(&[]));
    assert!(give(&mut config, wire::listener("a")).is_none());
    assert!(errors(&mut config).is_empty());
    let foreign = discovery::DeltaDiscoveryResponse { type_url: "x".into(), ..Default::default() };
    assert!(config.received(foreign).is_none());
}

#[test]
fn saved_and_restored_it_is_the_same_and_asks_for_what_it_lacks_only() {
    let mut config = wanting(&["a:80", "gone:80"], &[]);
    for resource in wire::host("a", 1) {
        give(&mut config, resource);
    }
    let gone = discovery::DeltaDiscoveryResponse {
        type_url: ResourceType::Listener.url().into(),
        removed_resources: vec!["gone:80".into()],
        ..Default::default()
    };
    config.received(gone);
    let saved = config.take_unsaved().unwrap();
    assert!(config.take_unsaved().is_none());
    let (mut restored, snapshot) = Config::restore(saved.clone()).unwrap();
    assert_eq!(snapshot.hosts.len(), 2);
    assert!(!restored.is_unsaved());
    let versions: usize =
        std::iter::from_fn(|| restored.next_request()).map(|request| request.initial_versions.len()).sum();
    assert_eq!(versions, 4);
    let mut spoiled = saved;
    spoiled.resources[0].body = bytes::Bytes::from_static(b"\xff");
    assert!(Config::restore(spoiled).is_err());
}
