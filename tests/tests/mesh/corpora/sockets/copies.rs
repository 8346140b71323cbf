//! The mirrors of a decision, and the copies that came to them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use control_plane::explain::{Decision, Mirror, Outcome as Answer};
use mesh_tests::Recorder;

use super::super::{Outcome, same};
use super::agreement::addresses;
use super::call::Called;

/// So many calls show whether a mirror of some percentage gets some and not all: one of 20 % misses all of them once in a million.
const CALLS_OF_A_SHARE: usize = 60;
const LATE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// The copies of one request, made again and again.
pub(super) struct Copies {
    mirrors: Vec<(f64, BTreeSet<SocketAddr>)>,
    calls: Vec<String>,
}

impl Copies {
    pub(super) fn new(decision: &Decision, serving: impl Fn(&Mirror) -> BTreeSet<SocketAddr>) -> Self {
        let forwards = decision.outcome == Answer::Forward;
        let mirrors = decision.mirrors.iter().filter(|_| forwards);
        Self { mirrors: mirrors.map(|one| (one.percentage, serving(one))).collect(), calls: Vec::new() }
    }

    /// As many copies come of each call for certain.
    pub(super) fn sure(&self) -> usize {
        self.mirrors.iter().filter(|(percentage, served)| *percentage >= 100.0 && !served.is_empty()).count()
    }

    /// How many calls are to be made, where a share is to be seen.
    pub(super) fn calls_min(&self) -> Option<usize> {
        self.shares().next().map(|_| CALLS_OF_A_SHARE)
    }

    fn shares(&self) -> impl Iterator<Item = &BTreeSet<SocketAddr>> {
        let some = |percentage: f64| percentage > 0.0 && percentage < 100.0;
        self.mirrors.iter().filter(move |(percentage, _)| some(*percentage)).map(|(_, served)| served)
    }

    /// Each copy came to a mirror, and each mirror of all requests got one.
    pub(super) fn note(&mut self, called: &Called) -> Result<(), Outcome> {
        self.calls.push(called.id.clone());
        let mut left: Vec<SocketAddr> = called.copies.iter().map(|copy| copy.address).collect();
        for (percentage, served) in &self.mirrors {
            let copy = left.iter().position(|address| served.contains(address));
            if let Some(copy) = copy {
                left.swap_remove(copy);
            }
            if *percentage >= 100.0 && !served.is_empty() {
                same("a copy at each mirror", copy.is_some(), true)?;
            }
            if *percentage == 0.0 {
                same("a copy for a mirror of nothing", copy.is_some(), false)?;
            }
        }
        same("copies to nobody's mirror", left, Vec::new())
    }

    /// Each mirror of some requests got some, and not all.
    pub(super) async fn finish(&self, recorder: &Recorder) -> Result<(), Outcome> {
        for served in self.shares() {
            let start = Instant::now();
            let copied = loop {
                let of_call = |id: &&String| {
                    let reached =
                        recorder.received(id).into_iter().filter(|one| one.authority.contains("-shadow"));
                    !addresses(&reached.collect::<Vec<_>>()).is_disjoint(served)
                };
                let copied = self.calls.iter().filter(of_call).count();
                if copied > 0 || start.elapsed() > LATE {
                    break copied;
                }
                tokio::time::sleep(POLL).await;
            };
            let some = copied > 0 && copied < self.calls.len();
            same(&format!("whether {copied} of {} copies are some", self.calls.len()), some, true)?;
        }
        Ok(())
    }
}
