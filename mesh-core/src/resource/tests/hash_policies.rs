//! Balancers that go by a key of the request.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::route_action::HashPolicy as WirePolicy;
use envoy_types::pb::envoy::config::route::v3::route_action::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, FilterState, Header, PolicySpecifier, QueryParameter,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::ConsistentHashingLbConfig;
use envoy_types::pb::envoy::extensions::load_balancing_policies::maglev::v3::Maglev;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::RingHash;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::ring_hash::HashFunction;
use envoy_types::pb::envoy::extensions::load_balancing_policies::round_robin::v3::RoundRobin;
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::google::protobuf::{self, UInt32Value, UInt64Value};

use super::clusters::{balancers, changed, refused};
use super::*;
use crate::route::{HashCookie, HashKey, HashPolicy, HashTableKind};

fn by(specifier: PolicySpecifier) -> Option<ConsistentHashingLbConfig> {
    let policy = WirePolicy { policy_specifier: Some(specifier), ..WirePolicy::default() };
    Some(ConsistentHashingLbConfig { hash_policy: vec![policy], ..ConsistentHashingLbConfig::default() })
}

fn header(name: &str) -> Header {
    Header { header_name: name.into(), ..Header::default() }
}

fn ring() -> RingHash {
    let consistent_hashing_lb_config = by(PolicySpecifier::Header(header("x-user")));
    RingHash { consistent_hashing_lb_config, ..RingHash::default() }
}

fn maglev() -> Maglev {
    Maglev { consistent_hashing_lb_config: ring().consistent_hashing_lb_config, ..Maglev::default() }
}

fn size(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

#[track_caller]
fn check(config: Any, key: HashKey, table: HashTableKind) {
    let policies = balancers(vec![config, pack_any(RoundRobin::default())]);
    let balancer = changed(|cluster| cluster.load_balancing_policy = policies).balancer.clone();
    let policy = HashPolicy { key, table };
    assert_eq!(balancer, BalancerPolicy::Hash(Arc::new(policy.clone())));
    for weighted in [false, true] {
        let written = balancers(policy.balancers(weighted).into_iter().map(|(_, config)| config).collect());
        let read = changed(|cluster| cluster.load_balancing_policy = written);
        let what = (&read.balancer, read.localities_weighted);
        assert_eq!(what, (&balancer, weighted), "what is written is what is read");
    }
}

#[track_caller]
fn check_key(specifier: PolicySpecifier, key: HashKey) {
    let ring = RingHash { consistent_hashing_lb_config: by(specifier), ..RingHash::default() };
    check(pack_any(ring), key, HashTableKind::Ring { points_min: 1024 });
}

#[track_caller]
fn check_refused_as(config: Any, field: &str) {
    let policies = balancers(vec![config, pack_any(RoundRobin::default())]);
    let field = format!("load_balancing_policy.{field}");
    refused(|cluster| cluster.load_balancing_policy = policies, field.trim_end_matches('.'));
}

#[test]
fn sizes_have_envoys_defaults() {
    let key = || HashKey::header("x-user").expect("a header");
    check(pack_any(ring()), key(), HashTableKind::Ring { points_min: 1024 });
    let of_xx = RingHash { hash_function: HashFunction::XxHash.into(), minimum_ring_size: size(7), ..ring() };
    check(pack_any(of_xx), key(), HashTableKind::Ring { points_min: 7 });
    check(pack_any(maglev()), key(), HashTableKind::Maglev { entries: 65_537 });
    let small = Maglev { table_size: size(251), ..maglev() };
    check(pack_any(small), key(), HashTableKind::Maglev { entries: 251 });
}

#[test]
fn every_kind_of_key_is_read() {
    check_key(
        PolicySpecifier::QueryParameter(QueryParameter { name: "user".into() }),
        HashKey::Query("user".into()),
    );
    check_key(
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }),
        HashKey::SourceAddress,
    );
    let cookie = Cookie {
        name: "uid".into(),
        ttl: Some(protobuf::Duration { seconds: 60, nanos: 0 }),
        path: "/a".into(),
        attributes: vec![CookieAttribute { name: "SameSite".into(), value: "Lax".into() }],
    };
    let expected = HashCookie {
        name: "uid".into(),
        ttl: Some(Duration::from_secs(60)),
        path: "/a".into(),
        attributes: vec![("SameSite".into(), "Lax".into())],
    };
    check_key(PolicySpecifier::Cookie(cookie), HashKey::Cookie(expected));
    let bare = Cookie { name: "uid".into(), ..Cookie::default() };
    let expected = HashCookie { name: "uid".into(), ttl: None, path: "".into(), attributes: Vec::new() };
    check_key(PolicySpecifier::Cookie(bare), HashKey::Cookie(expected));
}

#[test]
fn what_cannot_be_hashed_by_is_refused_by_its_field() {
    let murmur = HashFunction::MurmurHash2.into();
    check_refused_as(pack_any(RingHash { hash_function: murmur, ..ring() }), "hash_function");
    let large = RingHash { minimum_ring_size: size(8 * 1024 * 1024 + 1), ..ring() };
    check_refused_as(pack_any(large), "minimum_ring_size");
    let bounded = RingHash { maximum_ring_size: size(9), ..ring() };
    check_refused_as(pack_any(bounded), "maximum_ring_size");
    for bad in [0, 1, 1000, 5_000_012] {
        check_refused_as(pack_any(Maglev { table_size: size(bad), ..maglev() }), "table_size");
    }
    let config = "consistent_hashing_lb_config";
    check_refused_as(pack_any(RingHash::default()), &format!("{config}.hash_policy"));
    let mut balanced = ring();
    balanced.consistent_hashing_lb_config.as_mut().expect("there").hash_balance_factor =
        Some(UInt32Value { value: 150 });
    check_refused_as(pack_any(balanced), &format!("{config}.hash_balance_factor"));
    let refused_key = |specifier, field: &str| {
        let ring = RingHash { consistent_hashing_lb_config: by(specifier), ..RingHash::default() };
        check_refused_as(pack_any(ring), &format!("{config}.hash_policy[0].{field}"));
    };
    refused_key(PolicySpecifier::Header(header(":path")), "header.header_name");
    let rewritten = Header { regex_rewrite: Some(RegexMatchAndSubstitute::default()), ..header("x-user") };
    refused_key(PolicySpecifier::Header(rewritten), "header.regex_rewrite");
    refused_key(PolicySpecifier::Cookie(Cookie { name: "a;b".into(), ..Cookie::default() }), "cookie");
    let negative = Some(protobuf::Duration { seconds: -1, nanos: 0 });
    let early = Cookie { name: "uid".into(), ttl: negative, ..Cookie::default() };
    refused_key(PolicySpecifier::Cookie(early), "cookie.ttl");
    refused_key(PolicySpecifier::QueryParameter(QueryParameter::default()), "query_parameter.name");
    refused_key(PolicySpecifier::ConnectionProperties(ConnectionProperties::default()), "");
    refused_key(PolicySpecifier::FilterState(FilterState::default()), "");
}
