//! Which VirtualService or HTTPRoute speaks for a host.

use control_plane::document::Source;
use control_plane::explain::{Explainer, Outcome as Answer};
use serde_json::{Value, json};

use super::{Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

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

fn run(known: &Source, case: &Value, variant: &Value) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&[known.clone(), source(items(variant, "docs"))])?);
    for (host, cluster) in variant["expect_host_to_cluster"].as_object().into_iter().flatten() {
        let url = format!("http://{}:{}/", host.replace('*', "any"), case["port"]);
        let from = json!({"namespace": text(case, "client_namespace")});
        let decision = ask(&mut explainer, json!({"url": url, "from": from}))?;
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
