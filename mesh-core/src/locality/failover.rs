//! Priorities by nearness and by labels.

use super::place::NETWORK;
use super::{Candidate, Failover, LocalitySetting, Place, Standing, compact};

/// The endpoints by labels, by nearness, or by nearness among those of equal labels.
pub(super) fn standings(
    setting: &LocalitySetting,
    caller: Place<'_>,
    endpoints: &[Candidate<'_>],
) -> Vec<Option<Standing>> {
    let by_labels = !setting.failover_priority.is_empty();
    let by_nearness = !by_labels || !setting.failover.is_empty();
    let tier = |endpoint: &Candidate<'_>| {
        let labels =
            if by_labels { unlike(&setting.failover_priority, caller, endpoint.place) } else { (0, 0) };
        (labels, if by_nearness { distance(&setting.failover, caller, endpoint.place) } else { 0 })
    };
    let priorities = compact(&endpoints.iter().map(tier).collect::<Vec<_>>());
    priorities.into_iter().map(|priority| Some(Standing { priority, locality_weight: None })).collect()
}

/// 0 for the same subzone, 1 zone, 2 region, 3 the region that stands in, 4 the rest, among it whoever is nobody knows where. To
/// a caller of whom that is not known all are alike.
pub(super) fn distance(failover: &[Failover], caller: Place<'_>, endpoint: Place<'_>) -> u32 {
    let region = caller.parts()[0];
    match caller.distance(&endpoint) {
        _ if region.is_empty() => 0,
        _ if endpoint.parts()[0].is_empty() => 4,
        3 => {
            let named = failover.iter().find(|rule| rule.from == region);
            if named.is_none_or(|rule| rule.to == endpoint.parts()[0]) { 3 } else { 4 }
        }
        near => near,
    }
}

/// From which label on the two are unlike, the less the later. A label counts only while those before it are alike, save that
/// of the network where it is the first: endpoints of another network are then a second row of their own.
pub(super) fn unlike(keys: &[String], caller: Place<'_>, endpoint: Place<'_>) -> (u32, usize) {
    // Nothing is like a caller of whom nothing is known.
    let unknown = caller.labels.is_empty() && caller.locality.is_none();
    let alike = |key: &String| match key.split_once('=') {
        Some((key, value)) => endpoint.label(key) == value,
        None => unknown || endpoint.label(key) == caller.label(key),
    };
    let (network, others) = match keys.split_first() {
        Some((first, others)) if first.split('=').next() == Some(NETWORK) => {
            (u32::from(!alike(first)), others)
        }
        _ => (0, keys),
    };
    let first_unlike = others.iter().position(|key| !alike(key));
    (network, first_unlike.map_or(0, |at| others.len() - at))
}
