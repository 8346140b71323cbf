//! Sticky splits and sessions, as answers show them.

use super::*;

/// The documents with the VirtualService sticky by `on`.
fn sticky(on: &str) -> String {
    let plain = "kind: VirtualService\nmetadata: {name: reviews}";
    let annotated = format!(
        "kind: VirtualService\nmetadata: {{name: reviews, annotations: {{proxyless.mesh/sticky: '{on}'}}}}"
    );
    BOOKINFO.replace(plain, &annotated)
}

#[test]
fn a_sticky_key_chooses_and_is_shown() {
    let url = "http://reviews:9080/";
    let ask = |documents: &str, headers: Value| {
        answer(documents, json!({"url": url, "headers": headers, "from": {"service_account": "productpage"}}))
    };
    let chosen: Vec<Value> = (0..50)
        .map(|user| {
            let user = format!("user-{user}");
            let answer = ask(&sticky("header:x-user"), json!([["x-user", user]]));
            assert_eq!(answer["sticky"], json!({"on": "header:x-user", "key": user, "set_cookie": null}));
            assert_eq!(
                answer["inbound"]["workload"],
                json!(
                    ["default/reviews-v1", "default/reviews-v2"]
                        [answer["chosen"].as_u64().expect("sure") as usize]
                )
            );
            answer["chosen"].clone()
        })
        .collect();
    assert!(chosen.contains(&json!(0)) && chosen.contains(&json!(1)), "{chosen:?}");
    let by_caller = ask(&sticky("identity"), json!([]));
    assert_eq!(by_caller["sticky"]["key"], json!("cluster.local/ns/default/sa/productpage"));
    assert!(by_caller["chosen"].is_u64(), "{by_caller:#}");
    // The payload of the token says {"sub": "user-0"}.
    let token = "Bearer e30.eyJzdWIiOiJ1c2VyLTAifQ.c2ln";
    let by_claim = ask(&sticky("claim:sub"), json!([["authorization", token]]));
    assert_eq!(by_claim["sticky"], json!({"on": "claim:sub", "key": "user-0", "set_cookie": null}));
    assert_eq!(by_claim["chosen"], chosen[0]);
    // A key comes before a draw.
    let question = json!({"url": url, "headers": [["x-user", "user-0"]], "draw": 0.95});
    check(&sticky("header:x-user"), question, &[("/chosen", chosen[0].clone())]);
}

#[test]
fn a_request_without_its_sticky_key_is_drawn_and_told_its_cookie() {
    let url = "http://reviews:9080/";
    let null = json!(null);
    check(
        &sticky("header:x-user"),
        json!({"url": url}),
        &[("/chosen", null.clone()), ("/sticky/on", json!("header:x-user")), ("/sticky/key", null.clone())],
    );
    let cookie = sticky("cookie:uid");
    let to_come = json!("uid=…; Path=/; HttpOnly");
    check(
        &cookie,
        json!({"url": url}),
        &[
            ("/chosen", null.clone()),
            ("/sticky", json!({"on": "cookie:uid", "key": null, "set_cookie": to_come})),
            ("/response_headers/add", json!([["set-cookie", to_come]])),
        ],
    );
    let drawn = answer(&cookie, json!({"url": url, "draw": 0.95}));
    assert_eq!((&drawn["chosen"], &drawn["sticky"]["key"]), (&json!(1), &null));
    let told = drawn["sticky"]["set_cookie"].as_str().expect("a cookie");
    assert_eq!(drawn["response_headers"]["add"], json!([["set-cookie", told]]));
    let pair = told.split(';').next().expect("a pair");
    check(
        &cookie,
        json!({"url": url, "headers": [["cookie", format!("a=b; {pair}")]]}),
        &[("/chosen", json!(1)), ("/sticky/set_cookie", null.clone()), ("/response_headers/add", json!([]))],
    );
    // The rule for one version is no split.
    let jason = json!({"url": url, "headers": [["end-user", "jason"]]});
    check(&cookie, jason, &[("/chosen", json!(0)), ("/sticky", null)]);
}

#[test]
fn a_session_is_told_its_cookie_and_keeps_its_version() {
    let services = BOOKINFO.split("---\napiVersion: networking.istio.io/v1").next().expect("services");
    let route = "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: '', kind: Service, name: reviews}]
  rules:
  - backendRefs: [{name: reviews, port: 9080, weight: 1}, {name: reviews, port: 9080, weight: 1}]
    sessionPersistence: {sessionName: uid, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}
";
    let documents = format!("{services}{route}");
    let url = "http://reviews:9080/";
    let to_come = json!("uid=…; Path=/; HttpOnly; Max-Age=3600");
    check(
        &documents,
        json!({"url": url}),
        &[
            ("/chosen", json!(null)),
            ("/sticky", json!({"on": "cookie:uid", "key": null, "set_cookie": to_come})),
        ],
    );
    let drawn = answer(&documents, json!({"url": url, "draw": 0.7}));
    let told = drawn["sticky"]["set_cookie"].as_str().expect("a cookie");
    assert!(told.contains(".….") && told.ends_with("; Path=/; HttpOnly; Max-Age=3600"), "{told}");
    let key = told.strip_prefix("uid=").and_then(|told| told.split('.').next()).expect("a key");
    let token = format!("{key}.0123456789abcdef");
    check(
        &documents,
        json!({"url": url, "headers": [["cookie", format!("uid={token}")]]}),
        &[
            ("/chosen", drawn["chosen"].clone()),
            ("/sticky", json!({"on": "cookie:uid", "key": token, "set_cookie": null})),
        ],
    );
    assert_eq!(drawn["chosen"], json!(1));
}

#[test]
fn a_session_ends_when_it_was_idle_or_has_lasted_too_long() {
    let services = BOOKINFO.split("---\napiVersion: networking.istio.io/v1").next().expect("services");
    let documents = format!(
        "{services}---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: reviews}}
spec:
  parentRefs: [{{group: '', kind: Service, name: reviews}}]
  rules:
  - backendRefs: [{{name: reviews, port: 9080}}, {{name: reviews, port: 9080}}]
    sessionPersistence: {{sessionName: x-session, type: Header, absoluteTimeout: 1h, idleTimeout: 10m}}
"
    );
    // Begun at 12:00:00, used last at 12:30:00.
    let token = "0123456789abcdef.0123456789abcdef.00000000697deec0.00000000697df5c8";
    let ask = |time: &str, token: &str| {
        let question =
            json!({"url": "http://reviews:9080/", "headers": [["x-session", token]], "time": time});
        answer(&documents, question)["chosen"].is_u64()
    };
    for (time, lasts) in [("12:30:00", true), ("12:39:59", true), ("12:40:00", false), ("11:00:00", true)] {
        assert_eq!(ask(&format!("2026-01-31T{time}Z"), token), lasts, "{time}");
    }
    let busy = token.replace("697df5c8", "697dfc94");
    for (time, lasts) in [("12:59:59", true), ("13:00:00", false)] {
        assert_eq!(ask(&format!("2026-01-31T{time}Z"), &busy), lasts, "{time}");
    }
    // From before the route had limits: its time begins now.
    assert!(ask("2026-01-31T12:00:00Z", "0123456789abcdef.0123456789abcdef"));
}
