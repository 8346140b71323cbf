//! How an endpoint is chosen. The simple balancers, consistent hashing and localities are honoured; warming up is read for its
//! errors and refused by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::locality::Preference;
use mesh_core::resource::BalancerPolicy;
use mesh_core::route::{HashCookie, HashKey, HashPolicy, HashTableKind, NotAHashKey};

use super::super::fields::Fields;
use super::super::finding::Code;
use super::super::preference;
use super::super::scalar::{boolean, choice, duration, duration_or_zero, integer, number, some_text, text};
use super::super::value::{Value, object};

/// How an endpoint is chosen; what a block leaves unsaid is the default, whatever another block says of it.
#[derive(Clone, Debug, Default)]
pub struct LoadBalancer {
    /// The balancer, if one is named.
    pub balancer: Option<BalancerPolicy>,
    /// Which endpoints go before others.
    pub preference: Option<Preference>,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> LoadBalancer {
    fields.at_most_one(&["simple", "consistentHash"]);
    fields.at_most_one(&["localityLbSetting", "zoneAwareLbSetting"]);
    let simple = fields.optional("simple", simple);
    let hash = fields.optional("consistentHash", object(consistent_hash));
    let preference = preference::decode(fields);
    fields.unsupported("warmup", object(warmup));
    fields.deprecated("warmupDurationSecs", "`warmup.duration`");
    fields.unsupported("warmupDurationSecs", duration);
    for warming in ["warmup", "warmupDurationSecs"] {
        if fields.has(warming) && (matches!(simple, Some(BalancerPolicy::Random)) || hash.is_some()) {
            fields.suspicious(
                warming,
                "acts with ROUND_ROBIN or LEAST_REQUEST only",
                "change the balancer, or remove the field",
            );
        }
    }
    LoadBalancer { balancer: hash.or(simple), preference }
}

fn simple(mut value: Value<'_, '_>) -> BalancerPolicy {
    if let Some(written) = value.written() {
        if written == "LEAST_CONN" {
            value.note(Code::Deprecated, "LEAST_CONN is LEAST_REQUEST's old name", "write LEAST_REQUEST");
        } else if written == "PASSTHROUGH" {
            let message =
                "PASSTHROUGH sends to the address that the caller resolved, which this mesh does not do";
            value.note(Code::UnsupportedField, message, "name a balancer, or remove the field");
        }
    }
    choice(&[
        ("UNSPECIFIED", 0, BalancerPolicy::LeastRequest),
        ("LEAST_CONN", 1, BalancerPolicy::LeastRequest),
        ("RANDOM", 2, BalancerPolicy::Random),
        ("PASSTHROUGH", 3, BalancerPolicy::LeastRequest),
        ("ROUND_ROBIN", 4, BalancerPolicy::RoundRobin),
        ("LEAST_REQUEST", 5, BalancerPolicy::LeastRequest),
    ])(value)
}

fn consistent_hash(fields: &mut Fields<'_, '_>) -> BalancerPolicy {
    fields.at_most_one(&["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"]);
    fields.at_most_one(&["ringHash", "maglev", "minimumRingSize"]);
    let header = fields.optional("httpHeaderName", |value| named(value, HashKey::header));
    let cookie = fields.optional("httpCookie", |value| {
        key(value, |value| Some(object(cookie)(value)).filter(|one| !one.name.is_empty()), HashKey::cookie)
    });
    let source = fields.or_default("useSourceIp", boolean).then_some(HashKey::SourceAddress);
    let query = fields.optional("httpQueryParameterName", |value| named(value, HashKey::query));
    fields.deprecated("minimumRingSize", "`ringHash.minimumRingSize`");
    let older = fields.optional("minimumRingSize", ring_points);
    let ring = |fields: &mut Fields<'_, '_>| fields.optional("minimumRingSize", ring_points);
    let ring = fields.optional("ringHash", object(ring)).flatten().or(older).filter(|points| *points > 0);
    let maglev = |fields: &mut Fields<'_, '_>| fields.optional("tableSize", table_size);
    let table = match fields.optional("maglev", object(maglev)) {
        Some(entries) => HashTableKind::Maglev { entries: entries.unwrap_or(MAGLEV_ENTRIES) },
        None => HashTableKind::Ring { points_min: ring.unwrap_or(RING_POINTS) },
    };
    let Some(key) = header.or(cookie).or(query).map_or(source, |key| key) else {
        if !["httpHeaderName", "httpCookie", "httpQueryParameterName"].iter().any(|key| fields.has(key)) {
            fields.suspicious("", "names no key, so that endpoints are drawn", "name one");
        }
        return BalancerPolicy::Random;
    };
    BalancerPolicy::Hash(Arc::new(HashPolicy { key, table }))
}

fn named(value: Value<'_, '_>, make: fn(&str) -> Result<HashKey, NotAHashKey>) -> Option<HashKey> {
    key(value, |value| Some(some_text(value)).filter(|name| !name.is_empty()), |name| make(&name))
}

/// The key that a value is, where what is read of it has a name: a missing one is told of already.
fn key<'n, T>(
    mut value: Value<'_, 'n>,
    read: impl Fn(Value<'_, 'n>) -> Option<T>,
    make: impl Fn(T) -> Result<HashKey, NotAHashKey>,
) -> Option<HashKey> {
    let made = make(read(value.reborrow())?);
    made.map_err(|error| value.invalid(error.to_string(), "write another one")).ok()
}

fn ring_points(value: Value<'_, '_>) -> u32 {
    u32::try_from(integer(0, RING_POINTS_MAX)(value)).unwrap_or_default()
}

fn table_size(mut value: Value<'_, '_>) -> u32 {
    let size = integer(1, MAGLEV_ENTRIES_MAX)(value.reborrow());
    let prime =
        size > 1 && (2..).take_while(|divisor| divisor * divisor <= size).all(|divisor| size % divisor != 0);
    if !prime && value.node.is_some() {
        value.invalid(format!("{size} is not a prime"), "write a prime, such as 65537");
    }
    size.try_into().unwrap_or_default()
}

fn cookie(fields: &mut Fields<'_, '_>) -> HashCookie {
    let cookie = HashCookie {
        name: fields.required("name", some_text).into(),
        path: fields.or_default("path", text).into(),
        ttl: fields.optional("ttl", duration_or_zero),
        attributes: fields.list("attributes", |value| {
            value.object(|fields| {
                let name = fields.required("name", some_text);
                (name.into(), fields.or_default("value", text).into())
            })
        }),
    };
    let unique: BTreeSet<_> = cookie.attributes.iter().map(|(name, _)| name).collect();
    if unique.len() < cookie.attributes.len() {
        fields.note(Code::Duplicate, "attributes", "names an attribute twice", "keep one");
    }
    cookie
}

fn warmup(fields: &mut Fields<'_, '_>) {
    fields.required("duration", duration);
    fields.optional("minimumPercent", number(0.0, 100.0));
    fields.optional("aggression", number(1.0, f64::MAX));
}

/// Istio's defaults.
const RING_POINTS: u32 = 1024;
const MAGLEV_ENTRIES: u32 = 65_537;
/// Envoy's upper bounds, kept so that a document means the same there.
const RING_POINTS_MAX: i64 = 8 * 1024 * 1024;
const MAGLEV_ENTRIES_MAX: i64 = 5_000_011;
