//! Service, ServiceEntry, WorkloadEntry: what there is to call, and where.

use super::ask::{Ask, See, get};
use super::case::{Case, case, document, named};
use super::fleet::Caller;
use super::preference::{self, by_zone};

/// Nobody is called but whom a document names.
fn closed() -> String {
    document("MeshSettings", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
}

pub(super) fn services() -> Vec<Case> {
    let row = |field: &str, spec: &str, base: &str, flipped: &str| {
        let documents = format!("{}{}", named("Service", "some", spec), closed());
        case(field, documents, get("http://some:9080/"), base, flipped)
    };
    let port = |field: &str, part: &str, base: &str, flipped: &str| {
        let spec = format!("selector: {{app: one}}, ports: [{{{part}}}]");
        row(&format!("ports[].{field}"), &spec, base, flipped)
    };
    vec![
        port("protocol", "port: 9080, protocol: <<TCP -> UDP>>", "one", "502"),
        port("name", "port: 9080, name: <<http -> tcp>>", "one", "400"),
        port("port", "port: <<9080 -> 9081>>, targetPort: 9080", "one", "502"),
        port("targetPort", "port: 9080, targetPort: <<9080 -> 9090>>", "one", "one:9090"),
        port("appProtocol", "port: 9080, appProtocol: <<http -> tcp>>", "one", "400"),
        row("selector", "selector: {app: <<one -> two>>}, ports: [{port: 9080}]", "one", "two"),
        case(
            "trafficDistribution",
            named(
                "Service",
                "some",
                "selector: {version: v1}, ports: [{port: 9080}], trafficDistribution: <<PreferClose -> null>>",
            ),
            get("http://some:9080/").times(40).see(See::Tally),
            "one",
            "copy,one,two,v1",
        ),
    ]
}

/// An entry for `api.example` at port 80.
fn api(spec: &str) -> String {
    document("ServiceEntry", &format!("hosts: [api.example], {spec}"))
}

/// Of the member `one`, as another document may speak of it.
const INSIDE: &str =
    "location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, targetPort: 9080}]";
const PLAIN: &str = "resolution: STATIC, endpoints: [{address: 127.0.0.1}]";
const IN_MESH: &str = "security.istio.io/tlsMode: istio";

fn ask() -> Ask {
    get("http://api.example/")
}

pub(super) fn service_entries() -> Vec<Case> {
    let row = |field: &str, entry: String, ask: Ask, base: &str, flipped: &str| {
        case(field, format!("{entry}{}", closed()), ask, base, flipped)
    };
    let port = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
        let entry = api(&format!("ports: [{{targetPort: $PLAIN, {part}}}], {PLAIN}"));
        row(&format!("ports[].{field}"), entry, ask, base, flipped)
    };
    let plain = "ports: [{number: 80, name: http, targetPort: $PLAIN}]";
    let hosts = document("ServiceEntry", &format!("hosts: [<<api -> other>>.example], {plain}, {PLAIN}"));
    let local = format!("hosts: [localhost], {plain}, resolution: <<DNS -> STATIC>>");
    let location = format!(
        "location: <<MESH_INTERNAL -> MESH_EXTERNAL>>, resolution: STATIC, ports: [{{number: 80, name: http, targetPort: 9080}}], endpoints: [{{address: $ONE, serviceAccount: one, labels: {{{IN_MESH}}}}}]"
    );
    let selector = api(&format!("{INSIDE}, workloadSelector: {{labels: {{app: <<one -> two>>}}}}"));
    let exported = api(&format!("{plain}, {PLAIN}, exportTo: [<<'*' -> '.'>>]"));
    let names = api(&format!(
        "{INSIDE}, endpoints: [{{address: $ONE, labels: {{{IN_MESH}}}}}], subjectAltNames: ['spiffe://cluster.local/ns/default/sa/<<one -> two>>']"
    ));
    let mut cases = vec![
        row("hosts", hosts, ask(), "plain", "502"),
        port("number", "number: <<80 -> 81>>, name: http", ask(), "plain", "502"),
        port("name", "number: 80, name: <<http -> http2>>", ask().see(See::Version), "HTTP/1.1", "HTTP/2.0"),
        port(
            "protocol",
            "number: 80, name: a, protocol: <<HTTP -> HTTP2>>",
            ask().see(See::Version),
            "HTTP/1.1",
            "HTTP/2.0",
        ),
        row(
            "ports[].targetPort",
            api(&format!("ports: [{{number: 80, name: http, targetPort: <<$PLAIN -> 1>>}}], {PLAIN}")),
            ask(),
            "plain",
            "503",
        ),
        row("location", api(&location), ask().see(See::Principal), "cluster.local/ns/default/sa/home", "-"),
        row("resolution", document("ServiceEntry", &local), get("http://localhost/"), "plain", "503"),
        row("workloadSelector.labels", selector, ask(), "one", "two"),
        row("exportTo", exported, ask().by(Caller::Away), "plain", "502"),
        row("subjectAltNames", names, ask(), "one", "503"),
    ];
    cases.extend(endpoints("endpoints[].", |endpoints| {
        let list: Vec<String> = endpoints.iter().map(|endpoint| format!("{{{endpoint}}}")).collect();
        api(&format!("{INSIDE}, endpoints: [{}]", list.join(", ")))
    }));
    cases
}

pub(super) fn workload_entries() -> Vec<Case> {
    let mut cases = endpoints("", |endpoints| {
        let entries = endpoints.iter().enumerate().map(|(place, endpoint)| {
            let name = if place == 0 { "case".to_owned() } else { format!("case-{place}") };
            named("WorkloadEntry", &name, endpoint)
        });
        let entries: String = entries.collect();
        format!("{}{entries}", api(&format!("{INSIDE}, workloadSelector: {{labels: {{at: here}}}}")))
    });
    let selected = "address: $ONE, labels: {at: <<here -> there>>}";
    let entry = api(&format!("{INSIDE}, workloadSelector: {{labels: {{at: here}}}}"));
    let documents = format!("{entry}{}{}", document("WorkloadEntry", selected), closed());
    cases.push(case("labels", documents, ask(), "one", "503"));
    cases
}

/// What an endpoint says, in an entry of services or of its own.
fn endpoints(path: &str, entry: impl Fn(&[&str]) -> String) -> Vec<Case> {
    let row = |field: &str, endpoints: &[&str], ask: Ask, base: &str, flipped: &str| {
        case(format!("{path}{field}"), format!("{}{}", entry(endpoints), closed()), ask, base, flipped)
    };
    let weighted = [
        "address: $ONE, labels: {at: here}, weight: <<1 -> 1000000>>",
        "address: $TWO, labels: {at: here}, weight: 1",
    ];
    let labelled = format!(
        "{}{}",
        document("DestinationRule", "host: api.example, subsets: [{name: v1, labels: {version: v1}}]"),
        document(
            "VirtualService",
            "hosts: [api.example], http: [{route: [{destination: {host: api.example, subset: v1}}]}]"
        ),
    );
    let account = format!("address: $ONE, serviceAccount: <<one -> two>>, labels: {{at: here, {IN_MESH}}}");
    let mut cases = vec![
        row("address", &["address: <<$ONE -> $TWO>>, labels: {at: here}"], ask(), "one", "two"),
        row(
            "ports",
            &["address: $ONE, labels: {at: here}, ports: {http: <<9080 -> 9090>>}"],
            ask(),
            "one",
            "one:9090",
        ),
        row("weight", &weighted, ask().times(40).see(See::Tally), "one,two", "one"),
        row("serviceAccount", &[&account], ask(), "one", "503"),
    ];
    for (field, part, other, zones) in [
        ("locality", "locality: r<<1 -> 2>>/z1/s1", "locality: r2/z1/s1", ""),
        (
            "network",
            "network: n<<1 -> 2>>",
            "network: n2",
            "failoverPriority: ['topology.istio.io/network=n1']",
        ),
    ] {
        let endpoints = [
            format!("address: $ONE, labels: {{at: here}}, {part}"),
            format!("address: $TWO, labels: {{at: here}}, {other}"),
        ];
        let documents = format!("{}{}", entry(&endpoints.each_ref().map(String::as_str)), by_zone(zones));
        cases.push(case(format!("{path}{field}"), documents, preference::ask(), "one", "one,two"));
    }
    if !path.is_empty() {
        let documents = entry(&["address: $ONE, labels: {version: <<v1 -> v2>>}"]);
        cases.push(case(format!("{path}labels"), format!("{documents}{labelled}"), ask(), "one", "503"));
    }
    cases
}
