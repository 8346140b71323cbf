//! How an endpoint is chosen. The simple balancers and consistent hashing are honoured; locality and warming up are read for
//! their errors and refused by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use mesh_core::resource::BalancerPolicy;
use mesh_core::route::{HashCookie, HashKey, HashPolicy, HashTableKind, NotAHashKey};

use super::super::fields::Fields;
use super::super::finding::Code;
use super::super::scalar::{
    boolean, choice, duration, duration_or_zero, integer, number, some_text, text, unsigned,
};
use super::super::value::{Value, object};

/// The balancer, if one is named.
pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Option<BalancerPolicy> {
    fields.at_most_one(&["simple", "consistentHash"]);
    fields.at_most_one(&["localityLbSetting", "zoneAwareLbSetting"]);
    let simple = fields.optional("simple", simple);
    let hash = fields.optional("consistentHash", object(consistent_hash));
    fields.unsupported("localityLbSetting", object(locality));
    fields.unsupported("zoneAwareLbSetting", object(zone_aware));
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
    hash.or(simple)
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

fn locality(fields: &mut Fields<'_, '_>) {
    fields.at_most_one(&["distribute", "failover"]);
    let sources = fields.list("distribute", object(distribute));
    overlapping_sources(fields, &sources);
    failover(fields);
    fields.optional("enabled", boolean);
}

fn zone_aware(fields: &mut Fields<'_, '_>) {
    fields.optional("enabled", boolean);
    failover(fields);
    fields.optional("minClusterSize", unsigned);
}

fn failover(fields: &mut Fields<'_, '_>) {
    let regions = fields.list("failover", |value| {
        value.object(|fields| {
            let from = fields.required("from", region);
            let to = fields.required("to", region);
            if !from.is_empty() && from == to {
                fields.invalid("to", "is the region that failed", "name another region");
            }
        })
    });
    let labels = fields.list("failoverPriority", some_text);
    let topology =
        ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"];
    let named = labels.iter().any(|label| topology.iter().any(|key| label.split('=').next() == Some(key)));
    if !regions.is_empty() && named {
        fields.conflict(
            "failoverPriority",
            "names a locality while `failover` says where to go",
            "keep one of the two",
        );
    }
}

fn region(mut value: Value<'_, '_>) -> String {
    let region = some_text(value.reborrow());
    if region.contains(['/', '*']) {
        value.invalid("fails over by region alone", "write the region's name");
    }
    region
}

/// One `from` and the shares of where its requests go.
fn distribute(fields: &mut Fields<'_, '_>) -> String {
    let from = fields.required("from", locality_name);
    fields.required("to", |mut value| {
        let shares: Vec<_> = value.reborrow().entries(|key, mut value| {
            check_locality(&mut value, key);
            integer(1, 100)(value)
        });
        let total: i64 = shares.iter().map(|(_, share)| share).sum();
        if value.node.is_some() && total != 100 {
            value.invalid(format!("the shares' sum is {total}"), "make the sum 100");
        }
    });
    from
}

fn locality_name(mut value: Value<'_, '_>) -> String {
    let name = some_text(value.reborrow());
    check_locality(&mut value, &name);
    name
}

/// `region/zone/subzone`, of which the last may be `*`.
fn check_locality(value: &mut Value<'_, '_>, name: &str) {
    let parts: Vec<&str> = name.split('/').collect();
    let star = parts.iter().position(|part| *part == "*");
    let bad = parts.len() > 3
        || parts.iter().any(|part| part.is_empty())
        || star.is_some_and(|star| star + 1 < parts.len());
    if value.node.is_some() && !name.is_empty() && bad {
        value.invalid("is not `region/zone/subzone`", "a `*` may only end it");
    }
}

fn overlapping_sources(fields: &mut Fields<'_, '_>, sources: &[String]) {
    let covers = |pattern: &str, name: &str| {
        let stem = pattern.trim_end_matches('*').trim_end_matches('/');
        stem.is_empty() || name == stem || name.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/'))
    };
    for (index, source) in sources.iter().enumerate() {
        if sources[..index].iter().any(|earlier| covers(earlier, source) || covers(source, earlier)) {
            fields.conflict(
                "distribute",
                format!("`{source}` is distributed twice"),
                "keep one entry for it",
            );
        }
    }
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
