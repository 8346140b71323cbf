//! What only the whole set shows.

use std::collections::BTreeSet;

use super::*;

fn virtual_service(name: &str, host: &str, more: &str, destination: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}}}\nspec: {{hosts: [{host}]{more}, http: [{{route: [{{destination: {destination}}}]}}]}}\n"
    )
}

fn rule(host: &str, subset: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r}}\nspec: {{host: '{host}', subsets: [{{name: {subset}}}]}}\n"
    )
}

const SERVICE: &str =
    "---\napiVersion: v1\nkind: Service\nmetadata: {name: b}\nspec: {ports: [{port: 80}]}\n";

#[track_caller]
fn row(documents: &[&str], wanted: &[(Code, &str)]) {
    let reading = read(&documents.concat());
    assert!(reading.verdict().accepts(), "{:?}", reading.reports);
    let found = check_whole(&reading.documents, &BTreeSet::new());
    let found: Vec<_> =
        found.iter().map(|whole| (whole.finding.code, whole.finding.field.as_str())).collect();
    assert_eq!(found, wanted, "{documents:?}");
}

#[test]
fn a_subset_that_nothing_defines_is_an_error() {
    let to_v1 = virtual_service("a", "b", "", "{host: b, subset: v1}");
    let dangling = [(Code::DanglingSubset, "spec.http[0].route[0].destination.subset")];
    row(&[&to_v1, &rule("b", "v1")], &[]);
    row(&[&to_v1, &rule("b.default.svc.cluster.local", "v1")], &[]);
    row(&[&to_v1, &rule("*.cluster.local", "v1")], &[]);
    row(&[&to_v1], &dangling);
    row(&[&to_v1, &rule("b", "v2")], &dangling);
    row(&[&to_v1, &rule("b.other", "v1")], &dangling);
    row(&[&virtual_service("a", "b", ", gateways: [g]", "{host: b, subset: v1}")], &[]);
}

#[test]
fn an_unknown_host_is_a_warning_where_hosts_are_known() {
    let unknown = [(Code::UnknownHost, "spec.http[0].route[0].destination.host")];
    row(&[&virtual_service("a", "b", "", "{host: c}")], &[]);
    row(&[SERVICE, &virtual_service("a", "b", "", "{host: b}")], &[]);
    row(&[SERVICE, &virtual_service("a", "b", "", "{host: c}")], &unknown);
    row(&[SERVICE, &virtual_service("a", "b", "", "{host: c.com}")], &unknown);
    let reading = read(&[SERVICE, &virtual_service("a", "b", "", "{host: c}")].concat());
    let registered = BTreeSet::from(["c.default.svc.cluster.local".to_owned()]);
    assert_eq!(check_whole(&reading.documents, &registered), []);
}

#[test]
fn the_younger_of_two_for_a_host_is_found() {
    let first = virtual_service("z", "b", "", "{host: b}");
    let second = virtual_service("a", "b.default.svc.cluster.local", "", "{host: b}");
    row(&[&first, &second], &[(Code::Shadowed, "spec.hosts[0]")]);
    row(&[&first, &virtual_service("a", "b", ", exportTo: [other]", "{host: b}")], &[]);
    let reading = read(&[first, second].concat());
    let whole = check_whole(&reading.documents, &BTreeSet::new());
    assert_eq!(whole[0].document.to_string(), "VirtualService/default/a");
}

#[test]
fn what_a_younger_rule_repeats_is_found() {
    let rule = |name: &str, more: &str| {
        format!(
            "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec: {{host: b, trafficPolicy: {{loadBalancer: {{simple: RANDOM}}}}, subsets: [{{name: v1}}]{more}}}\n"
        )
    };
    const SELECTOR: &str = ", workloadSelector: {matchLabels: {app: web}}";
    let shadowed = [(Code::Shadowed, "spec.trafficPolicy"), (Code::Shadowed, "spec.subsets[0].name")];
    row(&[&rule("a", ""), &rule("b", "")], &shadowed);
    row(&[&rule("a", ""), &rule("b", ", exportTo: [.]")], &[]);
    row(&[&rule("a", ""), &rule("b", SELECTOR)], &[]);
    row(&[&rule("a", SELECTOR), &rule("b", SELECTOR)], &shadowed);
}

#[test]
fn a_mesh_has_one_settings_document() {
    let settings = |name: &str| {
        format!("---\napiVersion: proxyless.mesh/v1alpha1\nkind: MeshSettings\nmetadata: {{name: {name}}}\n")
    };
    row(&[&settings("a")], &[]);
    row(&[&settings("a"), &settings("b")], &[(Code::Duplicate, "")]);
}
