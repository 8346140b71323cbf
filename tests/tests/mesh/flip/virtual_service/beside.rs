//! What a rule does beside sending a request on: faults, mirrors, CORS, timeouts, retries.

use super::super::ask::{Ask, See, get, grpc};
use super::super::case::{Case, case};
use super::super::teller::{FAIL, WAIT};
use super::{ONE, rule, subsets};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = faults();
    cases.extend(mirrors());
    cases.extend(cors());
    cases.extend(patience());
    cases
}

/// A rule with something beside its route.
fn row(field: &str, part: &str, ask: Ask, base: &str, flipped: &str) -> Case {
    case(format!("http[].{field}"), rule(&format!("{part}, {ONE}")), ask, base, flipped)
}

fn faults() -> Vec<Case> {
    let delay = |field: &str, part: &str| {
        let part = format!("fault: {{delay: {{{part}}}}}");
        row(&format!("fault.delay.{field}"), &part, get("/").see(See::Time), "slow", "quick")
    };
    let abort = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
        let part = format!("fault: {{abort: {{{part}}}}}");
        row(&format!("fault.abort.{field}"), &part, ask, base, flipped)
    };
    let statuses = "grpcStatus: <<ABORTED -> UNAVAILABLE>>, percentage: {value: 100}";
    vec![
        delay("fixedDelay", "fixedDelay: <<400ms -> 1ms>>, percentage: {value: 100}"),
        delay("percentage.value", "fixedDelay: 400ms, percentage: {value: <<100 -> 0>>}"),
        delay("percent", "fixedDelay: 400ms, percent: <<100 -> 0>>"),
        abort("httpStatus", "httpStatus: <<418 -> 404>>, percentage: {value: 100}", get("/"), "418", "404"),
        abort("grpcStatus", statuses, grpc("/a.A/B"), "grpc 10", "grpc 14"),
        abort(
            "percentage.value",
            "httpStatus: 418, percentage: {value: <<100 -> 0>>}",
            get("/"),
            "418",
            "one",
        ),
    ]
}

fn mirrors() -> Vec<Case> {
    let row = |field: &str, part: &str, base: &str, flipped: &str| {
        let documents = format!("{}{}", rule(&format!("{part}, {ONE}")), subsets());
        case(format!("http[].{field}"), documents, get("/").see(See::Asked), base, flipped)
    };
    let share = "percentage: {value: <<100 -> 0>>}";
    let subset = "{host: pair, subset: <<v1 -> v2>>}";
    let port = "{host: copy, port: {number: <<9080 -> 9090>>}}";
    let list = |destination: &str| format!("mirrors: [{{destination: {destination}}}]");
    vec![
        row("mirror.host", "mirror: {host: <<copy -> two>>}", "copy,one", "one,two"),
        row("mirror.subset", &format!("mirror: {subset}"), "one,v1", "one,v2"),
        row("mirror.port.number", &format!("mirror: {port}"), "copy,one", "copy:9090,one"),
        row(
            "mirrorPercentage.value",
            "mirror: {host: copy}, mirrorPercentage: {value: <<100 -> 0>>}",
            "copy,one",
            "one",
        ),
        row("mirrorPercent", "mirror: {host: copy}, mirrorPercent: <<100 -> 0>>", "copy,one", "one"),
        row("mirrors[].destination.host", &list("{host: <<copy -> two>>}"), "copy,one", "one,two"),
        row("mirrors[].destination.subset", &list(subset), "one,v1", "one,v2"),
        row("mirrors[].destination.port.number", &list(port), "copy,one", "copy:9090,one"),
        row(
            "mirrors[].percentage.value",
            &format!("mirrors: [{{destination: {{host: copy}}, {share}}}]"),
            "copy,one",
            "one",
        ),
    ]
}

fn cors() -> Vec<Case> {
    let row = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
        row(&format!("corsPolicy.{field}"), &format!("corsPolicy: {{{part}}}"), ask, base, flipped)
    };
    let from = "allowOrigins: [{exact: 'https://a'}]";
    let told = |name| get("/").header("origin", "https://a").see(See::Header(name));
    let first = |name| told(name).method("OPTIONS").header("access-control-request-method", "PUT");
    let origin = || told("access-control-allow-origin");
    let foreign = get("/").method("OPTIONS").header("origin", "https://b").see(See::Asked);
    let foreign = foreign.header("access-control-request-method", "PUT");
    let with = |part: &str| format!("{from}, {part}");
    vec![
        row(
            "allowOrigins[].exact",
            "allowOrigins: [{exact: 'https://<<a -> b>>'}]",
            origin(),
            "https://a",
            "-",
        ),
        row(
            "allowOrigins[].prefix",
            "allowOrigins: [{prefix: 'https<<: -> s:>>'}]",
            origin(),
            "https://a",
            "-",
        ),
        row("allowOrigins[].regex", "allowOrigins: [{regex: '.*<<a -> b>>'}]", origin(), "https://a", "-"),
        row("allowOrigin", "allowOrigin: ['https://<<a -> b>>']", origin(), "https://a", "-"),
        row(
            "allowMethods",
            &with("allowMethods: [<<PUT -> GET>>]"),
            first("access-control-allow-methods"),
            "PUT",
            "GET",
        ),
        row(
            "allowHeaders",
            &with("allowHeaders: [<<x-a -> x-b>>]"),
            first("access-control-allow-headers"),
            "x-a",
            "x-b",
        ),
        row(
            "exposeHeaders",
            &with("exposeHeaders: [<<x-a -> x-b>>]"),
            told("access-control-expose-headers"),
            "x-a",
            "x-b",
        ),
        row("maxAge", &with("maxAge: <<1m -> 2m>>"), first("access-control-max-age"), "60", "120"),
        row(
            "allowCredentials",
            &with("allowCredentials: <<true -> false>>"),
            told("access-control-allow-credentials"),
            "true",
            "-",
        ),
        row("unmatchedPreflights", &with("unmatchedPreflights: <<IGNORE -> FORWARD>>"), foreign, "-", "one"),
    ]
}

fn patience() -> Vec<Case> {
    let retries = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
        row(&format!("retries.{field}"), &format!("retries: {{{part}}}"), ask, base, flipped)
    };
    let fails = || get("/").header(FAIL, "503").see(See::Asked);
    let waits = get("/").header(WAIT, "300");
    let elsewhere = rule(
        "retries: {attempts: 1, retryOn: 5xx, retryIgnorePreviousHosts: <<true -> false>>}, route: [{destination: {host: pair}}]",
    );
    vec![
        row("timeout", "timeout: <<100ms -> 5s>>", waits.clone(), "504", "one"),
        retries("attempts", "attempts: <<2 -> 1>>, retryOn: 5xx", fails(), "one,one,one", "one,one"),
        retries(
            "perTryTimeout",
            "attempts: 1, retryOn: 5xx, perTryTimeout: <<100ms -> 5s>>",
            waits.see(See::Asked),
            "one,one",
            "one",
        ),
        retries(
            "backoff",
            "attempts: 1, retryOn: 5xx, backoff: <<800ms -> 1ms>>",
            fails().see(See::Time),
            "slow",
            "quick",
        ),
        retries("retryOn", "attempts: 1, retryOn: <<5xx -> reset>>", fails(), "one,one", "one"),
        case(
            "http[].retries.retryIgnorePreviousHosts",
            elsewhere,
            fails().times(20).see(See::Again),
            "never",
            "sometimes",
        ),
    ]
}
