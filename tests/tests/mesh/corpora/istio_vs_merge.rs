//! Which VirtualService or HTTPRoute speaks for a host.

use std::path::Path;

use control_plane::document::Source;
use control_plane::explain::{Explainer, Outcome as Answer};
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

#[test]
fn one_document_speaks_for_a_host() {
    let Some(folder) = folder("istio-vs-merge") else { return };
    let corpus = cases(folder.join("cases.yaml"));
    let known = Source::file("known.yaml", text(&corpus, "known_services"));
    let mut tally = Tally::new("istio-vs-merge");
    for case in items(&corpus, "cases") {
        for variant in ["virtualservice", "httproute"].into_iter().filter(|variant| case[variant].is_object())
        {
            let name = format!("{} ({variant})", text(case, "name"));
            tally.case(&name, outcome(run(&known, case, &case[variant])));
        }
    }
    tally.finish(18);
}

/// The questions of the corpus, one for each host of a case.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    let corpus = cases(folder.join("cases.yaml"));
    let known = Source::file("known.yaml", text(&corpus, "known_services"));
    let mut all = Vec::new();
    for case in items(&corpus, "cases") {
        for variant in ["virtualservice", "httproute"] {
            let sources = vec![known.clone(), source(items(&case[variant], "docs"))];
            let hosts = case[variant]["expect_host_to_cluster"].as_object().into_iter().flatten();
            all.extend(hosts.map(|(host, _)| Asked {
                name: format!("{} ({variant}) {host}", text(case, "name")),
                sources: sources.clone(),
                question: question(case, host),
            }));
        }
    }
    all
}

fn question(case: &Value, host: &str) -> Value {
    let url = format!("http://{}:{}/", host.replace('*', "any"), case["port"]);
    json!({"url": url, "from": {"namespace": text(case, "client_namespace")}})
}

fn run(known: &Source, case: &Value, variant: &Value) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&[known.clone(), source(items(variant, "docs"))])?);
    for (host, cluster) in variant["expect_host_to_cluster"].as_object().into_iter().flatten() {
        let decision = ask(&mut explainer, question(case, host))?;
        let first = decision.destinations.first();
        let found = first.map(|one| {
            format!("outbound|{}|{}|{}", one.port, one.subset.as_deref().unwrap_or_default(), one.host)
        });
        same(host, found.as_deref(), cluster.as_str())?;
        if cluster.is_null() {
            same(host, decision.outcome, Answer::Passthrough)?;
        }
    }
    Ok(())
}
