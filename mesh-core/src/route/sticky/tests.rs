//! What a sticky split promises, over 100,000 keys: shares by weight, no move against the weights, routes independent.

use std::sync::Arc;

use super::super::HeaderOperations;
use super::*;

const KEYS: u32 = 100_000;

fn destination(name: &str, weight: u32) -> WeightedDestination {
    WeightedDestination {
        cluster: Arc::from(name),
        cluster_index: 0,
        weight,
        authority: None,
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    }
}

/// Versions `v0`, `v1`, … of these weights.
fn destinations(weights: &[u32]) -> Vec<WeightedDestination> {
    weights.iter().enumerate().map(|(at, weight)| destination(&format!("v{at}"), *weight)).collect()
}

/// The version that each key meets.
fn choices(salt: &str, destinations: &[WeightedDestination]) -> Vec<usize> {
    let sticky = Sticky::new(StickyKey::Identity, salt, destinations);
    let choose = |user: u32| sticky.choose(destinations, format!("user-{user}").as_bytes());
    (0..KEYS).map(|user| choose(user).expect("a weight above 0")).collect()
}

#[test]
fn keys_fall_by_weight() {
    let check = |weights: &[u32]| {
        let chosen = choices("VirtualService/default/reviews", &destinations(weights));
        let total: u32 = weights.iter().sum();
        for (at, weight) in weights.iter().enumerate() {
            let share = f64::from(*weight) / f64::from(total);
            let expected = share * f64::from(KEYS);
            let sigma = (expected * (1.0 - share)).sqrt();
            let seen = chosen.iter().filter(|one| **one == at).count() as f64;
            assert!((seen - expected).abs() <= 3.0 * sigma, "{weights:?}[{at}]: {seen}, not {expected}");
        }
    };
    check(&[50, 50]);
    check(&[90, 10]);
    check(&[999, 1]);
    check(&[1_000_000, 500]);
    check(&[1, 0, 2, 3]);
    check(&[7, 7, 7, 7, 7]);
}

/// Weights one after the other; the key that moves must have been drawn by a weight that rose against its own.
#[test]
fn a_key_moves_only_to_a_weight_that_rose_against_its_own() {
    let check = |steps: &[&[u32]]| {
        for pair in steps.windows(2) {
            let [old, new] = [pair[0], pair[1]].map(|weights| choices("route", &destinations(weights)));
            for (from, to) in old.into_iter().zip(new).filter(|(from, to)| from != to) {
                let before = u64::from(pair[0][to]) * u64::from(pair[1][from]);
                let after = u64::from(pair[1][to]) * u64::from(pair[0][from]);
                assert!(after > before, "{pair:?}: a key moved from {from} to {to}");
            }
        }
    };
    check(&[&[90, 10], &[75, 25], &[50, 50], &[0, 100], &[60, 40]]);
    check(&[&[100, 0, 0], &[90, 5, 5], &[50, 40, 10], &[0, 60, 40], &[33, 33, 34]]);
    check(&[&[1, 2, 3, 4, 5], &[5, 4, 3, 2, 1], &[1, 1_000_000, 1, 0, 7], &[u32::MAX, 1, 1, 1, 1]]);
}

#[test]
fn the_same_weights_in_other_numbers_or_another_order_move_nobody() {
    let chosen = |weights: &[u32]| choices("route", &destinations(weights));
    assert_eq!(chosen(&[1, 3, 6]), chosen(&[10, 30, 60]));
    assert_eq!(chosen(&[1, 3, 6]), chosen(&[7, 21, 42]));
    let reversed: Vec<_> = destinations(&[1, 3, 6]).into_iter().rev().collect();
    let back = choices("route", &reversed).into_iter().map(|at| 2 - at);
    assert_eq!(chosen(&[1, 3, 6]), back.collect::<Vec<_>>());
}

/// Pearson's test on the table of what two routes chose for the same keys; 10.83 is passed by chance once in a thousand.
#[test]
fn two_routes_choose_independently() {
    let check = |one: &str, other: &str| {
        let destinations = destinations(&[50, 50]);
        let (one, other) = (choices(one, &destinations), choices(other, &destinations));
        let mut table = [[0.0_f64; 2]; 2];
        one.iter().zip(&other).for_each(|(one, other)| table[*one][*other] += 1.0);
        let deviation: f64 = (0..4)
            .map(|cell| {
                let (row, column) = (cell / 2, cell % 2);
                let expected =
                    (table[row][0] + table[row][1]) * (table[0][column] + table[1][column]) / f64::from(KEYS);
                (table[row][column] - expected).powi(2) / expected
            })
            .sum();
        assert!(deviation < 10.83, "{table:?}: {deviation}");
    };
    check("VirtualService/default/reviews", "VirtualService/default/ratings");
    check("VirtualService/default/reviews", "HTTPRoute/default/reviews");
    check("a", "b");
}

#[test]
fn a_destination_that_stands_twice_has_both_shares() {
    let chosen = choices("route", &[destination("v1", 50), destination("v1", 50)]);
    let first = chosen.iter().filter(|at| **at == 0).count() as f64;
    assert!((first - 50_000.0).abs() <= 3.0 * (f64::from(KEYS) / 4.0).sqrt(), "{first}");
}

/// Another version of ours must choose alike, so these may never change.
#[test]
fn choices_are_the_same_for_ever() {
    let destinations = destinations(&[50, 30, 20]);
    let sticky = Sticky::new(StickyKey::Identity, "VirtualService/default/reviews", &destinations);
    let chosen: Vec<_> =
        (0..24).filter_map(|user: u32| sticky.choose(&destinations, &user.to_le_bytes())).collect();
    assert_eq!(chosen, [0, 2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 2, 0, 1, 2, 0, 2, 2, 2, 0, 0, 0]);
}

#[test]
fn all_weights_nought_is_nobody() {
    let destinations = destinations(&[0, 0]);
    assert_eq!(Sticky::new(StickyKey::Identity, "route", &destinations).choose(&destinations, b"key"), None);
}

#[test]
fn a_drawn_key_leads_back_to_what_was_drawn() {
    let destinations = destinations(&[998, 1, 1]);
    let sticky = Sticky::new(StickyKey::Cookie("uid".into()), "route", &destinations);
    for (drawn, draw) in [(0, 0.0), (1, 0.9985), (2, 0.9995), (0, 0.5)] {
        let (key, met) = sticky.key_for(&destinations, drawn, draw);
        assert_eq!((met, sticky.choose(&destinations, key.as_bytes())), (drawn, Some(drawn)));
        assert_eq!(HexNumber::parse(key.as_bytes()), Some(key));
        let told = set_cookie("uid", key.as_str(), None);
        assert_eq!(told, format!("uid={}; Path=/; HttpOnly", key.as_str()));
    }
}

#[test]
fn the_logarithm_is_the_systems_to_its_last_places() {
    for power in 0..53 {
        for odd in
            [1_u64, 3, 5, 1_000_003].map(|odd| (odd << power) & ((1 << 53) - 1)).map(|number| number | 1)
        {
            let number = odd as f64;
            assert!((ln(number) - number.ln()).abs() <= 1e-15 * number.ln().max(1.0), "{number}");
        }
    }
}
