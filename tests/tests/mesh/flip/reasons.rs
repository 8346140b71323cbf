//! The honoured fields that have no case, each with the reason: names, what is refused where it stands, and what no request
//! can tell.

use std::fmt;

use control_plane::document::{DocumentSet, Kind, Source, Verdict};

use super::case::document;

/// Why a field, or all that is in it, has no case.
#[derive(Debug)]
pub(super) struct Reason {
    /// Below `spec`.
    pub(super) field: &'static str,
    why: Why,
}

#[derive(Debug)]
enum Why {
    /// It is for people.
    Name,
    /// It says what another field says already, or where it may stand; flipped alone, as in this spec, it is refused.
    Refused(String),
    /// No request can tell, for this reason.
    Silent(&'static str),
}

impl Reason {
    /// What is wrong with the reason: what is said to be refused is taken.
    pub(super) fn mistake(&self, kind: Kind) -> Option<String> {
        let Why::Refused(spec) = &self.why else { return None };
        let read = DocumentSet::read(&[Source::file("reason.yaml", document(kind.name(), spec))]);
        let wrong = |verdict: Verdict| matches!(verdict, Verdict::Invalid | Verdict::Unsupported);
        let refused = read.reports.iter().any(|report| wrong(report.verdict()));
        (!refused).then(|| format!("{} is not refused in {{{spec}}}", self.field))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Name => "a name, for people",
            Why::Refused(_) => "refused, flipped alone or where it stands",
            Why::Silent(why) => why,
        };
        write!(f, "{}: {why}", self.field)
    }
}

/// The reasons of a kind.
pub(super) fn reasons(kind: Kind) -> Vec<Reason> {
    match kind {
        Kind::MeshSettings => vec![
            silent(
                "trustDomain",
                "`mesh serve` goes by its own, and says so at apply; a document's is for `explain` without one",
            ),
            silent(
                "dnsRefreshRate",
                "the machine's resolver gives a test no second answer; `mesh-core`, `ads::`",
            ),
        ],
        Kind::DestinationRule => {
            let table_sizes = TABLE_SIZES.map(|field| silent(field, TABLE_SIZE));
            let keep_alives = KEEP_ALIVES.map(|field| silent(field, KEEP_ALIVE));
            let ejections = EJECTIONS.map(|field| silent(field, EJECTION));
            table_sizes.into_iter().chain(keep_alives).chain(ejections).collect()
        }
        Kind::VirtualService => vec![name("http[].name"), name("http[].match[].name")],
        Kind::HttpRoute => {
            let mut reasons = route();
            reasons.extend(http_route());
            reasons
        }
        Kind::GrpcRoute => route(),
        _ => Vec::new(),
    }
}

const TABLE_SIZES: [&str; 12] = [
    "trafficPolicy.loadBalancer.consistentHash.minimumRingSize",
    "trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize",
    "trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
    "trafficPolicy.portLevelSettings[].loadBalancer.consistentHash.minimumRingSize",
    "trafficPolicy.portLevelSettings[].loadBalancer.consistentHash.ringHash.minimumRingSize",
    "trafficPolicy.portLevelSettings[].loadBalancer.consistentHash.maglev.tableSize",
    "subsets[].trafficPolicy.loadBalancer.consistentHash.minimumRingSize",
    "subsets[].trafficPolicy.loadBalancer.consistentHash.ringHash.minimumRingSize",
    "subsets[].trafficPolicy.loadBalancer.consistentHash.maglev.tableSize",
    "subsets[].trafficPolicy.portLevelSettings[].loadBalancer.consistentHash.minimumRingSize",
    "subsets[].trafficPolicy.portLevelSettings[].loadBalancer.consistentHash.ringHash.minimumRingSize",
    "subsets[].trafficPolicy.portLevelSettings[].loadBalancer.consistentHash.maglev.tableSize",
];
const TABLE_SIZE: &str =
    "it is how evenly many keys are spread, which no request can tell; `mesh-core`, `balance::hash_table`";
const EJECTIONS: [&str; 16] = [
    "trafficPolicy.outlierDetection.interval",
    "trafficPolicy.outlierDetection.baseEjectionTime",
    "trafficPolicy.outlierDetection.maxEjectionPercent",
    "trafficPolicy.outlierDetection.minHealthPercent",
    "trafficPolicy.portLevelSettings[].outlierDetection.interval",
    "trafficPolicy.portLevelSettings[].outlierDetection.baseEjectionTime",
    "trafficPolicy.portLevelSettings[].outlierDetection.maxEjectionPercent",
    "trafficPolicy.portLevelSettings[].outlierDetection.minHealthPercent",
    "subsets[].trafficPolicy.outlierDetection.interval",
    "subsets[].trafficPolicy.outlierDetection.baseEjectionTime",
    "subsets[].trafficPolicy.outlierDetection.maxEjectionPercent",
    "subsets[].trafficPolicy.outlierDetection.minHealthPercent",
    "subsets[].trafficPolicy.portLevelSettings[].outlierDetection.interval",
    "subsets[].trafficPolicy.portLevelSettings[].outlierDetection.baseEjectionTime",
    "subsets[].trafficPolicy.portLevelSettings[].outlierDetection.maxEjectionPercent",
    "subsets[].trafficPolicy.portLevelSettings[].outlierDetection.minHealthPercent",
];
const EJECTION: &str = "a share of two endpoints is one, and times are not for one request to tell; `outliers::` and `mesh-core`, `balance::outlier`";
const KEEP_ALIVES: [&str; 8] = [
    "trafficPolicy.connectionPool.tcp.tcpKeepalive",
    "trafficPolicy.connectionPool.http.http2KeepAlive",
    "trafficPolicy.portLevelSettings[].connectionPool.tcp.tcpKeepalive",
    "trafficPolicy.portLevelSettings[].connectionPool.http.http2KeepAlive",
    "subsets[].trafficPolicy.connectionPool.tcp.tcpKeepalive",
    "subsets[].trafficPolicy.connectionPool.http.http2KeepAlive",
    "subsets[].trafficPolicy.portLevelSettings[].connectionPool.tcp.tcpKeepalive",
    "subsets[].trafficPolicy.portLevelSettings[].connectionPool.http.http2KeepAlive",
];
const KEEP_ALIVE: &str = "a peer that is there answers, and no request can tell; `mesh-core`, `network::socket`, and \
                          `mesh-client`, `connection::keep_alive`";

fn name(field: &'static str) -> Reason {
    Reason { field, why: Why::Name }
}

fn silent(field: &'static str, why: &'static str) -> Reason {
    Reason { field, why: Why::Silent(why) }
}

fn refused(field: &'static str, spec: impl Into<String>) -> Reason {
    Reason { field, why: Why::Refused(spec.into()) }
}

/// A route of `one` with this rule.
fn rule(rule: &str) -> String {
    format!("parentRefs: [{{group: '', kind: Service, name: one}}], rules: [{{{rule}}}]")
}

/// With a filter of the rule.
fn of_rule(filter: &str) -> String {
    rule(&format!("filters: [{{{filter}}}]"))
}

/// With a filter of a backend.
fn of_backend(filter: &str) -> String {
    rule(&format!("backendRefs: [{{name: one, port: 9080, filters: [{{{filter}}}]}}]"))
}

/// What both kinds of routes share. Group and kind together say what is meant; so do a filter's type and its fields.
fn route() -> Vec<Reason> {
    let mirror =
        |part: &str| format!("type: RequestMirror, requestMirror: {{backendRef: {{name: one, {part}}}}}");
    let other_type = "type: ResponseHeaderModifier, requestHeaderModifier: {remove: [x-a]}";
    vec![
        name("rules[].name"),
        silent("hostnames", "gateways match them; a service's name is its host"),
        refused("parentRefs[].group", "parentRefs: [{group: other.example, kind: Service, name: one}]"),
        refused("parentRefs[].kind", "parentRefs: [{group: '', kind: Gateway, name: one}]"),
        refused(
            "rules[].backendRefs[].group",
            rule("backendRefs: [{group: other.example, name: one, port: 9080}]"),
        ),
        refused("rules[].backendRefs[].kind", rule("backendRefs: [{kind: Hostname, name: one, port: 9080}]")),
        refused("rules[].filters[].type", of_rule(other_type)),
        refused("rules[].backendRefs[].filters[].type", of_backend(other_type)),
        refused(
            "rules[].filters[].requestMirror.backendRef.group",
            of_rule(&mirror("group: other.example, port: 9080")),
        ),
        refused(
            "rules[].filters[].requestMirror.backendRef.kind",
            of_rule(&mirror("kind: Hostname, port: 9080")),
        ),
        refused("rules[].backendRefs[].filters[].requestMirror", of_backend(&mirror("port: 9080"))),
    ]
}

fn http_route() -> Vec<Reason> {
    let path = "path: {type: ReplaceFullPath, replacePrefixMatch: /}";
    let redirect = |part: &str| format!("type: RequestRedirect, requestRedirect: {{{part}}}");
    let rewrite = format!("type: URLRewrite, urlRewrite: {{{path}}}");
    let asks = |backend: &str| {
        format!("type: ExternalAuth, externalAuth: {{protocol: GRPC, backendRef: {{name: one, {backend}}}}}")
    };
    vec![
        refused(
            "rules[].filters[].externalAuth.backendRef.group",
            of_rule(&asks("group: other.example, port: 9080")),
        ),
        refused(
            "rules[].filters[].externalAuth.backendRef.kind",
            of_rule(&asks("kind: Hostname, port: 9080")),
        ),
        refused("rules[].backendRefs[].filters[].externalAuth", of_backend(&asks("port: 9080"))),
        refused("rules[].filters[].requestRedirect.path.type", of_rule(&redirect(path))),
        refused("rules[].filters[].urlRewrite.path.type", of_rule(&rewrite)),
        refused("rules[].backendRefs[].filters[].urlRewrite.path.type", of_backend(&rewrite)),
        refused(
            "rules[].backendRefs[].filters[].requestRedirect",
            of_backend(&redirect("hostname: b.example")),
        ),
        refused(
            "rules[].backendRefs[].filters[].cors",
            of_backend("type: CORS, cors: {allowOrigins: ['https://a']}"),
        ),
    ]
}
