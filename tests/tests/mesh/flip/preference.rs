//! Which endpoints go before others: settings that stand in rules and in MeshSettings alike.
//!
//! `one` and `two` serve `api.example`, each where a row says. The caller `home` is in `r1/z1/s1`.

use super::ask::{Ask, See, get};
use super::case::{document, named};

/// A setting: its path, its documents but for the place where the setting stands, and what is seen.
pub(super) struct Row {
    /// Below `localityLbSetting` or `zoneAwareLbSetting`, with that before it.
    pub(super) field: &'static str,
    /// As in braces.
    pub(super) setting: String,
    /// The service.
    pub(super) service: String,
    pub(super) base: &'static str,
    pub(super) flipped: &'static str,
}

/// Calls enough for everybody to be met who may be.
pub(super) fn ask() -> Ask {
    get("http://api.example/").times(20).see(See::Tally)
}

/// A service with these endpoints.
pub(super) fn api(endpoints: &[&str]) -> String {
    let inside =
        "location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, targetPort: 9080}]";
    let list: Vec<String> = endpoints.iter().map(|one| format!("{{{one}}}")).collect();
    named("ServiceEntry", "api", &format!("hosts: [api.example], {inside}, endpoints: [{}]", list.join(", ")))
}

/// Has requests of `api.example` go by zones, but for which the labels of endpoints and where they are would not matter.
pub(super) fn by_zone(more: &str) -> String {
    let setting = format!("zoneAwareLbSetting: {{enabled: true, {more}}}");
    let policy = format!("host: api.example, trafficPolicy: {{loadBalancer: {{{setting}}}}}");
    document("DestinationRule", &policy)
}

/// The rows of both settings. Endpoints of which one is near and one far are told apart by either.
pub(super) fn rows() -> Vec<Row> {
    let near_and_far = [
        "address: $ONE, locality: r1/z1/s1, labels: {version: v1}",
        "address: $TWO, locality: r2/z1/s1, labels: {version: v2}",
    ];
    let both_far = ["address: $ONE, locality: r2/z1/s1", "address: $TWO, locality: r3/z1/s1"];
    let two_zones = ["address: $ONE, locality: r1/z1/s1", "address: $TWO, locality: r1/z2/s1"];
    let row = |field, setting: &str, endpoints: &[&str], base, flipped| Row {
        field,
        setting: setting.to_owned(),
        service: api(endpoints),
        base,
        flipped,
    };
    let both = "one,two";
    let shares = "distribute: [{from: r1, to: {r1: 100}}]";
    let mut rows = vec![
        row(
            "localityLbSetting.enabled",
            &format!("localityLbSetting: {{enabled: <<true -> false>>, {shares}}}"),
            &near_and_far,
            "one",
            both,
        ),
        row(
            "localityLbSetting.distribute[].from",
            "localityLbSetting: {distribute: [{from: <<r1 -> r2>>, to: {r1: 100}}]}",
            &near_and_far,
            "one",
            both,
        ),
        row(
            "localityLbSetting.distribute[].to",
            "localityLbSetting: {distribute: [{from: r1, to: {<<r1 -> r2>>: 100}}]}",
            &near_and_far,
            "one",
            "two",
        ),
        row(
            "zoneAwareLbSetting.enabled",
            "zoneAwareLbSetting: {enabled: <<true -> false>>}",
            &near_and_far,
            "one",
            both,
        ),
        row(
            "zoneAwareLbSetting.minClusterSize",
            "zoneAwareLbSetting: {minClusterSize: <<2 -> 3>>}",
            &two_zones,
            "one",
            both,
        ),
    ];
    for (from, to, labels, setting) in [
        (
            "localityLbSetting.failover[].from",
            "localityLbSetting.failover[].to",
            "localityLbSetting.failoverPriority",
            "localityLbSetting",
        ),
        (
            "zoneAwareLbSetting.failover[].from",
            "zoneAwareLbSetting.failover[].to",
            "zoneAwareLbSetting.failoverPriority",
            "zoneAwareLbSetting",
        ),
    ] {
        let failover = |rule: &str| format!("{setting}: {{failover: [{{{rule}}}]}}");
        let priority = format!("{setting}: {{failoverPriority: [version=<<v1 -> v2>>]}}");
        rows.extend([
            row(from, &failover("from: <<r1 -> r4>>, to: r2"), &both_far, "one", both),
            row(to, &failover("from: r1, to: <<r2 -> r3>>"), &both_far, "one", "two"),
            row(labels, &priority, &near_and_far, "one", "two"),
        ]);
    }
    rows
}

/// Without it only what asks for it by name has requests fail over.
pub(super) const OUTLIERS: &str = "outlierDetection: {consecutive5xxErrors: 5}";
