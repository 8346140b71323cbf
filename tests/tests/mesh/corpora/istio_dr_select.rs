//! Which DestinationRule applies, and which services and VirtualServices a caller sees.

use std::path::Path;
use std::sync::Arc;

use control_plane::document::Source;
use control_plane::explain::{Explainer, Outcome as Answer};
use control_plane::model::{Caller, Config, View, World};
use serde_json::{Value, json};

use super::{Asked, Outcome, Tally, ask, cases, folder, items, outcome, read, same, source, text};

#[test]
fn callers_see_what_is_exported_to_them() {
    let Some(folder) = folder("istio-dr-select") else { return };
    let corpus = cases(folder.join("cases.yaml"));
    let mut tally = Tally::new("istio-dr-select");
    for section in
        ["destination_rule_export_to", "destination_rule_merge", "destination_rule_workload_selector"]
    {
        for (index, case) in items(&corpus[section], "cases").iter().enumerate() {
            let outcome = outcome(destination_rule(items(&corpus[section], "docs"), case));
            tally.case(&format!("{section} [{index}]"), outcome);
        }
    }
    for (index, case) in items(&corpus["virtual_service_visibility"], "cases").iter().enumerate() {
        let documents = items(&corpus["virtual_service_visibility"], "docs");
        tally.case(
            &format!("virtual_service_visibility [{index}]"),
            outcome(virtual_services(documents, case)),
        );
    }
    for case in items(&corpus, "service_visibility") {
        tally.case(&format!("service_visibility {}", text(case, "name")), outcome(service(case)));
    }
    tally.finish(21);
}

/// The questions of the corpus; which DestinationRules apply is asked of the model, which is no question about a request.
pub(super) fn asked(folder: &Path) -> Vec<Asked> {
    let corpus = cases(folder.join("cases.yaml"));
    let mut all = Vec::new();
    let documents = items(&corpus["virtual_service_visibility"], "docs");
    for (index, case) in items(&corpus["virtual_service_visibility"], "cases").iter().enumerate() {
        let hosts = documents.iter().flat_map(|document| items(&document["spec"], "hosts"));
        all.extend(hosts.map(|host| Asked {
            name: format!("virtual_service_visibility [{index}] {}", host.as_str().unwrap_or_default()),
            sources: vec![routed(documents)],
            question: seen_by(case, host),
        }));
    }
    all.extend(items(&corpus, "service_visibility").iter().map(|case| Asked {
        name: format!("service_visibility {}", text(case, "name")),
        sources: vec![exported(case)],
        question: called_by(case),
    }));
    all
}

/// A service of some namespace, as the cases presume one.
fn entry(host: &str, namespace: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "called", "namespace": namespace},
        "spec": {"hosts": [host], "location": "MESH_INTERNAL", "resolution": "STATIC", "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
    })
}

fn destination_rule(documents: &[Value], case: &Value) -> Result<(), Outcome> {
    let host = text(case, "host");
    // Istio's validation refuses some of the lists that its own unit test uses; what they mean is what counts here.
    let documents: Vec<Value> = documents.iter().map(valid).collect();
    let namespace = case["service_namespace"].as_str().unwrap_or(text(case, "client_namespace"));
    let called = entry(host, namespace);
    let read = read(&[source(documents.iter().chain([&called]))])?;
    let world = World::offline(Arc::new(Config::new(&read)));
    let caller = Caller { namespace: text(case, "client_namespace").into(), ..Caller::default() };
    if let Some(merged) = case["expect_merged_from"].as_object() {
        return merged
            .iter()
            .try_for_each(|(rule, from)| selected(&world, &caller, host, &documents, rule, from));
    }
    let view = View::new(&caller);
    let service =
        world.service(&view, host).ok_or_else(|| Outcome::Wrong("the service is not seen".to_owned()))?;
    let rules = world.config().destination_rules(&view, service);
    let found: Vec<&str> = rules.subset_names().collect();
    if let [merged] = items(case, "expect_merged") {
        return same("the number of subsets", Some(found.len() as u64), merged["subset_count"].as_u64());
    }
    let expected: Vec<&str> = items(case, "expect_subsets").iter().filter_map(Value::as_str).collect();
    same("the subsets", found, expected)
}

/// A client with the labels that a rule selects obeys that rule and those that fill it, in this order.
fn selected(
    world: &World,
    caller: &Caller,
    host: &str,
    documents: &[Value],
    rule: &str,
    from: &Value,
) -> Result<(), Outcome> {
    let named = |document: &&Value| text(&document["metadata"], "name") == rule.to_ascii_lowercase();
    let selector =
        documents.iter().find(named).map(|document| &document["spec"]["workloadSelector"]["matchLabels"]);
    let labels = selector.and_then(Value::as_object).into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
    let caller = Caller { labels: Arc::new(labels.collect()), ..caller.clone() };
    let view = View::new(&caller);
    let service =
        world.service(&view, host).ok_or_else(|| Outcome::Wrong("the service is not seen".to_owned()))?;
    let applied = world.config().destination_rules(&view, service);
    let applied: Vec<_> = applied.documents().filter_map(|rule| rule.document).collect();
    let expected = from.as_array().into_iter().flatten().filter_map(Value::as_str);
    let expected =
        expected.map(|name| format!("DestinationRule/{}/{}", caller.namespace, name.to_ascii_lowercase()));
    same(rule, applied, expected.map(Into::into).collect())
}

/// A document as a user could apply it: a list with `*` is `*`, and names are in small letters. Blocks that this mesh does not
/// have say nothing about which rule applies.
fn valid(document: &Value) -> Value {
    let mut document = document.clone();
    if items(&document["spec"], "exportTo").contains(&json!("*")) {
        document["spec"]["exportTo"] = json!(["*"]);
    }
    for entry in document["spec"]["exportTo"].as_array_mut().into_iter().flatten() {
        *entry = json!(entry.as_str().unwrap_or_default().to_ascii_lowercase());
    }
    document["metadata"]["name"] = json!(text(&document["metadata"], "name").to_ascii_lowercase());
    if let Some(policy) = document["spec"].get_mut("trafficPolicy").and_then(Value::as_object_mut) {
        policy.insert("tls".to_owned(), json!({"mode": "ISTIO_MUTUAL"}));
    }
    document
}

/// Every host of the documents is called, and the seen ones are those expected.
fn virtual_services(documents: &[Value], case: &Value) -> Result<(), Outcome> {
    if text(case, "gateway") != "mesh" {
        return Err(Outcome::OutOfScope(
            "the caller is a gateway, which explain answers `unsupported`".to_owned(),
        ));
    }
    let mut explainer = Explainer::offline(read(&[routed(documents)])?);
    let expected = items(case, "expect_hosts_in_order");
    for host in documents.iter().flat_map(|document| items(&document["spec"], "hosts")) {
        let seen = ask(&mut explainer, seen_by(case, host))?.outcome == Answer::DirectResponse;
        same(host.as_str().unwrap_or_default(), seen, expected.contains(host))?;
    }
    Ok(())
}

/// The documents, each of which answers by itself.
fn routed(documents: &[Value]) -> Source {
    let answering = documents.iter().map(|document| {
        let mut document = valid(document);
        document["spec"]["http"] = json!([{"directResponse": {"status": 200}}]);
        document
    });
    source(&answering.collect::<Vec<_>>())
}

fn seen_by(case: &Value, host: &Value) -> Value {
    let url = format!("http://{}/", host.as_str().unwrap_or_default());
    let from = json!({"namespace": case["client_namespace"]});
    let mut question = json!({"url": url, "from": from, "mesh": {"root_namespace": "zzz"}});
    if text(case, "gateway") != "mesh" {
        question["gateway"] = case["gateway"].clone();
    }
    question
}

fn service(case: &Value) -> Result<(), Outcome> {
    let mut explainer = Explainer::offline(read(&[exported(case)])?);
    let decision = ask(&mut explainer, called_by(case))?;
    same("seen", decision.outcome == Answer::Forward, case["visible"] == json!(true))
}

fn exported(case: &Value) -> Source {
    let mut called = entry("called.example.com", text(case, "service_namespace"));
    if case["exportTo"].is_array() {
        called["spec"]["exportTo"] = case["exportTo"].clone();
    }
    source([&called])
}

fn called_by(case: &Value) -> Value {
    let defaults = &case["default_service_export_to"];
    let mesh = match defaults.is_array() {
        true => json!({"default_export_to": {"service": defaults}}),
        false => json!({}),
    };
    let from = json!({"namespace": case["client_namespace"]});
    json!({"url": "http://called.example.com/", "from": from, "mesh": mesh})
}
