//! Documents to take or to refuse.

use control_plane::document::{DocumentSet, Verdict};
use serde_json::{Value, json};

use super::{Outcome, Tally, cases, first_error, folder, outcome, source, text};

#[test]
fn documents_are_taken_and_refused_as_by_istio() {
    let Some(folder) = folder("istio-crd-validation") else { return };
    let mut tally = Tally::new("istio-crd-validation");
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).expect("a folder").filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for file in files {
        let name = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let valid = name.ends_with("-valid");
        if !valid && !name.ends_with("-invalid") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("a file of the corpus");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).expect("YAML");
        for (index, mut document) in documents.into_iter().filter(|document| !document.is_null()).enumerate()
        {
            document.as_object_mut().map(|fields| fields.shift_remove("_err"));
            let called = document["metadata"]["name"].as_str().unwrap_or("nameless").to_owned();
            tally.case(&format!("{name} [{index}] {called}"), outcome(judge(&document, valid)));
        }
    }
    for case in cases(folder.join("webhook-cases.yaml")).as_array().expect("a list of cases") {
        if let Some(document) = whole(case) {
            let name = format!("webhook {} {}", text(case, "test"), text(case, "name"));
            tally.case(&name, outcome(judge(&document, case["valid"] == json!(true))));
        }
    }
    tally.finish(138);
}

/// The document of a case; a fragment stands inside one that is good otherwise.
fn whole(case: &Value) -> Option<Value> {
    let spec = &case["spec"];
    let destination = json!({"destination": {"host": "foo"}});
    let virtual_service = |rule: Value| json!({"hosts": ["foo.bar"], "http": [rule]});
    let destination_rule = |policy: Value| json!({"host": "reviews", "trafficPolicy": policy});
    let (kind, spec) = match case["fragment_of"].as_str() {
        None => (text(case, "kind"), spec.clone()),
        Some("VirtualService.spec.http[].retries") => {
            ("VirtualService", virtual_service(json!({"route": [destination], "retries": spec})))
        }
        Some("VirtualService.spec.http[].fault.abort") => {
            ("VirtualService", virtual_service(json!({"route": [destination], "fault": {"abort": spec}})))
        }
        Some("VirtualService.spec.http[].fault.delay") => {
            ("VirtualService", virtual_service(json!({"route": [destination], "fault": {"delay": spec}})))
        }
        Some("VirtualService.spec.http[].directResponse") => {
            ("VirtualService", virtual_service(json!({"directResponse": spec})))
        }
        Some("VirtualService.spec.http[].route[].destination") => {
            ("VirtualService", virtual_service(json!({"route": [{"destination": spec}]})))
        }
        Some("VirtualService.spec.tcp[].route") => {
            ("VirtualService", json!({"hosts": ["foo.bar"], "tcp": [{"route": spec}]}))
        }
        Some("DestinationRule.spec.trafficPolicy") => ("DestinationRule", destination_rule(spec.clone())),
        Some("DestinationRule.spec.trafficPolicy.loadBalancer") => {
            ("DestinationRule", destination_rule(json!({"loadBalancer": spec})))
        }
        Some("DestinationRule.spec.trafficPolicy.outlierDetection") => {
            ("DestinationRule", destination_rule(json!({"outlierDetection": spec})))
        }
        // Gateways are inert until there is an edge.
        Some(_) => return None,
    };
    let group = if matches!(kind, "PeerAuthentication" | "RequestAuthentication") {
        "security"
    } else {
        "networking"
    };
    let name = case["metadata_name"].as_str().unwrap_or("case");
    Some(json!({
        "apiVersion": format!("{group}.istio.io/v1"), "kind": kind,
        "metadata": {"name": name, "namespace": "default", "annotations": case.get("annotations").unwrap_or(&json!({}))},
        "spec": spec,
    }))
}

fn judge(document: &Value, valid: bool) -> Result<(), Outcome> {
    let reading = DocumentSet::read(&[source([document])]);
    let verdict = reading.verdict();
    let said = reading.reports.iter().map(first_error).collect::<Vec<_>>().join(", ");
    match (verdict, valid) {
        (Verdict::Invalid, false) | (Verdict::Valid | Verdict::Warning, true) => Ok(()),
        // A good document that the mesh cannot honour, and a bad one of which it knows no fields.
        (Verdict::Unsupported, _) => Err(Outcome::OutOfScope(said)),
        (verdict, true) => Err(Outcome::Wrong(format!("{verdict:?}, though good: {said}"))),
        (verdict, false) => Err(Outcome::Wrong(format!("{verdict:?}, though bad: {document}"))),
    }
}
