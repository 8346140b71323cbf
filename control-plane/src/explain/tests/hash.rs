//! Consistent hashing, as answers show it: through the encoded cluster and the data path's own table.

use std::collections::BTreeSet;

use super::*;

/// A service at five addresses whose rule hashes like this.
fn hashing(consistent_hash: &str) -> String {
    let workloads = (1..=5).map(|last| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: w{last}}}\n\
             spec: {{address: 10.0.0.{last}, labels: {{app: reviews, security.istio.io/tlsMode: istio}}}}\n"
        )
    });
    let rule = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: reviews}}\n\
         spec: {{selector: {{app: reviews}}, ports: [{{port: 9080, name: http}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: reviews}}\n\
         spec: {{host: reviews, trafficPolicy: {{loadBalancer: {{consistentHash: {{{consistent_hash}}}}}}}}}\n"
    );
    workloads.fold(rule, |documents, workload| documents + &workload)
}

fn ask(documents: &str, more: Value) -> Value {
    let mut question = json!({"url": "http://reviews.default:9080/?user=ada"});
    let fields = more.as_object().expect("fields").clone();
    question.as_object_mut().expect("an object").extend(fields);
    answer(documents, question)
}

#[test]
fn a_key_and_the_endpoint_that_it_meets_are_shown() {
    let row = |rule: &str, balancer: &str, more: Value, on: &str, key: &str| {
        let answer = ask(&hashing(rule), more);
        let destination = &answer["destinations"][0];
        assert_eq!(destination["load_balancer"], json!(balancer), "{rule}");
        assert_eq!(destination["hash"], json!({"on": on, "key": key, "set_cookie": null}), "{rule}");
        let address = answer["endpoint"].as_str().expect("it is sure");
        assert!(address.starts_with("10.0.0."), "{address}");
        let listed = destination["endpoints"].as_array().expect("a list").iter();
        let met = listed.into_iter().find(|one| one["address"] == answer["endpoint"]).expect("one of them");
        assert_eq!(answer["inbound"]["workload"], met["workload"], "its server is asked");
        address.to_owned()
    };
    let headers = |user: &str| json!({"headers": [["x-user", user], ["cookie", format!("uid={user}")]]});
    let mut met = BTreeSet::new();
    for user in 0..40 {
        let user = format!("user-{user}");
        let by_header = row("httpHeaderName: X-User", "ring_hash", headers(&user), "header:x-user", &user);
        let by_cookie =
            row("httpCookie: {name: uid, ttl: 1s}", "ring_hash", headers(&user), "cookie:uid", &user);
        assert_eq!(by_header, by_cookie, "what the key is named does not matter");
        met.insert(by_header);
    }
    assert_eq!(met.len(), 5);
    row("httpQueryParameterName: user, maglev: {}", "maglev", json!({}), "query:user", "ada");
    let from = json!({"from": {"ip": "10.9.9.9"}});
    row("useSourceIp: true", "ring_hash", from, "source_ip", "10.9.9.9");
}

#[test]
fn without_a_key_an_endpoint_is_drawn_and_a_cookie_with_a_time_to_live_is_told() {
    let drawn = |rule: &str, told: Value| {
        let answer = ask(&hashing(rule), json!({}));
        assert_eq!(answer["endpoint"], Value::Null, "{rule}");
        assert_eq!(answer["destinations"][0]["hash"]["key"], Value::Null);
        assert_eq!(answer["destinations"][0]["hash"]["set_cookie"], told, "{rule}");
        let added = if told.is_null() { json!([]) } else { json!([["set-cookie", told]]) };
        assert_eq!(answer["response_headers"]["add"], added, "{rule}");
    };
    drawn("httpHeaderName: x-user", Value::Null);
    drawn("useSourceIp: true", Value::Null);
    drawn("httpCookie: {name: uid}", Value::Null);
    drawn("httpCookie: {name: uid, ttl: 0s}", json!("uid=…; HttpOnly"));
    let cookie = hashing("httpCookie: {name: uid, path: /a, ttl: 90s, attributes: [{name: Secure}]}");
    let told = ask(&cookie, json!({"draw": 0.25}));
    let set_cookie = told["destinations"][0]["hash"]["set_cookie"].as_str().expect("a cookie");
    let pair = set_cookie.strip_suffix("; Max-Age=90; Path=/a; Secure; HttpOnly").expect("the attributes");
    let back = ask(&cookie, json!({"headers": [["cookie", pair]]}));
    assert!(told["endpoint"].is_string());
    assert_eq!(back["endpoint"], told["endpoint"]);
    assert_eq!(back["response_headers"]["add"], json!([]));
}
