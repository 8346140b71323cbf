use super::*;

const WORLD: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.example]
  resolution: STATIC
  ports: [{number: 80, name: http}]
  endpoints: [{address: 10.0.0.1, locality: r1/z1}, {address: 10.0.0.2, locality: r2/z1}, {address: 10.0.0.3, locality: r3/z1}]
";

fn endpoints(question: &Value) -> Vec<(String, u64, Option<u64>)> {
    let reading = DocumentSet::read(&[Source::file("documents.yaml", WORLD)]);
    let question = serde_json::from_value(question.clone()).expect("a question");
    let decision = Explainer::offline(reading.documents).answer(&question).expect("an answer");
    assert!(decision.warnings.is_empty(), "{:?}", decision.warnings);
    let decision = serde_json::to_value(decision).expect("JSON");
    let seen = decision["destinations"][0]["endpoints"].as_array().cloned().unwrap_or_default();
    let row = |one: &Value| {
        let locality = one["locality"].as_str().unwrap_or_default().to_owned();
        (locality, one["priority"].as_u64().expect("a number"), one["locality_weight"].as_u64())
    };
    seen.iter().map(row).collect()
}

#[test]
fn a_caller_is_told_how_endpoints_stand_for_it() {
    let ask = |locality: &str, setting: Value| {
        let from = json!({"locality": locality});
        endpoints(&json!({"url": "http://a.example/", "from": from, "mesh": {"locality": setting}}))
    };
    let row = |locality: &str, weight| (locality.to_owned(), 0, weight);
    let shares = json!({"distribute": [{"from": "r1/*", "to": {"r1": 80, "r2": 20}}]});
    assert_eq!(ask("r1/z1", shares.clone()), [row("r1/z1", Some(80)), row("r2/z1", Some(20))]);
    let off = json!({"enabled": false});
    assert_eq!(ask("r1/z1", off), [row("r1/z1", None), row("r2/z1", None), row("r3/z1", None)]);
    let question = json!({"url": "http://a.example/", "mesh": {"locality": {"distribute": [{"from": "r1", "to": {"r1": 7}}]}}});
    let refused = serde_json::from_value::<Question>(question).expect_err("shares are 100 in all");
    assert!(refused.to_string().contains("distribute[0].to"), "{refused}");
}
