//! VirtualService: whose it is, and whom it speaks for.

mod action;
mod beside;
mod matching;
mod transport;

use super::ask::get;
use super::case::{Case, case, document, named};

/// What rules of these cases do.
const ONE: &str = "route: [{destination: {host: one}}]";
const TWO: &str = "route: [{destination: {host: two}}]";
const TEAPOT: &str = "http: [{directResponse: {status: 418}}]";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = whole();
    cases.extend(matching::cases());
    cases.extend(action::cases());
    cases.extend(beside::cases());
    cases.extend(transport::cases());
    cases
}

/// A VirtualService of the host `one`.
fn rules(spec: &str) -> String {
    document("VirtualService", &format!("hosts: [one], {spec}"))
}

/// One of a single rule.
fn rule(rule: &str) -> String {
    rules(&format!("http: [{{{rule}}}]"))
}

/// The versions of `pair`, as subsets.
fn subsets() -> String {
    let subsets = "subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]";
    document("DestinationRule", &format!("host: pair, {subsets}"))
}

fn whole() -> Vec<Case> {
    let teapot = |field: &str, part: &str| {
        case(field, document("VirtualService", &format!("{part}, {TEAPOT}")), get("/"), "418", "one")
    };
    let delegate = |field: &str, part: &str, flipped: &str| {
        let delegates = [("here", "one"), ("other", "two"), ("far/here", "far")].map(|(name, host)| {
            named("VirtualService", name, &format!("http: [{{route: [{{destination: {{host: {host}}}}}]}}]"))
        });
        let root = rule(&format!("match: [{{uri: {{prefix: /}}}}], delegate: {{{part}}}"));
        case(field, format!("{root}{}", delegates.concat()), get("/"), "one", flipped)
    };
    vec![
        teapot("hosts", "hosts: [<<one -> two>>]"),
        teapot("gateways", "hosts: [one], gateways: [<<mesh -> edge>>]"),
        teapot("exportTo", "hosts: [one], exportTo: [<<'.' -> far>>]"),
        delegate("http[].delegate.name", "name: <<here -> other>>", "two"),
        delegate("http[].delegate.namespace", "name: here, namespace: <<default -> far>>", "far"),
    ]
}
