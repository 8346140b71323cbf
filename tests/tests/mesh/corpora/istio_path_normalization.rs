//! What a server makes of a path, at each level.

use std::path::Path;

use control_plane::document::DocumentSet;
use control_plane::explain::{Explainer, Verdict};
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, cases, folder, items, outcome, same, text};

#[test]
fn paths_are_made_canonical_as_in_istio() {
    let Some(folder) = folder("istio-path-normalization") else { return };
    let mut tally = Tally::new("istio-path-normalization");
    let mut explainer = Explainer::offline(DocumentSet::default());
    for (group, level) in cases(folder.join("cases.yaml")).as_object().expect("groups") {
        for pair in items(level, "expect") {
            let (sent, seen) = (pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default());
            let name = format!("{group} {sent}");
            tally.case(&name, outcome(run(&mut explainer, text(level, "normalization"), sent, seen)));
        }
    }
    tally.finish(171);
}

/// The questions of the corpus.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    let mut all = Vec::new();
    for (group, level) in cases(folder.join("cases.yaml")).as_object().expect("groups") {
        all.extend(items(level, "expect").iter().map(|pair| {
            let sent = pair[0].as_str().unwrap_or_default();
            let question = question(text(level, "normalization"), sent);
            Asked { name: format!("{group} {sent}"), sources: Vec::new(), question }
        }));
    }
    all
}

fn question(level: &str, sent: &str) -> Value {
    json!({
        "url": format!("http://b{sent}"), "inbound_only": true, "at": {"namespace": "ns1", "labels": {"app": "b"}},
        "mesh": {"path_normalization": level},
    })
}

fn run(explainer: &mut Explainer, level: &str, sent: &str, seen: &str) -> Result<(), Outcome> {
    let decision = ask(explainer, question(level, sent))?;
    let inbound = decision.inbound.ok_or_else(|| Outcome::Wrong("no inbound side".to_owned()))?;
    if seen == "400" {
        same("the status", (inbound.status, inbound.decision), (Some(400), Verdict::Deny))
    } else {
        same("the path", inbound.request.map(|request| request.path), Some(seen.to_owned()))
    }
}
