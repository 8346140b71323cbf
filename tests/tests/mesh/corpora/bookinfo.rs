//! The demo's own documents: which version of a service answers.

use std::collections::BTreeMap;
use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::{Decision, Explainer};
use serde_json::{Value, json};

use super::{Outcome, Tally, ask, cases, folder, items, outcome, read, same, text};

#[test]
fn bookinfo_does_what_its_documents_say() {
    let Some(folder) = folder("bookinfo") else { return };
    let platform = sources(&folder, "bookinfo/platform/kube");
    let mut tally = Tally::new("bookinfo");
    for set in cases(folder.join("cases.yaml")).as_array().expect("a list of sets") {
        let files: Vec<&str> = items(set, "apply").iter().filter_map(Value::as_str).collect();
        let applied = files.iter().map(|file| {
            let read = std::fs::read_to_string(folder.join(file)).expect("a file of the corpus");
            Source::file(*file, read)
        });
        let all: Vec<Source> = platform.iter().cloned().chain(applied).collect();
        for (index, case) in items(set, "cases").iter().enumerate() {
            let name = format!("{} [{index}]", files.last().copied().unwrap_or_default());
            tally.case(&name, outcome(run(&all, case)));
        }
    }
    tally.finish(19);
}

fn sources(folder: &Path, below: &str) -> Vec<Source> {
    let entries = std::fs::read_dir(folder.join(below)).expect("the platform's folder");
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let read = |file: &Path| std::fs::read_to_string(file).expect("a file of the corpus");
    files.iter().map(|file| Source::file(file.display().to_string(), read(file))).collect()
}

fn run(sources: &[Source], case: &Value) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(sources)?);
    let (request, expect) = (&case["request"], &case["expect"]);
    let url = format!("http://{}:{}{}", text(request, "host"), request["port"], text(request, "path"));
    let headers = request["headers"].as_object().into_iter().flatten();
    let headers: Vec<(String, Value)> = headers.map(|(name, value)| (name.clone(), value.clone())).collect();
    let from = json!({"service_account": "bookinfo-productpage"});
    let decision = ask(&mut explainer, json!({"url": url, "headers": headers, "from": from}))?;
    let inbound = decision.inbound.as_ref().and_then(|inbound| inbound.status);
    same("the status", decision.status.or(inbound).map(u64::from), expect["status"].as_u64())?;
    let odds = versions(&decision);
    if let Some(backend) = expect["backend"].as_str() {
        // A backend of the Gateway API is a service that is named with its version.
        let is_meant = |(service, version): &(String, String)| {
            service == backend || format!("{service}-{version}") == backend
        };
        same("another backend", odds.keys().find(|key| !is_meant(key)), None)?;
    }
    if let Some(subset) = expect["subset"].as_str() {
        let other = odds.keys().find(|(_, version)| version != subset);
        same("another subset", other, None)?;
    }
    let wanted = expect["subset_distribution"].as_object().or(expect["distribution"].as_object());
    for (subset, share) in wanted.into_iter().flatten() {
        let is_meant = |(service, version): &(String, String)| {
            version == subset || format!("{service}-{version}") == *subset
        };
        let found: f64 = odds.iter().filter(|(key, _)| is_meant(key)).map(|(_, odds)| odds).sum();
        let thousandths = |share: f64| (share * 1000.0).round() as u64;
        same(subset, Some(thousandths(found)), share.as_f64().map(thousandths))?;
    }
    Ok(())
}

/// The odds of each version, by the names that the demo gives its Deployments: `reviews-v1`.
fn versions(decision: &Decision) -> BTreeMap<(String, String), f64> {
    let mut odds = BTreeMap::new();
    for destination in &decision.destinations {
        let count = destination.endpoints.len() as f64;
        for endpoint in destination.endpoints.iter().filter(|_| destination.odds > 0.0) {
            let workload = endpoint.workload.as_deref().unwrap_or_default();
            let name = workload.rsplit('/').next().unwrap_or_default();
            let (service, version) = name.split_once('-').unwrap_or((name, ""));
            *odds.entry((service.to_owned(), version.to_owned())).or_default() += destination.odds / count;
        }
    }
    odds
}
