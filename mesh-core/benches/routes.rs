//! What it costs to find the rule of a request, by the number of rules: `cargo bench -p mesh-core --bench routes`.
//!
//! Half of the rules are exact paths and half are prefixes, in a shuffled order, or all are expressions; requests ask for each
//! rule in turn. Beside each table stands a walk through the same rules in order, for scale. Times are medians of interleaved
//! rounds and worth comparing within one run only; instructions and allocations are counts.

use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use mesh_core::canonical::{PathNormalization, canonicalize_uri};
use mesh_core::matcher::{FullMatch, Text};
use mesh_core::resource::Provenance;
use mesh_core::route::{
    DirectResponse, HeaderOperations, PathMatch, RequestFacts, Route, RouteAction, RouteFilters, RouteMatch,
    RouteTable,
};
use mesh_core::trace::NoTrace;

const ROUNDS: usize = 31;
const DECISIONS: usize = 10_000;
const COUNTED: usize = 1_000;

#[derive(Debug, Clone, Copy)]
enum Paths {
    Plain,
    Expressions,
}

const TABLES: [(&str, Paths, usize); 5] = [
    ("10 rules", Paths::Plain, 10),
    ("100 rules", Paths::Plain, 100),
    ("1,000 rules", Paths::Plain, 1_000),
    ("10 expressions", Paths::Expressions, 10),
    ("100 expressions", Paths::Expressions, 100),
];

/// Rules, and requests of which each finds one.
struct Case {
    table: RouteTable,
    uris: Vec<Uri>,
    headers: HeaderMap,
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, child, index, walk] = arguments.as_slice()
        && child == CHILD
    {
        let (_, paths, rules) = TABLES[index.parse::<usize>().expect("an index")];
        return to_count(&Case::new(paths, rules), walk == "walk");
    }
    println!(
        "{:<16} {:>9} {:>9} {:>9} {:>13} {:>13}",
        "", "ns", "walk ns", "allocs", "instructions", "walk instr."
    );
    let mut first = None;
    for (index, (name, paths, rules)) in TABLES.into_iter().enumerate() {
        let case = Case::new(paths, rules);
        let (decided, walked) = case.times();
        let allocations = allocation_counter::measure(|| to_count(&case, false)).count_total;
        let [instructions, walk] = ["decide", "walk"].map(|way| under_callgrind(index, way));
        let per_call = allocations as f64 / COUNTED as f64;
        println!(
            "{name:<16} {decided:>9.0} {walked:>9.0} {per_call:>9.2} {:>13} {:>13}",
            shown(instructions),
            shown(walk)
        );
        if matches!(paths, Paths::Plain) {
            let base = *first.get_or_insert(decided);
            println!("{:<16} {:>8.2}× of 10 rules (aim ≤ 2)", "", decided / base);
        }
    }
}

impl Case {
    fn new(paths: Paths, rules: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(rules as u64);
        let mut numbers: Vec<usize> = (0..rules).collect();
        random.shuffle(&mut numbers);
        let routes = numbers.iter().map(|number| route(paths, *number)).collect();
        let uris = numbers.iter().map(|number| {
            let uri = format!("http://reviews:9080/service{number}/v1/items?page=2");
            uri.parse().expect("a URI")
        });
        Self { table: RouteTable::new(routes), uris: uris.collect(), headers: HeaderMap::new() }
    }

    fn facts<'a>(&'a self, uri: &'a Uri, canonical: &'a mut Uri) -> RequestFacts<'a> {
        *canonical = uri.clone();
        let path = canonicalize_uri(canonical, PathNormalization::Base).expect("a canonical path");
        RequestFacts {
            method: &Method::GET,
            scheme: "http",
            authority: "reviews:9080",
            path,
            query: uri.query(),
            headers: &self.headers,
        }
    }

    /// Nanoseconds of a decision, and of a walk through the rules.
    fn times(&self) -> (f64, f64) {
        let mut rounds: Vec<[f64; 2]> =
            (0..ROUNDS).map(|_| [false, true].map(|walk| self.time(walk))).collect();
        let mut median = |way: usize| {
            rounds.sort_by(|one, other| one[way].total_cmp(&other[way]));
            rounds[ROUNDS / 2][way]
        };
        (median(0), median(1))
    }

    fn time(&self, walk: bool) -> f64 {
        let start = Instant::now();
        self.decide(DECISIONS, walk);
        start.elapsed().as_nanos() as f64 / DECISIONS as f64
    }

    fn decide(&self, times: usize, walk: bool) {
        let mut canonical = Uri::default();
        for uri in self.uris.iter().cycle().take(times) {
            let facts = self.facts(uri, &mut canonical);
            let found = if walk {
                self.table.routes().iter().find(|route| route.condition.matches(&facts))
            } else {
                self.table.decide(&facts, &mut NoTrace)
            };
            black_box(found).expect("each request has its rule");
        }
    }
}

fn route(paths: Paths, number: usize) -> Route {
    let text = |text: String| Text { text: text.into(), ignore_case: false };
    let path = match paths {
        Paths::Expressions => {
            let expression = format!("/service{number}/v[0-9]+/.*");
            PathMatch::Regex(FullMatch::new(&expression).expect("an expression"))
        }
        Paths::Plain if number.is_multiple_of(2) => {
            PathMatch::Exact(text(format!("/service{number}/v1/items")))
        }
        Paths::Plain => PathMatch::Prefix(text(format!("/service{number}/"))),
    };
    Route {
        condition: RouteMatch { path, ..RouteMatch::everything() },
        provenance: Provenance::default(),
        filters: RouteFilters::default(),
        action: RouteAction::DirectResponse(DirectResponse { status: StatusCode::OK, body: Bytes::new() }),
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    }
}

/// Never inlined, since callgrind finds it by its name and counts from its beginning to its end.
#[inline(never)]
fn to_count(case: &Case, walk: bool) {
    case.decide(COUNTED, walk);
}

/// Instructions of a decision; the canonical path is made anew for each and is in all the figures alike.
fn under_callgrind(index: usize, way: &str) -> Option<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*to_count*"])
        .arg(std::env::current_exe().ok()?)
        .args([CHILD, &index.to_string(), way])
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected: u64 =
        said.lines().find_map(|line| line.split("Collected : ").nth(1)?.trim().parse().ok())?;
    Some(collected / COUNTED as u64)
}

fn shown(instructions: Option<u64>) -> String {
    instructions.map_or_else(|| "not measured".to_owned(), |count| count.to_string())
}

/// The first word of a child's arguments.
const CHILD: &str = "under-callgrind";
