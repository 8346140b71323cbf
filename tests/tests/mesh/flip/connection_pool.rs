//! DestinationRule `connectionPool` and `retryBudget`: how many connections, requests and retries there may be, and how connections
//! live. Limits show in calls at the same time, lives in the connections on which calls come.

use std::time::Duration;

use super::ask::{Ask, See, connect, get};
use super::case::{Case, case, document, named};
use super::destination_rule::{everywhere, places};
use super::teller::{FAIL, WAIT};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = limits();
    cases.extend(lives());
    cases.extend(budgets());
    cases
}

/// A field under documents that say it in several places.
fn rows(
    field: &str,
    documents: impl IntoIterator<Item = (String, String)>,
    ask: &Ask,
    [base, flipped]: [&str; 2],
) -> Vec<Case> {
    let row = |(place, documents)| case(format!("{place}.{field}"), documents, ask.clone(), base, flipped);
    documents.into_iter().map(row).collect()
}

/// A block `connectionPool` of `two`.
fn pool(field: &str, part: &str, ask: &Ask, seen: [&str; 2]) -> Vec<Case> {
    let documents = everywhere("two", 9080, &format!("connectionPool: {{{part}}}"));
    rows(&format!("connectionPool.{field}"), documents, ask, seen)
}

/// The documents, of which those about `two` have what fails tried again.
fn retried((place, documents): (impl Into<String>, String)) -> (String, String) {
    let retries = "http: [{retries: {attempts: 1, retryOn: 5xx}, route";
    let mut documents = documents.replace("http: [{route", retries);
    if !documents.contains(retries) {
        let rule = format!("hosts: [two], {retries}: [{{destination: {{host: two}}}}]}}]");
        documents += &document("VirtualService", &rule);
    }
    (place.into(), documents)
}

fn limits() -> Vec<Case> {
    let together = get("http://two:9080/").header(WAIT, "100").together(3).see(See::Tally);
    let bytes = everywhere("two", 5432, "connectionPool: {tcp: {maxConnections: <<1 -> 9>>}}");
    let bytes = bytes.into_iter().map(|(place, text)| (place, text.replace("http: [{route", "tcp: [{route")));
    let connects = connect("two:5432").together(2).see(See::Tally);
    let silent = "hosts: [api.example], ports: [{number: 80, name: http, targetPort: $SILENT}], resolution: STATIC, \
                  endpoints: [{address: 127.0.0.1}]";
    let silent = named("ServiceEntry", "case", silent);
    let slow = "connectionPool: {tcp: {connectTimeout: <<10ms -> 800ms>>}}, tls: {mode: SIMPLE}";
    let slow = everywhere("api.example", 80, slow).into_iter();
    let slow = slow.map(|(place, text)| (place, format!("{text}{silent}")));
    let waits = get("http://api.example/").see(See::Time);
    let retries = everywhere("two", 9080, "connectionPool: {http: {maxRetries: <<1 -> 9>>}}");
    let fails = get("http://two:9080/").header(FAIL, "503").together(2).see(See::Retried);
    // Of which each one waits for a connection of its own.
    let waiting = "http: {maxRequestsPerConnection: 1, http1MaxPendingRequests: <<1 -> 9>>}";
    let requests = "http: {http2MaxRequests: <<1 -> 9>>}";
    [
        pool("http.http1MaxPendingRequests", waiting, &together, ["503,two", "two"]),
        pool("http.http2MaxRequests", requests, &together, ["503,two", "two"]),
        rows("connectionPool.http.maxRetries", retries.into_iter().map(retried), &fails, ["not all", "all"]),
        rows("connectionPool.tcp.maxConnections", bytes, &connects, ["502,two:5432", "two:5432"]),
        rows("connectionPool.tcp.connectTimeout", slow, &waits, ["quick", "slow"]),
    ]
    .concat()
}

fn lives() -> Vec<Case> {
    let apart = get("http://two:9080/").apart(3, Duration::from_millis(30)).see(See::Connections);
    let together = get("http://two:9080/").header(WAIT, "100").together(3).see(See::Connections);
    let version = get("http://two:9080/").see(See::Version);
    let upgrade = "http: {h2UpgradePolicy: <<UPGRADE -> DO_NOT_UPGRADE>>}";
    let (several, requests) = (["3", "1"], "http: {maxRequestsPerConnection: <<1 -> 9>>}");
    [
        pool("tcp.maxConnectionDuration", "tcp: {maxConnectionDuration: <<5ms -> 1h>>}", &apart, several),
        pool("tcp.idleTimeout", "tcp: {idleTimeout: <<5ms -> 1h>>}", &apart, several),
        pool("http.idleTimeout", "http: {idleTimeout: <<5ms -> 1h>>}", &apart, several),
        pool("http.maxRequestsPerConnection", requests, &apart, several),
        pool("http.maxConcurrentStreams", "http: {maxConcurrentStreams: <<1 -> 9>>}", &together, several),
        pool("http.h2UpgradePolicy", upgrade, &version, ["HTTP/2.0", "HTTP/1.1"]),
    ]
    .concat()
}

fn budgets() -> Vec<Case> {
    let budget = |field: &str, part: &str, times: usize| {
        let documents = places("two", &format!("retryBudget: {{{part}}}")).map(retried);
        let ask = get("http://two:9080/").header(FAIL, "503").times(times).see(See::Again);
        rows(&format!("retryBudget.{field}"), documents, &ask, ["never", "sometimes"])
    };
    let lately = "percent: 30, minRetryConcurrency: 0, budgetInterval: <<0s -> 10s>>";
    [
        budget("percent", "percent: <<0 -> 100>>, minRetryConcurrency: 0", 1),
        budget("minRetryConcurrency", "percent: 0, minRetryConcurrency: <<0 -> 1>>", 1),
        budget("budgetInterval", lately, 10),
    ]
    .concat()
}
