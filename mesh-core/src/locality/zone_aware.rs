//! The caller's zone, as far as it can bear its callers.
//!
//! The algorithm is Envoy's (zone aware routing), which compares the caller's zone's share of the endpoints with its share of the
//! callers. How callers are spread is not known here, so that they count as evenly spread over the zones of the region.
//!
//! ```text
//!   zone has its share of the endpoints  ─► all go to the zone, and to the region only where the zone fails
//!   zone has less                        ─► as much as it can bear; the rest to zones that have more than their share
//! ```

use std::collections::BTreeMap;

use super::failover::{distance, unlike};
use super::{Candidate, Place, Standing, ZoneAwareSetting, compact};

/// Labels first, then the caller's region, then the one that stands in for it, then the rest.
pub(super) fn standings(
    setting: &ZoneAwareSetting,
    caller: Place<'_>,
    endpoints: &[Candidate<'_>],
) -> Vec<Option<Standing>> {
    let [region, zone, _] = caller.parts();
    // What makes the near ones near: of the caller's region and most like it.
    let rank = |one: &Candidate<'_>| {
        (
            unlike(&setting.failover_priority, caller, one.place),
            distance(&setting.failover, caller, one.place).max(2),
        )
    };
    let first = endpoints.iter().map(rank).min();
    let is_near = |one: &Candidate<'_>| {
        !region.is_empty() && one.place.parts()[0] == region && Some(rank(one)) == first
    };
    let (mut zones, mut subzones) = (BTreeMap::new(), BTreeMap::new());
    for one in endpoints.iter().filter(|one| one.healthy && is_near(one)) {
        *zones.entry(one.place.parts()[1]).or_default() += 1;
        *subzones.entry(one.place.parts()).or_default() += 1;
    }
    let balance = Balance::of(&zones, zone, setting.endpoints_min);
    let tiers = endpoints.iter().map(|one| {
        let kept = balance == Some(Balance::Kept) && is_near(one);
        (rank(one), kept && one.place.parts()[1] != zone)
    });
    let priorities = compact(&tiers.collect::<Vec<_>>());
    // A zone's share is its subzones' together.
    let weight = |one: &Candidate<'_>| {
        let Some(Balance::Shared(shares)) = &balance else { return None };
        let parts = one.place.parts();
        let in_zone = zones.get(parts[1]).filter(|_| is_near(one))?;
        let share = shares[parts[1]] * subzones.get(&parts).copied().unwrap_or(0_u64);
        Some(u32::try_from(share.div_ceil(*in_zone)).unwrap_or(u32::MAX).max(1))
    };
    let standing =
        |(one, priority): (&Candidate<'_>, u32)| Some(Standing { priority, locality_weight: weight(one) });
    endpoints.iter().zip(priorities).map(standing).collect()
}

/// How requests of a zone are balanced.
#[derive(Debug, PartialEq, Eq)]
enum Balance<'a> {
    /// They stay.
    Kept,
    /// Each zone has its share, out of [`SHARES`].
    Shared(BTreeMap<&'a str, u64>),
}

impl<'a> Balance<'a> {
    /// None where zones do not matter: too few endpoints, a single zone, or none of the caller's own.
    fn of(zones: &BTreeMap<&'a str, u64>, own: &str, endpoints_min: u32) -> Option<Self> {
        let total: u64 = zones.values().sum();
        let count = zones.len() as u64;
        let here = *zones.get(own)?;
        if count < 2 || total < u64::from(endpoints_min) {
            return None;
        }
        // Cross-multiplied: `here / total` against `1 / count`.
        if here * count >= total {
            return Some(Self::Kept);
        }
        let kept = SHARES * here * count / total;
        let surplus = |endpoints: u64| (endpoints * count).saturating_sub(total);
        let surpluses: u64 = zones.values().map(|endpoints| surplus(*endpoints)).sum();
        let share = |(zone, endpoints): (&&'a str, &u64)| {
            let share = match **zone == *own {
                true => kept,
                false => (SHARES - kept) * surplus(*endpoints) / surpluses.max(1),
            };
            (*zone, share.max(1))
        };
        Some(Self::Shared(zones.iter().map(share).collect()))
    }
}

/// As fine as Envoy's.
const SHARES: u64 = 10_000;
