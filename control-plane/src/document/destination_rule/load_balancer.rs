//! How an endpoint is chosen. The simple balancers are honoured; stickiness, locality and warming up are read for their
//! errors and refused by name.

use std::collections::BTreeSet;

use super::super::fields::Fields;
use super::super::finding::Code;
use super::super::scalar::{
    boolean, choice, duration, duration_or_zero, integer, number, some_text, text, unsigned,
};
use super::super::value::{Value, object};

/// A balancer without further settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SimpleBalancer {
    /// The less busy of two drawn at random.
    #[default]
    LeastRequest,
    /// Each in turn.
    RoundRobin,
    /// Drawn at random.
    Random,
}

/// The simple balancer, if one is named.
pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Option<SimpleBalancer> {
    fields.at_most_one(&["simple", "consistentHash"]);
    fields.at_most_one(&["localityLbSetting", "zoneAwareLbSetting"]);
    let simple = fields.optional("simple", simple);
    fields.unsupported("consistentHash", object(consistent_hash));
    fields.unsupported("localityLbSetting", object(locality));
    fields.unsupported("zoneAwareLbSetting", object(zone_aware));
    fields.unsupported("warmup", object(warmup));
    fields.deprecated("warmupDurationSecs", "`warmup.duration`");
    fields.unsupported("warmupDurationSecs", duration);
    for warming in ["warmup", "warmupDurationSecs"] {
        let balances =
            matches!(simple, None | Some(SimpleBalancer::RoundRobin | SimpleBalancer::LeastRequest));
        if fields.has(warming) && (!balances || fields.has("consistentHash")) {
            fields.suspicious(
                warming,
                "acts with ROUND_ROBIN or LEAST_REQUEST only",
                "change the balancer, or remove the field",
            );
        }
    }
    simple
}

fn simple(mut value: Value<'_, '_>) -> SimpleBalancer {
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
        ("UNSPECIFIED", 0, SimpleBalancer::LeastRequest),
        ("LEAST_CONN", 1, SimpleBalancer::LeastRequest),
        ("RANDOM", 2, SimpleBalancer::Random),
        ("PASSTHROUGH", 3, SimpleBalancer::LeastRequest),
        ("ROUND_ROBIN", 4, SimpleBalancer::RoundRobin),
        ("LEAST_REQUEST", 5, SimpleBalancer::LeastRequest),
    ])(value)
}

fn consistent_hash(fields: &mut Fields<'_, '_>) {
    fields.at_most_one(&["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"]);
    fields.at_most_one(&["ringHash", "maglev", "minimumRingSize"]);
    fields.optional("httpHeaderName", some_text);
    fields.optional("httpCookie", object(cookie));
    fields.optional("useSourceIp", boolean);
    fields.optional("httpQueryParameterName", some_text);
    fields.deprecated("minimumRingSize", "`ringHash.minimumRingSize`");
    fields.optional("minimumRingSize", unsigned);
    fields.optional("ringHash", object(|fields| fields.optional("minimumRingSize", unsigned)));
    fields.optional("maglev", object(|fields| fields.required("tableSize", table_size)));
}

fn table_size(mut value: Value<'_, '_>) {
    let size = integer(1, MAGLEV_ENTRIES_MAX)(value.reborrow());
    let prime =
        size > 1 && (2..).take_while(|divisor| divisor * divisor <= size).all(|divisor| size % divisor != 0);
    if !prime && value.node.is_some() {
        value.invalid(format!("{size} is not a prime"), "write a prime, such as 65537");
    }
}

fn cookie(fields: &mut Fields<'_, '_>) {
    fields.required("name", some_text);
    fields.optional("path", text);
    fields.optional("ttl", duration_or_zero);
    let names = fields.list("attributes", |value| {
        value.object(|fields| {
            let name = fields.required("name", some_text);
            fields.optional("value", text);
            name
        })
    });
    let unique: BTreeSet<&String> = names.iter().collect();
    if unique.len() < names.len() {
        fields.note(Code::Duplicate, "attributes", "names an attribute twice", "keep one");
    }
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

/// Envoy's upper bound, kept so that a document means the same there.
const MAGLEV_ENTRIES_MAX: i64 = 5_000_011;
