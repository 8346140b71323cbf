//! The compiled matcher against a naive reference: random documents and random requests, each decided twice.
//!
//! The one way is the mesh's: read, translate, encode, decode, compile, decide. The other walks the rules as they were drawn, one
//! after the other, with comparisons of its own down to the regular expressions, so that the two share nothing but the question.

mod condition;
mod expression;
mod request;
mod table;

use std::collections::BTreeMap;
use std::env;

use fastrand::Rng;
use mesh_core::trace::NoTrace;

use condition::{Condition, Path};
use request::Request;
use table::Table;

const REQUESTS: u64 = 100_000;
/// Of each table; making one costs more than asking it.
const REQUESTS_PER_TABLE: u64 = 50;

/// `MESH_MATCHER_REQUESTS` says how many (the soak: 10⁷), `MESH_MATCHER_SEED` repeats a run.
#[test]
fn the_compiled_matcher_decides_as_a_naive_walk_does() {
    let number = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let requests = number("MESH_MATCHER_REQUESTS").unwrap_or(REQUESTS);
    let seed = number("MESH_MATCHER_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("MESH_MATCHER_SEED={seed}");
    let mut random = Rng::with_seed(seed);
    let mut tally = Tally::default();
    while tally.requests < requests {
        let table = Table::random(&mut random);
        let compiled = table.compiled();
        for _ in 0..REQUESTS_PER_TABLE {
            let request = match random.u8(0..8) {
                0 => Request::any(&mut random),
                _ => {
                    let (_, aim) = random.choice(&table.rules).expect("a table has rules");
                    Request::aimed(&mut random, aim)
                }
            };
            let expected = table.decide(&request);
            let decided = request.with_facts(|facts| {
                let route = compiled.decide(facts, &mut NoTrace)?;
                let of = &route.provenance;
                Some(format!("{} {}", of.document.as_deref()?, of.rule.as_deref()?))
            });
            let name = expected.map(|(name, _)| name.as_str());
            assert_eq!(decided.as_deref(), name, "MESH_MATCHER_SEED={seed}: {request:?}\n{table:#?}");
            tally.count(&table, expected);
        }
    }
    tally.report();
    tally.is_not_degenerate();
}

/// How often what was decided.
#[derive(Default)]
struct Tally {
    requests: u64,
    hits: u64,
    /// Where a rule before the deciding one had to be passed by.
    passed_by: u64,
    by: BTreeMap<&'static str, u64>,
}

impl Tally {
    fn count(&mut self, table: &Table, decided: Option<&(String, Condition)>) {
        self.requests += 1;
        let Some((name, condition)) = decided else { return };
        self.hits += 1;
        self.passed_by += u64::from(table.rules[0].0 != *name);
        let path = match &condition.path {
            None => "no path",
            Some(Path::Exact(_)) if condition.ignore_case => "exact, any case",
            Some(Path::Exact(_)) => "exact",
            Some(Path::Prefix(_)) if condition.ignore_case => "prefix, any case",
            Some(Path::Prefix(_)) => "prefix",
            Some(Path::Segments(_)) => "segments",
            Some(Path::Regex(_)) => "regex",
        };
        let parts = [
            (path, true),
            ("headers", !condition.headers.is_empty()),
            ("withoutHeaders", !condition.without_headers.is_empty()),
            ("queryParams", !condition.query.is_empty()),
        ];
        for (part, _) in parts.into_iter().filter(|(_, there)| *there) {
            *self.by.entry(part).or_default() += 1;
        }
    }

    fn report(&self) {
        let percent = |count: u64| 100.0 * count as f64 / self.requests as f64;
        println!(
            "{} requests, {:.1} % taken by a rule, {:.1} % not by the first",
            self.requests,
            percent(self.hits),
            percent(self.passed_by)
        );
        for (what, count) in &self.by {
            println!("  {:>5.1} % by a rule with {what}", percent(*count));
        }
    }

    /// A test that always misses, or always meets the first rule, would show nothing.
    fn is_not_degenerate(&self) {
        assert!(self.hits * 10 > self.requests * 5 && self.hits * 100 < self.requests * 95, "hits");
        assert!(self.passed_by * 10 > self.requests * 2, "rules that are passed by");
        assert_eq!(self.by.len(), 10, "kinds of conditions that decided: {:?}", self.by);
        assert!(self.by.values().all(|count| count * 200 > self.requests), "each kind decides sometimes");
    }
}
