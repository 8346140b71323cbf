//! Which endpoints go before others: `localityLbSetting` and `zoneAwareLbSetting`, of a rule and of the whole mesh, and a Service's
//! `trafficDistribution`.

use mesh_core::locality::{
    Distribute, Failover, LocalitySetting, NETWORK, Preference, REGION, SUBZONE, ZONE, ZoneAwareSetting,
};

use super::scalar::unsigned;
use super::{Fields, Value, boolean, integer, object, some_text};

/// What the object says; of both settings, which exclude each other in a rule, the zones' counts.
pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Option<Preference> {
    let locality = fields.optional("localityLbSetting", object(locality)).map(Preference::Locality);
    fields.optional("zoneAwareLbSetting", object(zone_aware)).map(Preference::ZoneAware).or(locality)
}

/// What `trafficDistribution` says, in the words of the setting; `Any` and what nobody knows say nothing.
pub fn traffic_distribution(word: &str) -> Option<Preference> {
    let labels: &[&str] = match word {
        "PreferClose" | "PreferSameZone" => &[NETWORK, REGION, ZONE],
        "PreferSameNode" => &[NETWORK, REGION, ZONE, SUBZONE, "kubernetes.io/hostname"],
        _ => return None,
    };
    let failover_priority = labels.iter().map(ToString::to_string).collect();
    Some(Preference::Locality(LocalitySetting { failover_priority, ..LocalitySetting::default() }))
}

fn locality(fields: &mut Fields<'_, '_>) -> LocalitySetting {
    fields.at_most_one(&["distribute", "failover"]);
    let distribute = fields.list("distribute", object(distribute));
    overlapping_sources(fields, &distribute);
    let (failover, failover_priority) = failover(fields);
    let enabled = fields.optional("enabled", boolean).unwrap_or(true);
    LocalitySetting { enabled, distribute, failover, failover_priority }
}

fn zone_aware(fields: &mut Fields<'_, '_>) -> ZoneAwareSetting {
    let default = ZoneAwareSetting::default();
    let enabled = fields.optional("enabled", boolean).unwrap_or(default.enabled);
    let (failover, failover_priority) = failover(fields);
    let endpoints_min = fields.optional("minClusterSize", unsigned).unwrap_or(default.endpoints_min);
    ZoneAwareSetting { enabled, failover, failover_priority, endpoints_min }
}

fn failover(fields: &mut Fields<'_, '_>) -> (Vec<Failover>, Vec<String>) {
    let regions = fields.list("failover", |value| {
        value.object(|fields| {
            let from = fields.required("from", region);
            let to = fields.required("to", region);
            if !from.is_empty() && from == to {
                fields.invalid("to", "is the region that failed", "name another region");
            }
            Failover { from, to }
        })
    });
    let labels = fields.list("failoverPriority", some_text);
    let topology = [REGION, ZONE, SUBZONE];
    let named = labels.iter().any(|label| topology.iter().any(|key| label.split('=').next() == Some(key)));
    if !regions.is_empty() && named {
        fields.conflict(
            "failoverPriority",
            "names a locality while `failover` says where to go",
            "keep one of the two",
        );
    }
    (regions, labels)
}

fn region(mut value: Value<'_, '_>) -> String {
    let region = some_text(value.reborrow());
    if region.contains(['/', '*']) {
        value.invalid("fails over by region alone", "write the region's name");
    }
    region
}

/// One `from` and the shares of where its requests go.
fn distribute(fields: &mut Fields<'_, '_>) -> Distribute {
    let from = fields.required("from", locality_name);
    let to = fields.required("to", |mut value| {
        let shares: Vec<_> = value.reborrow().entries(|key, mut value| {
            check_locality(&mut value, key);
            u32::try_from(integer(1, 100)(value)).unwrap_or_default()
        });
        let total: u32 = shares.iter().map(|(_, share)| share).sum();
        if value.node.is_some() && total != 100 {
            value.invalid(format!("the shares' sum is {total}"), "make the sum 100");
        }
        shares
    });
    Distribute { from, to }
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

fn overlapping_sources(fields: &mut Fields<'_, '_>, rules: &[Distribute]) {
    let sources: Vec<&String> = rules.iter().map(|rule| &rule.from).collect();
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
