//! How requests spread over the priorities of a cluster, and over the localities of each.
//!
//! A priority bears all its requests while enough of its endpoints are available; what it cannot bear goes to the next:
//!
//! ```text
//!   available   1.4 ×      bears    load
//!    10 of 10    140 %     100 %   100 %        half of the first priority fails: it bears 70 %,
//!     5 of 10     70 %      70 %    70 %        and 30 % go on
//!     8 of  8    140 %     100 %    30 %
//! ```
//! This is Envoy's arithmetic (priority levels, locality weighted balancing, panic threshold), with two differences. Endpoints
//! that leave or that are being connected to for the first time count on neither side, as they say nothing about how the others
//! do. And endpoints that leave are never picked, whatever becomes of the others.

use std::collections::BTreeMap;

use super::{Availability, Endpoint};
use crate::resource::endpoint::OVERPROVISIONING_PERCENT;

/// How requests spread over priorities and localities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LevelPolicy {
    /// With a smaller share of a priority's endpoints available, in percent, all of them are taken for available; 0 never does.
    pub panic_percent: u8,
    /// Whether localities have weights, rather than endpoints alone.
    pub localities_weighted: bool,
}

/// A priority that has somebody to pick.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) priority: u32,
    /// Who may be picked, by places among all endpoints.
    pub(super) members: Vec<usize>,
    /// The share of each.
    pub(super) weights: Vec<u64>,
    /// Its share of the requests, of 100; 0 where those before it bear them all.
    pub(super) load: u64,
}

/// What is counted of a priority, or of a locality in it.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    available: u64,
    total: u64,
}

/// The priorities in their order, those left out of which nobody may be picked.
pub(super) fn levels(policy: LevelPolicy, endpoints: &[Endpoint], found: &[Availability]) -> Vec<Level> {
    // Whoever has nobody better takes the next best.
    let best = found.iter().filter_map(|one| one.rank()).min();
    let takes = |at: usize| best.is_some() && found[at].rank() == best;
    let counts =
        |at: usize| takes(at) || !matches!(found[at], Availability::Draining | Availability::Awaited { .. });
    let mut priorities: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for at in (0..endpoints.len()).filter(|at| counts(*at)) {
        priorities.entry(endpoints[at].spec.priority).or_default().push(at);
    }
    let counted = |places: &[usize]| Count {
        available: places.iter().filter(|at| takes(**at)).count() as u64,
        total: places.len() as u64,
    };
    let all: Vec<Count> = priorities.values().map(|places| counted(places)).collect();
    let (loads, panics) = spread(policy.panic_percent, &all);
    let level = |(at, (priority, places)): (usize, (u32, Vec<usize>))| {
        let picked = |place: &usize| panics[at] || takes(*place);
        let members: Vec<usize> = places.iter().copied().filter(picked).collect();
        let weights = match policy.localities_weighted {
            true => by_locality(endpoints, &places, &members),
            false => members.iter().map(|at| endpoints[*at].spec.weight.into()).collect(),
        };
        (!members.is_empty()).then_some(Level { priority, members, weights, load: loads[at] })
    };
    priorities.into_iter().enumerate().filter_map(level).collect()
}

/// The load of each priority, of 100 in all, and whether it takes all its endpoints for available.
fn spread(panic_percent: u8, all: &[Count]) -> (Vec<u64>, Vec<bool>) {
    let borne: Vec<u64> = all.iter().map(|count| count.borne().min(100)).collect();
    let in_all = borne.iter().sum::<u64>().min(100);
    let short = |count: &Count| count.available * 100 < u64::from(panic_percent) * count.total;
    let panics: Vec<bool> = all.iter().map(|count| in_all < 100 && short(count)).collect();
    // Where nobody does better than another, requests go by numbers alone.
    let parts = match panics.iter().all(|panics| *panics) {
        true => all.iter().map(|count| count.total).collect(),
        false => borne,
    };
    let whole = match panics.iter().all(|panics| *panics) {
        true => parts.iter().sum(),
        false => in_all,
    };
    let mut left = 100;
    let mut loads: Vec<u64> = Vec::with_capacity(parts.len());
    for part in &parts {
        let load = (part * 100).checked_div(whole).unwrap_or_default().min(left);
        left -= load;
        loads.push(load);
    }
    // What rounding leaves goes to the first that bears anything.
    if let Some(first) = loads.iter_mut().find(|load| **load > 0) {
        *first += left;
    }
    (loads, panics)
}

/// The share of each member: of its locality's weight, as far as the locality is available, by its own weight.
fn by_locality(endpoints: &[Endpoint], places: &[usize], members: &[usize]) -> Vec<u64> {
    let mut localities: BTreeMap<Option<&str>, (Count, u64)> = BTreeMap::new();
    for at in places {
        localities.entry(endpoints[*at].spec.locality.as_deref()).or_default().0.total += 1;
    }
    for at in members {
        let spec = &endpoints[*at].spec;
        let (count, weights) = localities.entry(spec.locality.as_deref()).or_default();
        count.available += 1;
        *weights += u64::from(spec.weight);
    }
    let weight = |at: &usize| {
        let spec = &endpoints[*at].spec;
        let (count, weights) = localities[&spec.locality.as_deref()];
        let of_locality = u128::from(spec.locality_weight) * u128::from(count.borne().min(100)) * FINENESS;
        let weight = of_locality * u128::from(spec.weight) / u128::from(weights.max(1));
        u64::try_from(weight).unwrap_or(u64::MAX)
    };
    members.iter().map(weight).collect()
}

/// The weights of a table that holds whatever may be picked at some time: as if all of it were available.
pub(super) fn static_weights(policy: LevelPolicy, endpoints: &[Endpoint], members: &[usize]) -> Vec<u32> {
    if !policy.localities_weighted {
        return members.iter().map(|at| endpoints[*at].spec.weight).collect();
    }
    let weights = by_locality(endpoints, members, members);
    weights.into_iter().map(|weight| u32::try_from(weight / 100).unwrap_or(u32::MAX).max(1)).collect()
}

impl Count {
    /// How much of its requests it bears, in percent and beyond.
    fn borne(self) -> u64 {
        (u64::from(OVERPROVISIONING_PERCENT) * self.available).checked_div(self.total).unwrap_or_default()
    }
}

/// Into how many parts a unit of a locality's weight is divided among its endpoints.
const FINENESS: u128 = 1 << 12;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use super::*;
    use crate::balance::Moment;
    use crate::resource::{EndpointSpec, Health};

    const ILL: Availability = Availability::Unhealthy;
    const EJECTED: Availability = Availability::Ejected { until: Moment::NEVER };
    const AWAITED: Availability = Availability::Awaited { until: Moment::NEVER };
    const AVAILABLE: Availability = Availability::Available;

    fn endpoint(priority: u32, locality: &str, locality_weight: u32) -> Endpoint {
        let spec = EndpointSpec {
            address: SocketAddr::from(([10, 0, 0, 1], 80)),
            pipe: None,
            workload: None,
            locality: Some(locality.into()),
            locality_weight,
            priority,
            weight: 1,
            health: Health::Healthy,
            mesh_mtls: true,
        };
        Endpoint { spec, state: Arc::default() }
    }

    /// Rows are priorities with how their endpoints are; expected is the load of each and how many of it may be picked.
    #[track_caller]
    fn check(panic_percent: u8, rows: &[&[Availability]], expected: &[(u32, u64, usize)]) {
        let priorities = (0..).zip(rows).flat_map(|(priority, found)| found.iter().map(move |_| priority));
        let endpoints: Vec<Endpoint> = priorities.map(|priority| endpoint(priority, "r", 1)).collect();
        let policy = LevelPolicy { panic_percent, localities_weighted: false };
        let levels = levels(policy, &endpoints, &rows.concat());
        let found: Vec<_> =
            levels.iter().map(|level| (level.priority, level.load, level.members.len())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_priority_bears_what_its_available_endpoints_can() {
        let all = [AVAILABLE; 4];
        check(0, &[&all, &all], &[(0, 100, 4), (1, 0, 4)]);
        check(0, &[&[AVAILABLE, AVAILABLE, AVAILABLE, EJECTED], &all], &[(0, 100, 3), (1, 0, 4)]);
        check(0, &[&[AVAILABLE, AVAILABLE, EJECTED, EJECTED], &all], &[(0, 70, 2), (1, 30, 4)]);
        check(0, &[&[EJECTED; 4], &all], &[(1, 100, 4)]);
        check(0, &[&[], &[EJECTED, AVAILABLE], &all], &[(1, 70, 1), (2, 30, 4)]);
        // Together they bear 70 % of what comes, and share all of it.
        let quarter = [AVAILABLE, EJECTED, EJECTED, EJECTED];
        check(0, &[&quarter, &quarter], &[(0, 50, 1), (1, 50, 1)]);
    }

    #[test]
    fn who_leaves_or_has_yet_to_come_counts_on_neither_side() {
        let all = [AVAILABLE];
        check(0, &[&[AVAILABLE, Availability::Draining, AWAITED, AWAITED], &all], &[(0, 100, 1), (1, 0, 1)]);
        check(0, &[&[AWAITED, EJECTED], &all], &[(1, 100, 1)]);
        check(0, &[&[AWAITED, EJECTED], &[AWAITED]], &[(0, 70, 1), (1, 30, 1)]);
        check(50, &[&[Availability::Draining]], &[]);
    }

    #[test]
    fn below_the_panic_threshold_all_are_asked() {
        let third = [AVAILABLE, EJECTED, EJECTED];
        check(0, &[&[ILL; 3]], &[]);
        check(50, &[&[ILL, ILL, Availability::Draining]], &[(0, 100, 2)]);
        check(50, &[&third], &[(0, 100, 3)]);
        check(30, &[&third], &[(0, 100, 1)]);
        // Another priority bears what this one cannot.
        check(50, &[&third, &[AVAILABLE]], &[(0, 46, 1), (1, 54, 1)]);
        check(50, &[&[ILL; 3], &[ILL]], &[(0, 75, 3), (1, 25, 1)]);
        // Who failed is better than nobody.
        check(0, &[&[ILL, EJECTED]], &[(0, 100, 1)]);
    }

    #[test]
    fn localities_share_by_weight_as_far_as_they_are_available() {
        let endpoints =
            ["a", "a", "b", "b", "b"].map(|name| endpoint(0, name, if name == "a" { 80 } else { 20 }));
        let policy = LevelPolicy { localities_weighted: true, ..LevelPolicy::default() };
        let shares = |found: &[Availability]| {
            let levels = levels(policy, &endpoints, found);
            let total: u64 = levels[0].weights.iter().sum();
            levels[0].weights.iter().map(|weight| (weight * 1000 + total / 2) / total).collect::<Vec<_>>()
        };
        assert_eq!(shares(&[AVAILABLE; 5]), [400, 400, 67, 67, 67]);
        assert_eq!(shares(&[AVAILABLE, EJECTED, AVAILABLE, AVAILABLE, AVAILABLE]), [737, 88, 88, 88]);
        assert_eq!(shares(&[EJECTED, EJECTED, AVAILABLE, AVAILABLE, AVAILABLE]), [333, 333, 333]);
    }
}
