//! The demo's own documents: which version of a service answers.

mod cases;

use std::collections::BTreeMap;
use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::{Decision, Explainer};
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, folder, outcome, read, same};

pub(crate) use cases::{Case, Set, sets};

#[test]
fn bookinfo_does_what_its_documents_say() {
    let Some(folder) = folder("bookinfo") else { return };
    let mut tally = Tally::new("bookinfo");
    for (asked, case) in all(&folder) {
        tally.case(&asked.name, outcome(run(&asked, &case)));
    }
    tally.finish(31);
}

/// The questions of the corpus.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    all(folder).into_iter().map(|(asked, _)| asked).collect()
}

fn all(folder: &Path) -> Vec<(Asked, Case)> {
    let platform = sources(folder, "bookinfo/platform/kube");
    let mut asked = Vec::new();
    for set in sets(folder) {
        let applied = set.apply.iter().map(|file| {
            let read = std::fs::read_to_string(folder.join(file)).expect("a file of the corpus");
            Source::file(file, read)
        });
        let sources: Vec<Source> = platform.iter().cloned().chain(applied).collect();
        let names: Vec<String> = (0..set.cases.len()).map(|index| set.name(index)).collect();
        asked.extend(
            names.into_iter().zip(set.cases).map(|(name, case)| {
                (Asked { name, sources: sources.clone(), question: question(&case) }, case)
            }),
        );
    }
    asked
}

fn sources(folder: &Path, below: &str) -> Vec<Source> {
    let entries = std::fs::read_dir(folder.join(below)).expect("the platform's folder");
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let read = |file: &Path| std::fs::read_to_string(file).expect("a file of the corpus");
    files.iter().map(|file| Source::file(file.display().to_string(), read(file))).collect()
}

fn question(case: &Case) -> Value {
    let headers: Vec<_> = case.request.headers.iter().collect();
    let from = json!({"service_account": "bookinfo-productpage"});
    json!({"url": case.request.url(), "headers": headers, "from": from})
}

fn run(asked: &Asked, case: &Case) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&asked.sources)?);
    let decision = ask(&mut explainer, asked.question.clone())?;
    let inbound = decision.inbound.as_ref().and_then(|inbound| inbound.status);
    same("the status", decision.status.or(inbound), Some(case.expect.status))?;
    if !case.expect.reaches_backend {
        return same("who is asked", decision.inbound.is_some(), false);
    }
    let thousandths = |shares: BTreeMap<String, f64>| -> BTreeMap<String, u64> {
        shares.into_iter().map(|(name, share)| (name, (share * 1000.0).round() as u64)).collect()
    };
    same("who answers", thousandths(odds(&decision)), thousandths(case.shares()))
}

/// The odds of each workload.
fn odds(decision: &Decision) -> BTreeMap<String, f64> {
    let mut odds = BTreeMap::new();
    for destination in &decision.destinations {
        let count = destination.endpoints.len() as f64;
        for endpoint in destination.endpoints.iter().filter(|_| destination.odds > 0.0) {
            let workload = endpoint.workload.as_deref().unwrap_or_default();
            let name = workload.rsplit('/').next().unwrap_or_default();
            *odds.entry(name.to_owned()).or_default() += destination.odds / count;
        }
    }
    odds
}
