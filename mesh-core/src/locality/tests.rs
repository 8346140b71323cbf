use std::collections::BTreeMap;

use super::*;

type Labels = BTreeMap<String, String>;

fn labels(text: &str) -> Labels {
    let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn place<'a>(locality: &'a str, labels: &'a Labels) -> Place<'a> {
    Place { locality: Some(locality).filter(|locality| !locality.is_empty()), labels }
}

/// Endpoints are `region/zone/subzone` or `-`, with their labels after that; expected is `PRIORITY`, `PRIORITY:WEIGHT` or `-`.
#[track_caller]
fn check(preference: &Preference, caller: (&str, &str), rows: &[(&str, &str)]) {
    let said: Vec<(&str, Labels)> = rows
        .iter()
        .map(|(endpoint, _)| {
            let (locality, rest) = endpoint.split_once(' ').unwrap_or((endpoint, ""));
            (locality.trim_matches('-'), labels(rest))
        })
        .collect();
    let candidate =
        |(locality, labels)| Candidate { place: place(locality, labels), weight: 1, healthy: true };
    let endpoints: Vec<Candidate<'_>> =
        said.iter().map(|(locality, labels)| candidate((*locality, labels))).collect();
    let own = labels(caller.1);
    let found = preference.standings(true, place(caller.0, &own), &endpoints);
    let words = |standing: &Option<Standing>| match standing {
        None => "-".to_owned(),
        Some(Standing { priority, locality_weight: None }) => priority.to_string(),
        Some(Standing { priority, locality_weight: Some(weight) }) => format!("{priority}:{weight}"),
    };
    let found: Vec<String> = found.iter().map(words).collect();
    let expected: Vec<&str> = rows.iter().map(|(_, expected)| *expected).collect();
    assert_eq!(found, expected, "{preference:?}");
}

fn by_locality(failover: &[(&str, &str)], priority: &[&str]) -> Preference {
    Preference::Locality(LocalitySetting {
        failover: regions(failover),
        failover_priority: priority.iter().map(ToString::to_string).collect(),
        ..LocalitySetting::default()
    })
}

fn regions(failover: &[(&str, &str)]) -> Vec<Failover> {
    let rule = |(from, to): &(&str, &str)| Failover { from: (*from).to_owned(), to: (*to).to_owned() };
    failover.iter().map(rule).collect()
}

fn distribute(from: &str, to: &[(&str, u32)]) -> Preference {
    let to = to.iter().map(|(locality, share)| ((*locality).to_owned(), *share)).collect();
    Preference::Locality(LocalitySetting {
        distribute: vec![Distribute { from: from.to_owned(), to }],
        ..LocalitySetting::default()
    })
}

#[test]
fn the_nearer_ones_come_first() {
    let rows = [
        ("r1/z1/s1", "0"),
        ("r1/z1/s2", "1"),
        ("r1/z2/s1", "2"),
        ("r2/z1/s1", "3"),
        ("r3/z1/s1", "4"),
        ("-", "4"),
    ];
    check(&by_locality(&[("r1", "r2")], &[]), ("r1/z1/s1", ""), &rows);
    let without = [("r1/z1/s1", "0"), ("r2/z1/s1", "1"), ("r3/z1/s1", "1"), ("-", "2")];
    check(&by_locality(&[], &[]), ("r1/z1/s1", ""), &without);
    check(&by_locality(&[("r9", "r2")], &[]), ("r1/z1/s1", ""), &without);
    check(&by_locality(&[], &[]), ("", ""), &[("r1/z1/s1", "0"), ("-", "0")]);
}

#[test]
fn labels_count_in_their_order() {
    let keys = ["version", "topology.kubernetes.io/zone"];
    let rows =
        [("r1/z1 version=v1", "0"), ("r1/z2 version=v1", "1"), ("r1/z1 version=v2", "2"), ("r1/z1", "2")];
    check(&by_locality(&[], &keys), ("r1/z1", "version=v1"), &rows);
    let rows = [("r1/z1 version=v1", "1"), ("r1/z1 version=v2", "0")];
    check(&by_locality(&[], &["version=v2"]), ("r1/z1", "version=v1"), &rows);
    check(&by_locality(&[], &["version=v2"]), ("", ""), &rows);
    check(&by_locality(&[], &keys), ("", ""), &[("r1/z1 version=v1", "0"), ("-", "0")]);
}

#[test]
fn a_network_that_comes_first_is_a_row_of_its_own() {
    let keys = [NETWORK, "topology.kubernetes.io/zone"];
    let rows = [
        ("r1/z1 topology.istio.io/network=n1", "0"),
        ("r1/z2 topology.istio.io/network=n1", "1"),
        ("r1/z1 topology.istio.io/network=n2", "2"),
        ("r1/z2 topology.istio.io/network=n2", "3"),
    ];
    check(&by_locality(&[], &keys), ("r1/z1", "topology.istio.io/network=n1"), &rows);
}

#[test]
fn nearness_comes_within_labels() {
    let rows = [
        ("r1/z1/s1 n=1", "3"),
        ("r1/z2/s2 n=2 c=2", "0"),
        ("r2/z2/s2 n=1", "4"),
        ("r3/z3/s3 n=2 c=4", "2"),
        ("r2/z2/s2 n=2 c=2", "1"),
        ("r3/z3/s3 n=1", "5"),
    ];
    check(&by_locality(&[("r1", "r2")], &["n", "c"]), ("r1/z1/s1", "n=2 c=2"), &rows);
}

#[test]
fn shares_are_divided_among_localities() {
    let shares = [("r1/z1/*", 80), ("r1/z2", 15), ("r1/*", 5)];
    let rows = [
        ("r1/z1/s1", "0:54"),
        ("r1/z1/s1", "0:54"),
        ("r1/z1/s2", "0:27"),
        ("r1/z2/s1", "0:15"),
        ("r1/z3/s1", "0:5"),
        ("r2/z1/s1", "-"),
        ("-", "-"),
    ];
    check(&distribute("r1/*", &shares), ("r1/z1/s1", ""), &rows);
    check(&distribute("r2/*", &shares), ("r1/z1/s1", ""), &[("r1/z1", "0"), ("r2/z1", "0")]);
    check(&distribute("*", &[("*", 100)]), ("", ""), &[("r1/z1", "0:50"), ("-", "0:50")]);
}

fn zone_aware(failover: &[(&str, &str)], priority: &[&str]) -> Preference {
    Preference::ZoneAware(ZoneAwareSetting {
        failover: regions(failover),
        failover_priority: priority.iter().map(ToString::to_string).collect(),
        endpoints_min: 3,
        ..ZoneAwareSetting::default()
    })
}

#[test]
fn a_zone_keeps_what_it_can_bear() {
    let even = [
        ("r1/z1", "0"),
        ("r1/z1", "0"),
        ("r1/z2", "1"),
        ("r1/z2", "1"),
        ("r2/z1", "2"),
        ("r3/z1", "3"),
        ("-", "3"),
    ];
    check(&zone_aware(&[("r1", "r2")], &[]), ("r1/z1/s1", ""), &even);
    let few = [("r1/z1", "0"), ("r1/z2", "0"), ("r2/z1", "1"), ("r3/z1", "1"), ("-", "2")];
    check(&zone_aware(&[], &[]), ("r1/z1", ""), &few);
    // A quarter of the endpoints bears half of what half of the callers ask.
    let little = [
        ("r1/z1", "0:5000"),
        ("r1/z2/s1", "0:1667"),
        ("r1/z2/s2", "0:3334"),
        ("r1/z2/s2", "0:3334"),
        ("r2/z1", "1"),
    ];
    check(&zone_aware(&[], &[]), ("r1/z1", ""), &little);
    let labelled = [("r1/z1 a=1", "1"), ("r1/z2", "0"), ("r1/z1", "0"), ("r1/z2", "0")];
    check(&zone_aware(&[], &["a=0"]), ("", ""), &[("r1/z1 a=1", "1"), ("r1/z1 a=0", "0")]);
    check(&zone_aware(&[], &["a"]), ("r1/z3", "b=1"), &labelled);
    check(&zone_aware(&[], &[]), ("", ""), &[("r1/z1", "0"), ("r2/z1", "0")]);
}

#[test]
fn a_caller_is_asked_only_for_what_matters() {
    let asks = |preference: &Preference, fails_over| {
        (preference.asks_locality(fails_over), preference.asks_labels(fails_over))
    };
    let locality = by_locality(&[], &[]);
    assert_eq!((asks(&locality, false), asks(&locality, true)), ((false, false), (true, false)));
    assert_eq!(asks(&by_locality(&[], &["a"]), true), (true, true));
    assert_eq!(asks(&by_locality(&[], &["a"]), false), (false, false));
    assert_eq!(asks(&distribute("*", &[]), false), (true, false));
    assert_eq!(asks(&zone_aware(&[], &[]), false), (true, false));
    let place = Place { locality: Some("r1"), labels: &Labels::new() };
    let candidate = Candidate { place, weight: 1, healthy: true };
    assert_eq!(locality.standings(false, place, &[candidate]), [Some(Standing::default())]);
}
