//! The choice among the endpoints of a cluster that take requests, in constant time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fastrand::Rng;

use super::hash_table::{HashTable, Member};
use super::levels::{Level, LevelPolicy, levels, static_weights};
use super::shares::Shares;
use super::{Availability, ClusterState, Endpoint, Moment};
use crate::resource::{BalancerPolicy, ClusterSpec, Health};
use crate::route::HashTableKind;

/// Chooses among endpoints as they were found at one moment.
#[derive(Debug)]
pub struct Picker {
    policy: PickPolicy,
    state: Arc<ClusterState>,
    /// The state's when the endpoints were looked at.
    epoch: u64,
    /// When an endpoint may be found otherwise though the epoch is the same.
    valid_until: Moment,
    /// The priorities that have somebody to pick, in their order.
    tiers: Box<[Tier]>,
    /// How requests spread over them.
    loads: Shares,
    /// The ejected endpoints whose time is over, each of which is to be asked once, and whether keys have it for their first.
    due: Box<[(usize, bool)]>,
}

/// What a picker goes by.
#[derive(Debug, Clone)]
pub struct PickPolicy {
    /// How an endpoint of a priority is chosen.
    pub balancer: BalancerPolicy,
    /// How requests spread over priorities and localities.
    pub levels: LevelPolicy,
}

/// One priority.
#[derive(Debug)]
struct Tier {
    /// Who of it may be picked.
    pickable: Box<[usize]>,
    /// By their weights.
    shares: Shares,
    /// Where the policy hashes, and requests come here.
    hashed: Option<Hashed>,
}

/// Which endpoint a hashed key meets.
#[derive(Debug)]
struct Hashed {
    owners: Arc<Owners>,
    /// Which of all endpoints take requests.
    pickable: Box<[bool]>,
}

/// The table of one priority. It holds all that are configured as healthy, since one that is unavailable for a while would move
/// the keys of others if it left: it is stepped over.
#[derive(Debug)]
struct Owners {
    priority: u32,
    table: HashTable,
    /// The table's members.
    endpoints: Box<[usize]>,
}

impl Picker {
    /// A picker over `endpoints`, in whose order its answers are.
    pub fn new(
        policy: impl Into<PickPolicy>,
        endpoints: &[Endpoint],
        state: Arc<ClusterState>,
        now: Moment,
    ) -> Self {
        Self::made(policy.into(), endpoints, state, now, &[])
    }

    /// One of which nothing but what takes long to make is to be used: it is never valid.
    pub fn outdated(policy: impl Into<PickPolicy>, endpoints: &[Endpoint], state: Arc<ClusterState>) -> Self {
        let made = Self::new(policy, endpoints, state, Moment::START);
        Self { valid_until: Moment::START, ..made }
    }

    /// Another one over the same endpoints as they are now.
    #[must_use]
    pub fn renewed(&self, endpoints: &[Endpoint], now: Moment) -> Self {
        let hashed = self.tiers.iter().filter_map(|tier| tier.hashed.as_ref());
        let owners: Vec<Arc<Owners>> = hashed.map(|hashed| Arc::clone(&hashed.owners)).collect();
        Self::made(self.policy.clone(), endpoints, Arc::clone(&self.state), now, &owners)
    }

    fn made(
        policy: PickPolicy,
        endpoints: &[Endpoint],
        state: Arc<ClusterState>,
        now: Moment,
        known: &[Arc<Owners>],
    ) -> Self {
        // Read before the endpoints are looked at: a change after that is another epoch.
        let epoch = state.epoch();
        let mut valid_until = Moment::NEVER;
        let mut due = Vec::new();
        let availability = endpoints.iter().enumerate().map(|(at, endpoint)| {
            let availability = endpoint.availability(now);
            match availability {
                // It stays so until it is asked, which is a change.
                Availability::Ejected { until } if until <= now => due.push(at),
                _ => valid_until = valid_until.min(availability.valid_until()),
            }
            availability
        });
        let availability: Vec<Availability> = availability.collect();
        let levels = levels(policy.levels, endpoints, &availability);
        let loads = Shares::new(&levels.iter().map(|level| level.load).collect::<Vec<_>>());
        let tier = |level: Level| {
            let hashed = match &policy.balancer {
                BalancerPolicy::Hash(hash) if level.load > 0 => {
                    let known = known.iter().find(|owners| owners.priority == level.priority).cloned();
                    let owners = known
                        .unwrap_or_else(|| Owners::new(hash.table, endpoints, &level, policy.levels).into());
                    let mut pickable = vec![false; endpoints.len()];
                    level.members.iter().for_each(|at| pickable[*at] = true);
                    Some(Hashed { owners, pickable: pickable.into() })
                }
                _ => None,
            };
            Tier { pickable: level.members.into(), shares: Shares::new(&level.weights), hashed }
        };
        let tiers: Box<[Tier]> = levels.into_iter().map(tier).collect();
        let hashed = || tiers.iter().filter_map(|tier| tier.hashed.as_ref());
        let is_owner = |at: usize| hashed().any(|hashed| hashed.owners.endpoints.contains(&at));
        let due = due.into_iter().map(|at| (at, is_owner(at))).collect();
        Self { policy, state, epoch, valid_until, tiers, loads, due }
    }

    /// Whether its endpoints are still as they were found.
    pub fn is_valid(&self, now: Moment) -> bool {
        self.epoch == self.state.epoch() && now < self.valid_until
    }

    /// Picks one that is not in `tried`, or any where all have been; where the policy hashes, by the request's hash, if it has
    /// one. `None` where nothing takes requests.
    pub fn pick<'e>(
        &self,
        endpoints: &'e [Endpoint],
        rng: &mut Rng,
        mut hash: Option<u64>,
        tried: &[SocketAddr],
        now: Moment,
    ) -> Option<&'e Endpoint> {
        if !self.due.is_empty()
            && tried.is_empty()
            && let Some(probed) = self.probe(endpoints, hash, now)
        {
            return Some(probed);
        }
        let tier = self.tier(hash, || rng.u64(..))?;
        let mut picked = self.draw(tier, endpoints, rng, &mut hash, now);
        if tried.is_empty() {
            return Some(picked);
        }
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.spec.address);
        for _ in 1..DRAWS_MAX {
            if untried(picked) {
                return Some(picked);
            }
            picked = self.draw(tier, endpoints, rng, &mut hash, now);
        }
        let start = rng.usize(..tier.pickable.len());
        let from_start = tier.pickable[start..].iter().chain(&tier.pickable[..start]);
        // Who has tried all of a priority is better off with one further away.
        let others = self.tiers.iter().filter(|other| !std::ptr::eq(*other, tier));
        let mut all = from_start.chain(others.flat_map(|other| &other.pickable)).map(|at| &endpoints[*at]);
        Some(all.find(|endpoint| untried(endpoint)).unwrap_or(picked))
    }

    /// An ejected endpoint that this request is to find out about: a first attempt, since there is another one then. Of hashed
    /// requests it is one that belongs there.
    fn probe<'e>(&self, endpoints: &'e [Endpoint], hash: Option<u64>, now: Moment) -> Option<&'e Endpoint> {
        let hashed = hash.and_then(|_| self.tier(hash, || 0)?.hashed.as_ref());
        let first = hashed.zip(hash).map(|(hashed, number)| hashed.owners.owner(number));
        let belongs = |(at, is_owner): &&(usize, bool)| !is_owner || first.is_none_or(|first| first == *at);
        let mut due = self.due.iter().filter(belongs).map(|(at, _)| &endpoints[*at]);
        due.find(|endpoint| endpoint.state.outlier.claims_probe(now)).inspect(|_| self.state.changed())
    }

    /// The priority of a request; a key always meets the same while as much of each is available.
    fn tier(&self, hash: Option<u64>, drawn: impl FnOnce() -> u64) -> Option<&Tier> {
        match &*self.tiers {
            [] => None,
            [only] => Some(only),
            tiers => Some(&tiers[self.loads.at(hash.map_or_else(drawn, HashTable::next))]),
        }
    }

    /// A hash is the next one afterwards, so that a key whose endpoint fails has another of its own.
    fn draw<'e>(
        &self,
        tier: &Tier,
        endpoints: &'e [Endpoint],
        rng: &mut Rng,
        hash: &mut Option<u64>,
        now: Moment,
    ) -> &'e Endpoint {
        if let (Some(hashed), Some(number)) = (&tier.hashed, hash.as_mut()) {
            return &endpoints[hashed.owner(number).unwrap_or_else(|| tier.nth(*number))];
        }
        let place = match self.policy.balancer {
            BalancerPolicy::LeastRequest | BalancerPolicy::Hash(_) => {
                return tier.better_of_two(endpoints, rng, now);
            }
            BalancerPolicy::RoundRobin => tier.next_in_turn(&self.state),
            BalancerPolicy::Random => tier.shares.draw(rng),
        };
        &endpoints[tier.pickable[place]]
    }
}

impl Tier {
    /// The power of two choices: nearly as good as asking all, and no crowd runs to the one that is idle. Both are drawn by
    /// weight, and among equals the first one stands, so that idle endpoints are picked by weight too.
    fn better_of_two<'e>(&self, endpoints: &'e [Endpoint], rng: &mut Rng, now: Moment) -> &'e Endpoint {
        let count = self.pickable.len();
        let first = self.shares.draw(rng);
        let second = match self.shares.are_equal() && count > 1 {
            true => (first + 1 + rng.usize(..count - 1)) % count,
            false => self.shares.draw(rng),
        };
        let (one, other) = (&endpoints[self.pickable[first]], &endpoints[self.pickable[second]]);
        let load = |endpoint: &Endpoint, place: usize| Load {
            in_flight: endpoint.state.in_flight.load(Ordering::Relaxed),
            share: self.shares.relative(place),
            cost: endpoint.state.latency.cost(now),
        };
        if load(other, second).is_less_than(&load(one, first)) { other } else { one }
    }

    /// The turn count belongs to the cluster's state, so that a change of endpoints does not send everybody to the first one.
    /// With weights, turns multiplied by the golden ratio fall on the line of weights evenly and well spread.
    fn next_in_turn(&self, state: &ClusterState) -> usize {
        let turn = state.turns.fetch_add(1, Ordering::Relaxed);
        match self.shares.are_equal() {
            true => (turn % self.pickable.len() as u64) as usize,
            false => self.shares.at(turn.wrapping_mul(GOLDEN_RATIO_64)),
        }
    }

    fn nth(&self, number: u64) -> usize {
        self.pickable[(number % self.pickable.len() as u64) as usize]
    }
}

impl Hashed {
    /// The first endpoint of a number that takes requests; none where several in a row do not. The number is the next one
    /// afterwards.
    fn owner(&self, number: &mut u64) -> Option<usize> {
        let mut owners = (0..STEPS_MAX).map(|_| {
            let owner = self.owners.owner(*number);
            *number = HashTable::next(*number);
            owner
        });
        owners.find(|owner| self.pickable[*owner])
    }
}

impl Owners {
    /// Somebody of that priority may be picked.
    fn new(kind: HashTableKind, endpoints: &[Endpoint], level: &Level, policy: LevelPolicy) -> Self {
        let is_member = |at: &usize| {
            let spec = &endpoints[*at].spec;
            spec.priority == level.priority && spec.health == Health::Healthy
        };
        let mut members: Vec<usize> = (0..endpoints.len()).filter(is_member).collect();
        if members.is_empty() {
            // Nobody is well, and all are asked.
            members.clone_from(&level.members);
        }
        let weights = static_weights(policy, endpoints, &members);
        let member = |(at, weight): (&usize, u32)| Member::new(endpoints[*at].spec.address, weight);
        let table = HashTable::new(kind, &members.iter().zip(weights).map(member).collect::<Vec<_>>());
        Self { priority: level.priority, table, endpoints: members.into() }
    }

    fn owner(&self, number: u64) -> usize {
        self.endpoints[self.table.owner(number)]
    }
}

impl From<BalancerPolicy> for PickPolicy {
    /// Without a word about priorities and localities.
    fn from(balancer: BalancerPolicy) -> Self {
        Self { balancer, levels: LevelPolicy::default() }
    }
}

impl From<&ClusterSpec> for PickPolicy {
    fn from(spec: &ClusterSpec) -> Self {
        let levels = LevelPolicy {
            panic_percent: spec.panic_threshold_percent.unwrap_or_default(),
            localities_weighted: spec.localities_weighted,
        };
        Self { balancer: spec.balancer.clone(), levels }
    }
}

/// What a request would add to.
struct Load {
    in_flight: u32,
    /// As a multiple of the average.
    share: f32,
    cost: Option<f32>,
}

impl Load {
    /// Whether a request is better off here: one of double share bears double the requests. Costs that are near each other are
    /// taken for the same, since else a hair's breadth would send all requests one way.
    fn is_less_than(&self, other: &Self) -> bool {
        let (here, there) = (self.in_flight as f32 / self.share, other.in_flight as f32 / other.share);
        match (self.cost, other.cost) {
            (Some(cost), Some(other_cost)) if cost.max(other_cost) > COST_RATIO * cost.min(other_cost) => {
                cost * (here + 1.0) < other_cost * (there + 1.0)
            }
            _ => here < there,
        }
    }
}

/// Costs apart by less are taken for the same.
const COST_RATIO: f32 = 2.0;
/// As many draws as Envoy makes (`host_selection_retry_max_attempts`) before the rest are looked through in order.
const DRAWS_MAX: usize = 5;
/// How many unavailable endpoints a number steps over before it meets one of the others by their order.
const STEPS_MAX: usize = 16;
/// 2⁶⁴ divided by the golden ratio.
const GOLDEN_RATIO_64: u64 = 0x9E37_79B9_7F4A_7C15;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::EndpointSpec;
    use crate::route::{HashKey, HashPolicy, HashTableKind};

    fn endpoint(port: u16, weight: u32, priority: u32, health: Health) -> Endpoint {
        let address = SocketAddr::from(([10, 0, 0, 1], port));
        let spec = EndpointSpec {
            address,
            pipe: None,
            workload: None,
            locality: None,
            locality_weight: 1,
            priority,
            weight,
            health,
            mesh_mtls: true,
        };
        Endpoint { spec, state: Arc::default() }
    }

    fn healthy(weights: &[u32]) -> Vec<Endpoint> {
        let ports = 1..;
        ports.zip(weights).map(|(port, weight)| endpoint(port, *weight, 0, Health::Healthy)).collect()
    }

    fn hashing(table: HashTableKind) -> BalancerPolicy {
        BalancerPolicy::Hash(Arc::new(HashPolicy { key: HashKey::SourceAddress, table }))
    }

    fn hashes() -> [BalancerPolicy; 2] {
        [HashTableKind::Ring { points_min: 1024 }, HashTableKind::Maglev { entries: 65_537 }].map(hashing)
    }

    fn policies() -> Vec<BalancerPolicy> {
        let simple = [BalancerPolicy::LeastRequest, BalancerPolicy::RoundRobin, BalancerPolicy::Random];
        simple.into_iter().chain(hashes()).collect()
    }

    /// How often each endpoint is picked, by its port.
    fn counts(policy: BalancerPolicy, endpoints: &[Endpoint], picks: usize) -> Vec<usize> {
        let picker = Picker::new(policy.clone(), endpoints, Arc::default(), Moment::START);
        let mut rng = Rng::with_seed(7);
        let mut counts = vec![0; endpoints.len()];
        for _ in 0..picks {
            let picked = picker.pick(endpoints, &mut rng, None, &[], Moment::START).expect("an endpoint");
            counts[usize::from(picked.spec.address.port()) - 1] += 1;
        }
        counts
    }

    #[test]
    fn only_healthy_endpoints_of_the_first_priority_are_picked() {
        let endpoints = [
            endpoint(1, 1, 0, Health::Unhealthy),
            endpoint(2, 1, 0, Health::Draining),
            endpoint(3, 1, 2, Health::Healthy),
            endpoint(4, 1, 1, Health::Healthy),
        ];
        for policy in policies() {
            assert_eq!(counts(policy.clone(), &endpoints, 10), [0, 0, 0, 10], "{policy:?}");
            let none = Picker::new(policy.clone(), &endpoints[..2], Arc::default(), Moment::START);
            assert!(none.pick(&endpoints[..2], &mut Rng::with_seed(1), None, &[], Moment::START).is_none());
        }
    }

    #[test]
    fn one_that_is_connected_to_for_the_first_time_is_picked_where_nobody_else_is() {
        let endpoints = healthy(&[1, 1]);
        let until = Moment::START + std::time::Duration::from_secs(1);
        endpoints[0].state.await_connection(until);
        for policy in policies() {
            assert_eq!(counts(policy.clone(), &endpoints, 10), [0, 10], "{policy:?}");
            assert_eq!(counts(policy.clone(), &endpoints[..1], 10), [10], "{policy:?}");
            let picker = Picker::new(policy, &endpoints, Arc::default(), Moment::START);
            assert!(!picker.is_valid(until), "by then it takes requests");
        }
        endpoints[0].state.end_wait();
        assert_eq!(counts(BalancerPolicy::RoundRobin, &endpoints, 10), [5, 5]);
    }

    #[test]
    fn round_robin_goes_round_and_keeps_its_place_over_changes() {
        assert_eq!(counts(BalancerPolicy::RoundRobin, &healthy(&[1, 1, 1]), 9), [3, 3, 3]);
        let state: Arc<ClusterState> = Arc::default();
        let endpoints = healthy(&[1, 1]);
        let ports = [0, 1, 2, 3].map(|_| {
            let picker =
                Picker::new(BalancerPolicy::RoundRobin, &endpoints, Arc::clone(&state), Moment::START);
            picker
                .pick(&endpoints, &mut Rng::with_seed(1), None, &[], Moment::START)
                .expect("an endpoint")
                .spec
                .address
                .port()
        });
        assert_eq!(ports, [1, 2, 1, 2]);
    }

    #[test]
    fn weights_are_shares() {
        let near = |counts: Vec<usize>| {
            counts.iter().zip([600, 300, 100]).all(|(seen, wanted)| seen.abs_diff(wanted) < 60)
        };
        assert!(near(counts(BalancerPolicy::RoundRobin, &healthy(&[6, 3, 1]), 1000)));
        assert!(near(counts(BalancerPolicy::Random, &healthy(&[6, 3, 1]), 1000)));
        assert!(near(counts(BalancerPolicy::LeastRequest, &healthy(&[6, 3, 1]), 1000)), "of idle endpoints");
    }

    #[test]
    fn the_less_busy_of_two_is_picked() {
        let endpoints = healthy(&[1, 1]);
        let _busy = endpoints[0].state.begin(u32::MAX);
        assert_eq!(counts(BalancerPolicy::LeastRequest, &endpoints, 10), [0, 10]);
        let heavy = healthy(&[3, 1]);
        let _three = [0, 0, 0].map(|at| heavy[at].state.begin(u32::MAX));
        let _one = heavy[1].state.begin(u32::MAX);
        let equal = counts(BalancerPolicy::LeastRequest, &heavy, 1000);
        assert!(equal[0].abs_diff(750) < 60, "{equal:?}");
    }

    #[test]
    fn tried_endpoints_are_picked_only_when_all_have_been() {
        let endpoints = healthy(&[1_000_000, 1, 1]);
        let tried: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.spec.address).collect();
        for policy in policies() {
            let picker = Picker::new(policy.clone(), &endpoints, Arc::default(), Moment::START);
            let mut rng = Rng::with_seed(3);
            for _ in 0..50 {
                let picked =
                    picker.pick(&endpoints, &mut rng, None, &tried[..2], Moment::START).expect("an endpoint");
                assert_eq!(picked.spec.address, tried[2], "{policy:?}");
                assert!(picker.pick(&endpoints, &mut rng, None, &tried, Moment::START).is_some());
            }
        }
    }

    #[test]
    fn a_hash_meets_one_endpoint_that_takes_requests_and_another_where_that_was_tried() {
        let mut endpoints = healthy(&[1, 2, 1, 2]);
        endpoints[1].spec.health = Health::Draining;
        endpoints[3].spec.priority = 1;
        for policy in hashes() {
            let picker = Picker::new(policy, &endpoints, Arc::default(), Moment::START);
            let pick = |hash, seed, tried: &[SocketAddr]| {
                let picked =
                    picker.pick(&endpoints, &mut Rng::with_seed(seed), Some(hash), tried, Moment::START);
                picked.expect("an endpoint").spec.address
            };
            let mut met = std::collections::BTreeSet::new();
            for hash in (0..100).map(HashTable::next) {
                let first = pick(hash, 0, &[]);
                let second = pick(hash, 0, &[first]);
                assert_eq!((pick(hash, 1, &[]), pick(hash, 1, &[first])), (first, second));
                assert_eq!([first.port(), second.port()].iter().sum::<u16>(), 4, "{first}, {second}");
                assert_eq!(pick(hash, 2, &[first, second]), endpoints[3].spec.address, "of another priority");
                met.insert(first);
            }
            assert_eq!(met.len(), 2);
        }
    }

    #[test]
    fn without_a_hash_a_request_is_drawn() {
        for policy in hashes() {
            let drawn = counts(policy, &healthy(&[1, 1, 2]), 1000);
            assert!(
                drawn.iter().zip([250, 250, 500]).all(|(seen, wanted)| seen.abs_diff(wanted) < 60),
                "{drawn:?}"
            );
        }
    }

    #[test]
    fn picking_allocates_nothing() {
        let endpoints = healthy(&[1, 2, 3]);
        for policy in policies() {
            let picker = Picker::new(policy, &endpoints, Arc::default(), Moment::START);
            let mut rng = Rng::with_seed(1);
            let tried = [endpoints[0].spec.address];
            let measured = allocation_counter::measure(|| {
                for (hash, tried) in [(None, &[][..]), (Some(7), &[]), (Some(7), &tried)] {
                    let picked =
                        picker.pick(&endpoints, &mut rng, hash, tried, Moment::START).expect("an endpoint");
                    drop(picked.state.begin(u32::MAX));
                }
            });
            assert_eq!(measured.count_total, 0);
        }
    }
}
