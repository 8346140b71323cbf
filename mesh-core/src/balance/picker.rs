//! The choice among the endpoints of a cluster that take requests: constant time for equal weights, logarithmic otherwise, and
//! on a ring.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use fastrand::Rng;

use super::hash_table::{HashTable, Member};
use super::{ClusterState, Endpoint};
use crate::resource::{BalancerPolicy, Health};

/// Chooses among endpoints; made anew with every change of the cluster.
#[derive(Debug)]
pub struct Picker {
    policy: BalancerPolicy,
    state: Arc<ClusterState>,
    /// The healthy endpoints of the first priority that has any.
    pickable: Box<[usize]>,
    /// Where each of them ends on the line of all weights; empty where weights are equal.
    weight_ends: Box<[u64]>,
    /// Which of them a hashed key meets, where the policy hashes.
    hash_table: Option<HashTable>,
}

impl Picker {
    /// A picker over `endpoints`, in whose order its answers are.
    pub fn new(policy: BalancerPolicy, endpoints: &[Endpoint], state: Arc<ClusterState>) -> Self {
        let healthy = |endpoint: &&Endpoint| endpoint.spec.health == Health::Healthy;
        let priority = endpoints.iter().filter(healthy).map(|endpoint| endpoint.spec.priority).min();
        let takes = |endpoint: &Endpoint| healthy(&endpoint) && Some(endpoint.spec.priority) == priority;
        let pickable: Box<[usize]> = (0..endpoints.len()).filter(|at| takes(&endpoints[*at])).collect();
        let weights: Vec<u32> = pickable.iter().map(|at| endpoints[*at].spec.weight).collect();
        let weight_ends = match weights.windows(2).all(|pair| pair[0] == pair[1]) {
            true => Box::default(),
            false => ends(&weights),
        };
        let hash_table = match &policy {
            BalancerPolicy::Hash(hash) if !pickable.is_empty() => {
                let member = |at: &usize| {
                    let spec = &endpoints[*at].spec;
                    Member::new(spec.address, spec.weight)
                };
                Some(HashTable::new(hash.table, &pickable.iter().map(member).collect::<Vec<_>>()))
            }
            _ => None,
        };
        Self { policy, state, pickable, weight_ends, hash_table }
    }

    /// Picks one that is not in `tried`, or any where all have been; where the policy hashes, by the request's hash, if it has
    /// one. `None` where nothing takes requests.
    pub fn pick<'e>(
        &self,
        endpoints: &'e [Endpoint],
        rng: &mut Rng,
        mut hash: Option<u64>,
        tried: &[SocketAddr],
    ) -> Option<&'e Endpoint> {
        if self.pickable.is_empty() {
            return None;
        }
        let mut picked = self.draw(endpoints, rng, &mut hash);
        if tried.is_empty() {
            return Some(picked);
        }
        let untried = |endpoint: &Endpoint| !tried.contains(&endpoint.spec.address);
        for _ in 1..DRAWS_MAX {
            if untried(picked) {
                return Some(picked);
            }
            picked = self.draw(endpoints, rng, &mut hash);
        }
        let start = rng.usize(..self.pickable.len());
        let from_start = self.pickable[start..].iter().chain(&self.pickable[..start]);
        let any_untried = from_start.map(|at| &endpoints[*at]).find(|endpoint| untried(endpoint));
        Some(any_untried.unwrap_or(picked))
    }

    /// A hash is the next one afterwards, so that a key whose endpoint fails has another of its own.
    fn draw<'e>(&self, endpoints: &'e [Endpoint], rng: &mut Rng, hash: &mut Option<u64>) -> &'e Endpoint {
        if let (Some(table), Some(number)) = (&self.hash_table, *hash) {
            *hash = Some(HashTable::next(number));
            return &endpoints[self.pickable[table.owner(number)]];
        }
        let place = match self.policy {
            BalancerPolicy::LeastRequest | BalancerPolicy::Hash(_) => {
                return self.less_busy_of_two(endpoints, rng);
            }
            BalancerPolicy::RoundRobin => self.next_in_turn(),
            BalancerPolicy::Random => self.any_place(rng),
        };
        &endpoints[self.pickable[place]]
    }

    /// The power of two choices: nearly as even as asking all, and no crowd runs to the one that is idle. Both are drawn by
    /// weight, and among equals the first one stands, so that idle endpoints are picked by weight too.
    fn less_busy_of_two<'e>(&self, endpoints: &'e [Endpoint], rng: &mut Rng) -> &'e Endpoint {
        let count = self.pickable.len();
        let first = self.any_place(rng);
        let second = match self.weight_ends.is_empty() && count > 1 {
            true => (first + 1 + rng.usize(..count - 1)) % count,
            false => self.any_place(rng),
        };
        let (one, other) = (&endpoints[self.pickable[first]], &endpoints[self.pickable[second]]);
        // Cross-multiplied, so that an endpoint of double weight bears double the requests.
        let load = |of: &Endpoint, by: &Endpoint| {
            u64::from(of.state.in_flight.load(Ordering::Relaxed)) * u64::from(by.spec.weight)
        };
        if load(other, one) < load(one, other) { other } else { one }
    }

    fn any_place(&self, rng: &mut Rng) -> usize {
        match self.weight_ends.is_empty() {
            true => rng.usize(..self.pickable.len()),
            false => self.place_of(rng.u64(..self.weight_total())),
        }
    }

    /// The turn count belongs to the cluster's state, so that a change of endpoints does not send everybody to the first one.
    /// With weights, turns multiplied by the golden ratio fall on the line of weights evenly and well spread.
    fn next_in_turn(&self) -> usize {
        let turn = self.state.turns.fetch_add(1, Ordering::Relaxed);
        if self.weight_ends.is_empty() {
            return (turn % self.pickable.len() as u64) as usize;
        }
        let spread = u128::from(turn.wrapping_mul(GOLDEN_RATIO_64)) * u128::from(self.weight_total());
        self.place_of((spread >> 64) as u64)
    }

    fn weight_total(&self) -> u64 {
        self.weight_ends.last().copied().unwrap_or_default()
    }

    fn place_of(&self, point: u64) -> usize {
        self.weight_ends.partition_point(|end| *end <= point)
    }
}

fn ends(weights: &[u32]) -> Box<[u64]> {
    let running = weights.iter().scan(0, |end, weight| {
        *end += u64::from(*weight);
        Some(*end)
    });
    running.collect()
}

/// As many draws as Envoy makes (`host_selection_retry_max_attempts`) before the rest are looked through in order.
const DRAWS_MAX: usize = 5;
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
            workload: None,
            locality: None,
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
        let picker = Picker::new(policy.clone(), endpoints, Arc::default());
        let mut rng = Rng::with_seed(7);
        let mut counts = vec![0; endpoints.len()];
        for _ in 0..picks {
            let picked = picker.pick(endpoints, &mut rng, None, &[]).expect("an endpoint");
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
            let none = Picker::new(policy.clone(), &endpoints[..2], Arc::default());
            assert!(none.pick(&endpoints[..2], &mut Rng::with_seed(1), None, &[]).is_none());
        }
    }

    #[test]
    fn round_robin_goes_round_and_keeps_its_place_over_changes() {
        assert_eq!(counts(BalancerPolicy::RoundRobin, &healthy(&[1, 1, 1]), 9), [3, 3, 3]);
        let state: Arc<ClusterState> = Arc::default();
        let endpoints = healthy(&[1, 1]);
        let ports = [0, 1, 2, 3].map(|_| {
            let picker = Picker::new(BalancerPolicy::RoundRobin, &endpoints, Arc::clone(&state));
            picker
                .pick(&endpoints, &mut Rng::with_seed(1), None, &[])
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
        let _busy = endpoints[0].state.begin();
        assert_eq!(counts(BalancerPolicy::LeastRequest, &endpoints, 10), [0, 10]);
        let heavy = healthy(&[3, 1]);
        let _three = [0, 0, 0].map(|at| heavy[at].state.begin());
        let _one = heavy[1].state.begin();
        let equal = counts(BalancerPolicy::LeastRequest, &heavy, 1000);
        assert!(equal[0].abs_diff(750) < 60, "{equal:?}");
    }

    #[test]
    fn a_request_counts_until_it_is_dropped() {
        let endpoints = healthy(&[1]);
        let request = endpoints[0].state.begin();
        assert_eq!(endpoints[0].state.in_flight.load(Ordering::Relaxed), 1);
        drop(request);
        assert_eq!(endpoints[0].state.in_flight.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn tried_endpoints_are_picked_only_when_all_have_been() {
        let endpoints = healthy(&[1_000_000, 1, 1]);
        let tried: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.spec.address).collect();
        for policy in policies() {
            let picker = Picker::new(policy.clone(), &endpoints, Arc::default());
            let mut rng = Rng::with_seed(3);
            for _ in 0..50 {
                let picked = picker.pick(&endpoints, &mut rng, None, &tried[..2]).expect("an endpoint");
                assert_eq!(picked.spec.address, tried[2], "{policy:?}");
                assert!(picker.pick(&endpoints, &mut rng, None, &tried).is_some());
            }
        }
    }

    #[test]
    fn a_hash_meets_one_endpoint_that_takes_requests_and_another_where_that_was_tried() {
        let mut endpoints = healthy(&[1, 2, 1, 2]);
        endpoints[1].spec.health = Health::Unhealthy;
        endpoints[3].spec.priority = 1;
        for policy in hashes() {
            let picker = Picker::new(policy, &endpoints, Arc::default());
            let pick = |hash, seed, tried: &[SocketAddr]| {
                let picked = picker.pick(&endpoints, &mut Rng::with_seed(seed), Some(hash), tried);
                picked.expect("an endpoint").spec.address
            };
            let mut met = std::collections::BTreeSet::new();
            for hash in (0..100).map(HashTable::next) {
                let first = pick(hash, 0, &[]);
                let second = pick(hash, 0, &[first]);
                assert_eq!((pick(hash, 1, &[]), pick(hash, 1, &[first])), (first, second));
                assert_eq!([first.port(), second.port()].iter().sum::<u16>(), 4, "{first}, {second}");
                assert!([first, second].contains(&pick(hash, 2, &[first, second])));
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
            let picker = Picker::new(policy, &endpoints, Arc::default());
            let mut rng = Rng::with_seed(1);
            let tried = [endpoints[0].spec.address];
            let measured = allocation_counter::measure(|| {
                for (hash, tried) in [(None, &[][..]), (Some(7), &[]), (Some(7), &tried)] {
                    let picked = picker.pick(&endpoints, &mut rng, hash, tried).expect("an endpoint");
                    drop(picked.state.begin());
                }
            });
            assert_eq!(measured.count_total, 0);
        }
    }
}
