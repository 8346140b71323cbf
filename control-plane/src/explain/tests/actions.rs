//! What a rule does besides routing: faults, mirrors, CORS.

use super::*;

#[test]
fn retries_are_what_the_rule_says_and_else_the_safe_ones() {
    let rule = |retries: &str| format!("{retries}route: [{{destination: {{host: reviews}}}}]");
    let ask = |retries: &str| {
        let text = BOOKINFO
            .split("---\napiVersion: networking.istio.io/v1")
            .next()
            .expect("services")
            .to_owned()
            + &format!(
                "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: reviews}}\nspec: {{hosts: [reviews], http: [{{{}}}]}}\n",
                rule(retries)
            );
        answer(&text, json!({"url": "http://reviews:9080/"}))["retries"].clone()
    };
    let safe = ["connect-failure", "refused-stream", "reset-before-request"];
    let said = |attempts: u32, on: &[&str], status_codes: &[u16], per_try_timeout: Value| json!({"attempts": attempts, "on": on, "status_codes": status_codes, "per_try_timeout": per_try_timeout});
    assert_eq!(ask(""), said(2, &safe, &[], json!(null)));
    assert_eq!(ask("retries: {attempts: 5}, "), said(5, &safe, &[], json!(null)));
    assert_eq!(ask("retries: {attempts: 0}, "), json!(null));
    assert_eq!(
        ask("retries: {attempts: 1, retryOn: 'gateway-error,503', perTryTimeout: 2s}, "),
        said(1, &["gateway-error", "retriable-status-codes"], &[503], json!("2s"))
    );
}

/// The documents with more said by the rule that takes what the others leave.
fn ruled(said: &str) -> String {
    BOOKINFO.replace("  - route:\n", &format!("  - {said}\n    route:\n"))
}

#[test]
fn faults_are_told_with_their_odds_and_end_the_request_where_they_are_sure() {
    let with = |fault: &str| ruled(&format!("fault: {fault}"));
    let url = "http://reviews:9080/";
    let fault = with(
        "{delay: {fixedDelay: 7s, percentage: {value: 10}}, abort: {grpcStatus: UNAVAILABLE, percentage: {value: 12.5}}}",
    );
    let delay = |applies: Value| json!({"percentage": 10.0, "duration": "7s", "applies": applies});
    let abort =
        |applies: Value| json!({"percentage": 12.5, "status": null, "grpc_status": 14, "applies": applies});
    let null = json!(null);
    check(
        &fault,
        json!({"url": url}),
        &[
            ("/outcome", json!("forward")),
            ("/fault", json!({"delay": delay(null.clone()), "abort": abort(null.clone())})),
            ("/response_flags", json!("-")),
        ],
    );
    check(
        &fault,
        json!({"url": url, "draw": 0.11}),
        &[
            ("/outcome", json!("fault_abort")),
            ("/status", json!(503)),
            ("/response_flags", json!("FI")),
            ("/fault/delay", delay(json!(false))),
            ("/inbound", null.clone()),
        ],
    );
    check(
        &fault,
        json!({"url": url, "draw": 0.05, "protocol": "grpc"}),
        &[("/grpc_status", json!(14)), ("/status", json!(200)), ("/response_flags", json!("DI,FI"))],
    );
    check(
        &with("{abort: {httpStatus: 555, percentage: {value: 100}}}"),
        json!({"url": url}),
        &[("/outcome", json!("fault_abort")), ("/status", json!(555)), ("/fault/abort/applies", json!(true))],
    );
    // A share that nobody says is none.
    check(&with("{abort: {httpStatus: 555}}"), json!({"url": url}), &[("/outcome", json!("forward"))]);
}

#[test]
fn mirrors_are_listed_with_their_share() {
    let mirror = |share: Value| json!([{"host": "reviews.default.svc.cluster.local", "subset": "v2", "port": 9080, "percentage": share}]);
    let url = json!({"url": "http://reviews:9080/"});
    let said = "mirrors: [{destination: {host: reviews, subset: v2, port: {number: 9080}}, percentage: {value: 12.5}}]";
    let host = ("/upstream_request/authority", json!("reviews:9080"));
    check(&ruled(said), url.clone(), &[("/mirrors", mirror(json!(12.5))), host]);
    let all = "mirror: {host: reviews, subset: v2, port: {number: 9080}}";
    check(&ruled(all), url.clone(), &[("/mirrors", mirror(json!(100.0)))]);
    let none = format!("{all}\n    mirrorPercentage: {{value: 0}}");
    check(&ruled(&none), url, &[("/mirrors", json!([]))]);
}

#[test]
fn a_preflight_is_answered_and_a_response_told_who_may_read_it() {
    let documents =
        ruled("corsPolicy: {allowOrigins: [{exact: 'https://shop'}], allowMethods: [GET, PUT], maxAge: 24h}");
    let ask = |method: &str, origin: &str| {
        let headers = json!([["origin", origin], ["access-control-request-method", "PUT"]]);
        json!({"url": "http://reviews:9080/", "method": method, "headers": headers})
    };
    let answer = answer(&documents, ask("OPTIONS", "https://shop"));
    assert_eq!((&answer["outcome"], &answer["status"]), (&json!("direct_response"), &json!(200)));
    let told = &answer["direct_response"]["headers"];
    for pair in [["access-control-allow-methods", "GET,PUT"], ["access-control-max-age", "86400"]] {
        assert!(told.as_array().is_some_and(|told| told.contains(&json!(pair))), "{told}");
    }
    let allowed = json!([["access-control-allow-origin", "https://shop"]]);
    check(&documents, ask("GET", "https://shop"), &[("/response_headers/set", allowed)]);
    let forward = [("/outcome", json!("forward")), ("/response_headers/set", json!([]))];
    check(&documents, ask("OPTIONS", "https://else"), &forward);
}
