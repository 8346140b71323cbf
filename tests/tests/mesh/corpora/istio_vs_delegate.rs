//! Delegates: rules of one document under those of another are the rules that one document would have said by itself.
//!
//! The cases are of a pure function, documents in and documents out. Here both go through translation, and the routes must be
//! the same but for where they come from. Gateways are left out, so that what is said for one is said for the mesh.

use std::sync::Arc;

use control_plane::model::{Caller, Config, World};
use control_plane::translate::translate;
use mesh_core::resource::{Resource, ResourceType, parse};
use serde_json::{Value, json};

use super::{Outcome, Tally, cases, folder, items, outcome, read, same, source, text};

const HOST: &str = "example.org";

#[test]
fn delegates_are_joined_as_by_istio() {
    let Some(folder) = folder("istio-vs-delegate") else { return };
    let corpus = cases(folder.join("cases.yaml"));
    let mut tally = Tally::new("istio-vs-delegate");
    for case in items(&corpus, "merge_http_routes") {
        let documents = [root(vec![case["root"].clone()]), delegate(items(case, "delegate").to_vec())];
        tally.case(text(case, "name"), alike(&documents, items(case, "expected").to_vec()));
    }
    for case in items(&corpus, "merge_match_requests") {
        let documents = under(items(case, "root").to_vec(), items(case, "delegate").to_vec());
        let expected = case["expected"].as_array().map(|entries| rule(entries.clone()));
        tally.case(text(case, "name"), alike(&documents, expected.into_iter().collect()));
    }
    for case in items(&corpus, "match_conflict") {
        let documents = under(vec![case["root"].clone()], vec![case["leaf"].clone()]);
        let found = routes(&documents, &case["root"]).and_then(|routes| {
            same("whether they are in conflict", routes.is_none(), case["expected"] == json!(true))
        });
        tally.case(text(case, "name"), outcome(found));
    }
    for case in items(&corpus, "merge_virtual_services") {
        let documents = |key: &str| items(case, key).iter().map(whole).collect::<Vec<_>>();
        let [given, expected] = ["virtualServices", "expected"].map(documents);
        tally.case(text(case, "name"), outcome(compare(&given, &expected)));
    }
    tally.finish(20);
}

fn alike(documents: &[Value], expected: Vec<Value>) -> Outcome {
    let expected = if expected.is_empty() { Vec::new() } else { vec![root(expected)] };
    outcome(compare(documents, &expected))
}

fn compare(given: &[Value], expected: &[Value]) -> Result<(), Outcome> {
    let nobody = Value::Null;
    same("the rules", routes(given, &nobody)?, routes(expected, &nobody)?)
}

/// The routes of the host for a caller as a rule's match wants it, without their provenance.
fn routes(documents: &[Value], wanted: &Value) -> Result<Option<Vec<String>>, Outcome> {
    let documents: Vec<Value> = documents.iter().cloned().map(without_gateways).collect();
    let world = World::offline(Arc::new(Config::new(&read(&[source(&documents)])?)));
    let labels = wanted["sourceLabels"].as_object().into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
    let caller = Caller {
        namespace: wanted["sourceNamespace"].as_str().unwrap_or("default").into(),
        labels: Arc::new(labels.collect()),
        ..Caller::default()
    };
    let kind = ResourceType::RouteConfiguration;
    let Some(message) = translate(&world, &caller, kind, &format!("{HOST}:80")).message else {
        return Ok(None);
    };
    let Ok(Resource::RouteConfiguration(spec)) = parse(kind, &message.value) else {
        return Err(Outcome::Wrong("clients would refuse the routes".to_owned()));
    };
    let told = spec.routes.routes().iter().map(|route| {
        format!("{:?} {:?} {:?} {:?}", route.condition, route.filters, route.action, route.request_headers)
    });
    Ok(Some(told.collect()))
}

/// A rule that delegates, and one that is delegated to.
fn under(root_matches: Vec<Value>, leaf_matches: Vec<Value>) -> [Value; 2] {
    let delegates = json!({"match": root_matches, "delegate": {"name": "delegate"}});
    [root(vec![delegates]), delegate(vec![rule(leaf_matches)])]
}

fn rule(matches: Vec<Value>) -> Value {
    json!({"match": matches, "route": [{"destination": {"host": HOST}}]})
}

fn root(rules: Vec<Value>) -> Value {
    whole(&json!({"metadata": {"name": "root"}, "spec": {"hosts": [HOST], "http": rules}}))
}

fn delegate(rules: Vec<Value>) -> Value {
    whole(&json!({"metadata": {"name": "delegate"}, "spec": {"http": rules}}))
}

fn whole(document: &Value) -> Value {
    let mut document = document.clone();
    document["apiVersion"] = json!("networking.istio.io/v1");
    document["kind"] = json!("VirtualService");
    document
}

/// A document's own gateways; those of a single match stay, since that is what some cases are about.
fn without_gateways(mut document: Value) -> Value {
    document["spec"].as_object_mut().map(|spec| spec.shift_remove("gateways"));
    document
}
