//! Which endpoint a hashed key meets: a ring of points or Maglev's table, made once per change of the cluster.
//!
//! Both stand on the endpoints' addresses and weights alone, so that every process meets the same endpoint whatever the order
//! in which it was told of them. The functions are SipHash, and not Envoy's: callers of both kinds spread their keys alike,
//! but to different endpoints.

use std::net::SocketAddr;

use crate::route::{HashTableKind, SipHash, address_bytes};

/// The numbers of all keys, divided among members by weight.
#[derive(Debug)]
pub(super) enum HashTable {
    /// Points in order, and whose each of them is.
    Ring { points: Box<[u64]>, owners: Box<[u32]> },
    /// Whose each remainder is.
    Maglev(Box<[u32]>),
}

/// One to whom numbers may belong.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Made of its address, so that neither place nor neighbours matter.
    seed: u64,
    weight: u32,
}

impl Member {
    pub(super) fn new(address: SocketAddr, weight: u32) -> Self {
        Self { seed: MEMBERS.hash(&address_bytes(address)), weight }
    }
}

impl HashTable {
    /// `members` are not none.
    pub(super) fn new(kind: HashTableKind, members: &[Member]) -> Self {
        match kind {
            HashTableKind::Ring { points_min } => ring(points_min, members),
            HashTableKind::Maglev { entries } => Self::Maglev(maglev(entries, members)),
        }
    }

    /// The place of the member to whom a number belongs.
    pub(super) fn owner(&self, number: u64) -> usize {
        let owner = match self {
            Self::Ring { points, owners } => {
                let next = points.partition_point(|point| *point < number);
                owners[if next < owners.len() { next } else { 0 }]
            }
            Self::Maglev(owners) => owners[(number % owners.len() as u64) as usize],
        };
        owner as usize
    }

    /// The number of a key's next choice, for a request whose first one has failed.
    pub(super) fn next(number: u64) -> u64 {
        NEXT.hash(&number.to_le_bytes())
    }
}

/// A member of weight `unit` has so many points, whoever else is there: who joins takes keys and moves no others. Only where
/// the ring would grow too large, which happens once per doubling of the members, each has half as many.
fn ring(points_min: u32, members: &[Member]) -> HashTable {
    let count = members.len() as u64;
    let total: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let unit = 1_u64 << (total / count).max(1).ilog2();
    let points_min = u64::from(points_min.max(1)).next_power_of_two();
    let points_max = points_min.max(RING_POINTS);
    let mut each = points_min;
    while each > 1 && each * count.next_power_of_two() > points_max {
        each /= 2;
    }
    let mut ring: Vec<(u64, u64, u32)> = Vec::new();
    for (place, member) in (0..).zip(members) {
        let points = (each * u64::from(member.weight) / unit).max(1);
        let hash = SipHash::new(POINTS, member.seed);
        ring.extend((0..points).map(|point| (hash.hash(&point.to_le_bytes()), member.seed, place)));
    }
    ring.sort_unstable();
    HashTable::Ring {
        points: ring.iter().map(|(point, ..)| *point).collect(),
        owners: ring.iter().map(|(.., owner)| *owner).collect(),
    }
}

/// Eisenbud and others, "Maglev" (2016), §3.4: each member in turn takes the next free entry of its own order; those of less
/// weight sit out turns.
fn maglev(entries: u32, members: &[Member]) -> Box<[u32]> {
    let size = u64::from(entries.max(1));
    let order = |(place, member): (u32, &Member)| Order {
        place,
        seed: member.seed,
        weight: u64::from(member.weight),
        credit: 0,
        at: SipHash::new(OFFSETS, member.seed).hash(b"") % size,
        // Coprime to a prime size, so that the order comes to every entry.
        skip: SipHash::new(SKIPS, member.seed).hash(b"") % (size - 1).max(1) + 1,
    };
    let mut orders: Vec<Order> = (0..).zip(members).map(order).collect();
    orders.sort_unstable_by_key(|order| order.seed);
    let heaviest = orders.iter().map(|order| order.weight).max().unwrap_or(1).max(1);
    let mut table = vec![FREE; size as usize];
    let mut free = table.len();
    for turn in (0..orders.len()).cycle() {
        if free == 0 {
            break;
        }
        let order = &mut orders[turn];
        order.credit += order.weight;
        if order.credit >= heaviest {
            order.credit -= heaviest;
            while table[order.at as usize] != FREE {
                order.at = (order.at + order.skip) % size;
            }
            table[order.at as usize] = order.place;
            free -= 1;
        }
    }
    table.into()
}

/// In which order a member takes entries, and how far it has come.
struct Order {
    place: u32,
    seed: u64,
    weight: u64,
    credit: u64,
    at: u64,
    skip: u64,
}

/// As many points as a ring may have before each endpoint has fewer, unless a document wants more.
const RING_POINTS: u64 = 1 << 17;
const FREE: u32 = u32::MAX;
const MEMBERS: SipHash = SipHash::new(5, 0);
const NEXT: SipHash = SipHash::new(5, 1);
const POINTS: u64 = 6;
const OFFSETS: u64 = 7;
const SKIPS: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u64 = 10_000;
    const RING: HashTableKind = HashTableKind::Ring { points_min: 1024 };
    const MAGLEV: HashTableKind = HashTableKind::Maglev { entries: 65_537 };

    fn members(weights: impl IntoIterator<Item = u32>) -> Vec<Member> {
        let address = |last: u16| SocketAddr::from(([10, 0, 0, 1], last));
        (1..).zip(weights).map(|(last, weight)| Member::new(address(last), weight)).collect()
    }

    /// Whom each key meets, by the member's seed.
    fn met(kind: HashTableKind, members: &[Member]) -> Vec<u64> {
        let table = HashTable::new(kind, members);
        let number = |key: u64| SipHash::new(0, 0).hash(&key.to_le_bytes());
        (0..KEYS).map(|key| members[table.owner(number(key))].seed).collect()
    }

    #[track_caller]
    fn check_shares(kind: HashTableKind, weights: &[u32], tolerance: f64) {
        let members = members(weights.iter().copied());
        let met = met(kind, &members);
        let total: u32 = weights.iter().sum();
        for (member, weight) in members.iter().zip(weights) {
            let seen = met.iter().filter(|seed| **seed == member.seed).count() as f64;
            let wanted = KEYS as f64 * f64::from(*weight) / f64::from(total);
            assert!((seen - wanted).abs() < wanted * tolerance, "{kind:?} {weights:?}: {seen}, not {wanted}");
        }
    }

    #[test]
    fn keys_are_shared_by_weight() {
        for (kind, tolerance) in [(RING, 0.15), (MAGLEV, 0.12)] {
            check_shares(kind, &[1; 5], tolerance);
            check_shares(kind, &[100; 7], tolerance);
            check_shares(kind, &[6, 3, 1], tolerance);
            check_shares(kind, &[60, 30, 10, 30], tolerance);
        }
    }

    /// How many keys move when the last of `count` members joins or leaves, and how many of them neither to it nor from it.
    fn moves(kind: HashTableKind, count: usize) -> (f64, f64) {
        let all = members(std::iter::repeat_n(1, count));
        let (with, without) = (met(kind, &all), met(kind, &all[..count - 1]));
        let moved = || with.iter().zip(&without).filter(|(with, without)| with != without);
        let idle = moved().filter(|(with, _)| **with != all[count - 1].seed).count();
        (moved().count() as f64 / KEYS as f64, idle as f64 / KEYS as f64)
    }

    #[test]
    fn one_that_joins_or_leaves_moves_its_own_share_of_the_keys() {
        for count in [3, 6, 11, 100] {
            let share = 1.0 / count as f64;
            let (moved, idle) = moves(RING, count);
            assert!((moved - share).abs() < share * 0.2, "{count}: {moved}");
            assert_eq!(idle, 0.0, "of {count}, keys of nobody concerned moved");
            let (moved, idle) = moves(MAGLEV, count);
            assert!((moved - idle - share).abs() < share * 0.2, "{count}: {moved}");
            assert!(idle < 0.05, "of {count}, {idle} moved for nothing");
        }
    }

    #[test]
    fn the_order_in_which_members_are_told_does_not_matter() {
        let forth = members([1, 2, 3, 4]);
        let back: Vec<Member> = forth.iter().rev().copied().collect();
        for kind in [RING, MAGLEV] {
            assert_eq!(met(kind, &forth), met(kind, &back), "{kind:?}");
        }
    }

    #[test]
    fn small_tables_and_large_rings_have_an_owner_for_every_number() {
        let many = members(std::iter::repeat_n(1, 300));
        for kind in [
            HashTableKind::Ring { points_min: 0 },
            HashTableKind::Ring { points_min: 1 << 18 },
            HashTableKind::Maglev { entries: 1 },
            HashTableKind::Maglev { entries: 2 },
            HashTableKind::Maglev { entries: 251 },
        ] {
            let table = HashTable::new(kind, &many);
            for number in [0, 1, u64::MAX / 2, u64::MAX] {
                assert!(table.owner(number) < many.len(), "{kind:?}");
            }
        }
        let HashTable::Ring { points, .. } = HashTable::new(RING, &many) else { panic!("a ring") };
        assert!(points.len() as u64 <= RING_POINTS, "{}", points.len());
    }

    #[test]
    fn a_member_beside_a_far_heavier_one_keeps_a_place() {
        let members = members([1_000_000, 1]);
        let HashTable::Ring { owners, .. } = HashTable::new(RING, &members) else { panic!("a ring") };
        assert!(owners.contains(&1));
    }
}
