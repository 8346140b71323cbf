//! The balancers that go by a key of the request, with the key beside them: each cluster says its own, so that destinations of
//! one route may differ in it. What is written and what is read stand here together.

use std::mem::take;
use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::route_action;
use envoy_types::pb::envoy::config::route::v3::route_action::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::ConsistentHashingLbConfig;
use envoy_types::pb::envoy::extensions::load_balancing_policies::maglev::v3::Maglev;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::RingHash;
use envoy_types::pb::envoy::extensions::load_balancing_policies::ring_hash::v3::ring_hash::HashFunction;
use envoy_types::pb::google::protobuf::{self, Any, UInt64Value};
use prost::Name;

use super::invalid::{Inside, Invalid, duration, holds, nothing_else, unpack};
use super::locality_weights;
use crate::route::{HashCookie, HashKey, HashPolicy, HashTableKind};

/// The policy, if the balancer is one of these, and whether it weights localities.
pub(super) fn parse(config: &Any) -> Result<Option<(HashPolicy, bool)>, Invalid> {
    if holds::<RingHash>(config) {
        return ring_hash(unpack(config)?).map(Some);
    }
    if holds::<Maglev>(config) {
        return maglev(unpack(config)?).map(Some);
    }
    Ok(None)
}

impl HashPolicy {
    /// The balancers of the policy by preference, with their names: who has no Maglev may have a ring. They weight localities, or
    /// endpoints alone.
    pub fn balancers(&self, localities_weighted: bool) -> Vec<(&'static str, Any)> {
        let locality_weighted_lb_config = locality_weights::of_hashed(localities_weighted);
        let config = Some(ConsistentHashingLbConfig {
            hash_policy: vec![self.key.on_a_route()],
            ..ConsistentHashingLbConfig::default()
        });
        let mut balancers = Vec::new();
        let mut minimum_ring_size = None;
        match self.table {
            HashTableKind::Ring { points_min } => minimum_ring_size = Some(u64::from(points_min)),
            HashTableKind::Maglev { entries } => {
                let table_size = Some(UInt64Value { value: entries.into() });
                let consistent_hashing_lb_config = config.clone();
                let maglev = Maglev { table_size, consistent_hashing_lb_config, locality_weighted_lb_config };
                balancers.push(("envoy.load_balancing_policies.maglev", pack(&maglev)));
            }
        }
        let ring = RingHash {
            // The one that gRPC has.
            hash_function: HashFunction::XxHash.into(),
            minimum_ring_size: minimum_ring_size.map(|value| UInt64Value { value }),
            consistent_hashing_lb_config: config,
            locality_weighted_lb_config,
            ..RingHash::default()
        };
        balancers.push(("envoy.load_balancing_policies.ring_hash", pack(&ring)));
        balancers
    }
}

impl HashKey {
    /// The same for clients that look for it on their routes.
    pub fn on_a_route(&self) -> route_action::HashPolicy {
        let specifier = match self {
            Self::Header(name) => {
                PolicySpecifier::Header(Header { header_name: name.to_string(), ..Header::default() })
            }
            Self::Cookie(cookie) => PolicySpecifier::Cookie(on_the_wire(cookie)),
            Self::Query(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() }),
            Self::SourceAddress => {
                PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
            }
        };
        route_action::HashPolicy { policy_specifier: Some(specifier), ..Default::default() }
    }
}

fn on_the_wire(cookie: &HashCookie) -> Cookie {
    let attribute = |(name, value): &(Box<str>, Box<str>)| CookieAttribute {
        name: name.to_string(),
        value: value.to_string(),
    };
    let ttl = |ttl: Duration| protobuf::Duration {
        seconds: ttl.as_secs().try_into().unwrap_or(i64::MAX),
        nanos: ttl.subsec_nanos().cast_signed(),
    };
    Cookie {
        name: cookie.name.to_string(),
        ttl: cookie.ttl.map(ttl),
        path: cookie.path.to_string(),
        attributes: cookie.attributes.iter().map(attribute).collect(),
    }
}

fn pack<M: Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn ring_hash(mut wire: RingHash) -> Result<(HashPolicy, bool), Invalid> {
    // The function is our own for either; a third one would be somebody's wish for that one.
    match HashFunction::try_from(take(&mut wire.hash_function)) {
        Ok(HashFunction::DefaultHash | HashFunction::XxHash) => {}
        _ => return Err(Invalid::new("hash_function", "is not supported by this mesh")),
    }
    let points_min =
        size("minimum_ring_size", take(&mut wire.minimum_ring_size), RING_POINTS, RING_POINTS_MAX)?;
    let key = key(take(&mut wire.consistent_hashing_lb_config)).inside(CONFIG)?;
    let weighted = wire.locality_weighted_lb_config.take().is_some();
    nothing_else(&wire)?;
    Ok((HashPolicy { key, table: HashTableKind::Ring { points_min } }, weighted))
}

fn maglev(mut wire: Maglev) -> Result<(HashPolicy, bool), Invalid> {
    let entries = size("table_size", take(&mut wire.table_size), MAGLEV_ENTRIES, MAGLEV_ENTRIES_MAX)?;
    let divisors = (2..).take_while(|divisor| divisor * divisor <= entries);
    if entries < 2 || divisors.into_iter().any(|divisor| entries.is_multiple_of(divisor)) {
        return Err(Invalid::new("table_size", "is not a prime"));
    }
    let key = key(take(&mut wire.consistent_hashing_lb_config)).inside(CONFIG)?;
    let weighted = wire.locality_weighted_lb_config.take().is_some();
    nothing_else(&wire)?;
    Ok((HashPolicy { key, table: HashTableKind::Maglev { entries } }, weighted))
}

fn size(field: &str, wire: Option<UInt64Value>, default: u32, max: u32) -> Result<u32, Invalid> {
    let size = wire.map_or(u64::from(default), |size| size.value);
    let within = u32::try_from(size).ok().filter(|size| *size <= max);
    within.ok_or_else(|| Invalid::new(field, format!("is more than {max}")))
}

fn key(wire: Option<ConsistentHashingLbConfig>) -> Result<HashKey, Invalid> {
    let mut wire = wire.unwrap_or_default();
    let Ok([policy]) = <[_; 1]>::try_from(take(&mut wire.hash_policy)) else {
        return Err(Invalid::new("hash_policy", "is not one policy"));
    };
    nothing_else(&wire)?;
    one_key(policy).inside("hash_policy[0]")
}

fn one_key(mut wire: route_action::HashPolicy) -> Result<HashKey, Invalid> {
    // Says what becomes of those after it, and there are none.
    wire.terminal = false;
    let key = match take(&mut wire.policy_specifier) {
        Some(PolicySpecifier::Header(mut header)) => {
            let key = HashKey::header(&take(&mut header.header_name));
            nothing_else(&header).inside("header")?;
            key.map_err(|error| Invalid::new("header.header_name", error))?
        }
        Some(PolicySpecifier::Cookie(wire)) => cookie(wire).inside("cookie")?,
        Some(PolicySpecifier::QueryParameter(parameter)) => {
            HashKey::query(&parameter.name).map_err(|error| Invalid::new("query_parameter.name", error))?
        }
        Some(PolicySpecifier::ConnectionProperties(of)) if of.source_ip => HashKey::SourceAddress,
        Some(other) => return Err(Invalid::unsupported(&other)),
        None => return Err(Invalid::new("policy_specifier", "is missing")),
    };
    nothing_else(&wire)?;
    Ok(key)
}

fn cookie(wire: Cookie) -> Result<HashKey, Invalid> {
    let cookie = HashCookie {
        name: wire.name.into(),
        ttl: wire.ttl.map(|ttl| duration("ttl", ttl)).transpose()?,
        path: wire.path.into(),
        attributes: wire.attributes.into_iter().map(|one| (one.name.into(), one.value.into())).collect(),
    };
    HashKey::cookie(cookie).map_err(|error| Invalid::new("", error))
}

const CONFIG: &str = "consistent_hashing_lb_config";
/// Envoy's defaults and upper bounds.
const RING_POINTS: u32 = 1024;
const RING_POINTS_MAX: u32 = 8 * 1024 * 1024;
const MAGLEV_ENTRIES: u32 = 65_537;
const MAGLEV_ENTRIES_MAX: u32 = 5_000_011;
