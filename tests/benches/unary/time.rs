//! Calls per second, as ratios within rounds.

use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::contender::{Contender, Kind};
use super::fleet::Fleet;

const ROUNDS: usize = 60;
/// How many call at the same time, and how many calls they make in a round together.
const LOADS: [Load; 2] = [Load { callers: 1, calls: 1_600 }, Load { callers: 16, calls: 6_400 }];

struct Load {
    callers: usize,
    calls: usize,
}

/// Measures and prints.
pub(super) fn print() {
    let (callers, servers) = (one_worker(), one_worker());
    let fleet = Fleet::start(&callers, &servers);
    let contenders = Kind::ALL.map(|kind| fleet.contender(&callers, kind));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("one unary gRPC call over mTLS, one connection, {ROUNDS} rounds, {cores} cores");
    for load in LOADS {
        let rounds: Vec<_> =
            (0..=ROUNDS).map(|round| times(&callers, &contenders, &load, round % 2 == 1)).collect();
        // The first one warms up.
        report(&load, &rounds[1..]);
    }
    fleet.assert_one_connection_each();
}

/// One round: the time of each contender, in [`Kind::ALL`]'s order, whichever went first.
fn times(callers: &Runtime, contenders: &[Contender; 3], load: &Load, turned: bool) -> [Duration; 3] {
    let mut times = [Duration::ZERO; 3];
    let mut order = [0, 1, 2];
    if turned {
        order.reverse();
    }
    for index in order {
        times[index] = callers.block_on(time(&contenders[index], load));
    }
    times
}

async fn time(contender: &Contender, load: &Load) -> Duration {
    let start = Instant::now();
    let callers: Vec<_> = (0..load.callers)
        .map(|_| {
            let mut contender = contender.clone();
            let calls = load.calls / load.callers;
            tokio::spawn(async move { contender.calls(calls).await })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no call fails");
    }
    start.elapsed()
}

fn report(load: &Load, rounds: &[[Duration; 3]]) {
    println!("{} at a time", load.callers);
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        let [_, median, _] = quartiles(rounds.iter().map(|times| times[index].as_secs_f64()));
        println!("  {:<8} {:>8.0} calls/s", kind.name(), load.calls as f64 / median);
    }
    for (index, other, aim) in [(1, Kind::Tonic, "1.00"), (2, Kind::Hyper, "0.95")] {
        let ratios = rounds.iter().map(|times| times[index].as_secs_f64() / times[0].as_secs_f64());
        let [low, median, high] = quartiles(ratios);
        println!("  mesh:{:<6} {median:.3}  (quartiles {low:.3} to {high:.3}; aim ≥ {aim})", other.name());
    }
}

fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| values[(values.len() - 1) * quarter / 4])
}

fn one_worker() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}
