//! What of a route configuration a kind of client does not honour.
//!
//! gRPC's side is gRFC A28 (matching, splitting), A31 (timeouts), A33 (faults), A42 (hashing) and A44 (retries): a field that these do
//! not name is passed over. A filter of a route that it does not know has it refuse the whole configuration (A39). Envoy honours every standard
//! field; what it passes over is ours.

use envoy_types::pb::envoy::config::core::v3::{HeaderValueOption, Metadata};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::HashPolicy;
use envoy_types::pb::envoy::config::route::v3::route_action::hash_policy::PolicySpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, route_action,
};
use envoy_types::pb::google::protobuf::Struct;
use envoy_types::pb::google::protobuf::value::Kind;
use mesh_core::resource::provenance::METADATA_KEY;

use crate::model::ClientKind;
use crate::translate::EXT_AUTHZ;

/// Something that a rule says and a kind of client does not do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// `VirtualService/default/reviews`.
    pub document: String,
    /// `http[1]`.
    pub rule: String,
    /// What is not done.
    pub feature: &'static str,
    /// What happens instead.
    pub effect: Effect,
}

/// What a client does with what it does not honour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Goes on as if it were not there.
    Ignored,
    /// Passes over the rule, so that a later one decides.
    RuleSkipped,
    /// Fails every call that meets the rule.
    CallsFail,
    /// Refuses the host's rules as they are now.
    RulesRefused,
}

impl Effect {
    /// The end of a sentence that begins with the kind of client.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ignored => "goes on as if it were not there",
            Self::RuleSkipped => "passes over the whole rule",
            Self::CallsFail => "fails every call that meets the rule",
            Self::RulesRefused => "refuses all rules of the service, and keeps those that it had",
        }
    }
}

impl Loss {
    /// What `kind` leaves out of a route configuration, rule by rule; what the mesh made by itself loses nothing.
    pub fn of_routes(kind: &ClientKind, routes: &RouteConfiguration) -> Vec<Self> {
        let all = routes.virtual_hosts.iter().flat_map(|host| &host.routes);
        let mut lost: Vec<Self> = all.filter_map(|route| Self::of_route(kind, route)).flatten().collect();
        // A rule with several matches is several routes.
        lost.sort();
        lost.dedup();
        lost
    }

    fn of_route(kind: &ClientKind, route: &Route) -> Option<Vec<Self>> {
        let facts = ours(route.metadata.as_ref()?)?;
        let (document, rule) = (text(facts, "document")?, text(facts, "rule")?);
        let loss = |(feature, effect)| {
            let (document, rule) = (document.to_owned(), rule.to_owned());
            Self { document, rule, feature, effect }
        };
        Some(features(kind, route).into_iter().map(loss).collect())
    }
}

type Features = Vec<(&'static str, Effect)>;

fn features(kind: &ClientKind, route: &Route) -> Features {
    let mut lost = Features::new();
    if *kind == ClientKind::Mesh {
        return lost;
    }
    if route.metadata.as_ref().and_then(ours).is_some_and(|facts| facts.fields.contains_key("sticky")) {
        lost.push(("the sticky choice (each request is drawn anew)", Effect::Ignored));
    }
    if route.typed_per_filter_config.contains_key(EXT_AUTHZ) {
        let effect = if *kind == ClientKind::Grpc { Effect::RulesRefused } else { Effect::CallsFail };
        lost.push(("external authorization", effect));
    }
    if *kind == ClientKind::Grpc {
        of_grpc(route, &mut lost);
    }
    lost
}

fn of_grpc(route: &Route, lost: &mut Features) {
    let matching = route.r#match.as_ref();
    if matching.is_some_and(|wanted| !wanted.query_parameters.is_empty()) {
        lost.push(("matching by query parameters", Effect::RuleSkipped));
    }
    if matching.is_some_and(meets_absence) {
        lost.push(("`withoutHeaders` where the header is absent", Effect::RuleSkipped));
    }
    if changes_headers(
        [&route.request_headers_to_add, &route.response_headers_to_add],
        [&route.request_headers_to_remove, &route.response_headers_to_remove],
    ) {
        lost.push(("changes of headers", Effect::Ignored));
    }
    match &route.action {
        Some(Action::Route(action)) => of_grpc_action(action, lost),
        Some(Action::Redirect(_)) => lost.push(("the redirect", Effect::CallsFail)),
        Some(Action::DirectResponse(_)) => lost.push(("the direct response", Effect::CallsFail)),
        _ => {}
    }
}

/// Whether a header may be absent because it is unlike a text. gRPC knows an absent header by `present_match` alone.
fn meets_absence(wanted: &RouteMatch) -> bool {
    let demanded = |name: &str| wanted.headers.iter().any(|other| other.name == name && !other.invert_match);
    wanted.headers.iter().any(|header| header.treat_missing_header_as_empty && !demanded(&header.name))
}

fn of_grpc_action(action: &RouteAction, lost: &mut Features) {
    let weights = match &action.cluster_specifier {
        Some(route_action::ClusterSpecifier::WeightedClusters(weighted)) => &weighted.clusters[..],
        _ => &[],
    };
    let host = |weight: &ClusterWeight| weight.host_rewrite_specifier.is_some();
    let headers = |weight: &ClusterWeight| {
        changes_headers(
            [&weight.request_headers_to_add, &weight.response_headers_to_add],
            [&weight.request_headers_to_remove, &weight.response_headers_to_remove],
        )
    };
    if weights.iter().any(headers) {
        lost.push(("changes of headers by destination", Effect::Ignored));
    }
    if action.host_rewrite_specifier.is_some() || weights.iter().any(host) {
        lost.push(("rewriting the authority", Effect::Ignored));
    }
    if !action.prefix_rewrite.is_empty() || action.regex_rewrite.is_some() {
        lost.push(("rewriting the path", Effect::Ignored));
    }
    if !action.request_mirror_policies.is_empty() {
        lost.push(("mirrors", Effect::Ignored));
    }
    let by_header = |policy: &HashPolicy| matches!(policy.policy_specifier, Some(PolicySpecifier::Header(_)));
    if !action.hash_policy.iter().all(by_header) {
        lost.push(("consistent hashing by what is no header (each request is drawn)", Effect::Ignored));
    }
    if let Some(policy) = &action.retry_policy {
        of_grpc_retries(policy, lost);
    }
}

/// A44 knows five conditions; of the mesh's own safe default gRPC does the same unasked.
fn of_grpc_retries(policy: &RetryPolicy, lost: &mut Features) {
    let unknown = |condition: &str| !GRPC_RETRIES.contains(&condition) && !UNASKED.contains(&condition);
    if policy.retry_on.split(',').any(unknown) {
        lost.push(("retries on other conditions than gRPC statuses", Effect::Ignored));
    }
    if policy.per_try_timeout.is_some() {
        lost.push(("the timeout of each attempt", Effect::Ignored));
    }
}

/// Whether any of the four lists of header changes says something.
fn changes_headers(added: [&[HeaderValueOption]; 2], removed: [&[String]; 2]) -> bool {
    added.iter().any(|list| !list.is_empty()) || removed.iter().any(|list| !list.is_empty())
}

fn ours(metadata: &Metadata) -> Option<&Struct> {
    metadata.filter_metadata.get(METADATA_KEY)
}

fn text<'s>(facts: &'s Struct, key: &str) -> Option<&'s str> {
    match facts.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

const GRPC_RETRIES: [&str; 5] =
    ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"];
/// What gRPC sends again by itself (transparent retries), asked or not.
const UNASKED: [&str; 3] = ["connect-failure", "refused-stream", "reset-before-request"];
