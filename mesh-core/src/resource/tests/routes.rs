use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{
    DataSource, HeaderValue, HeaderValueOption, RuntimeFractionalPercent,
};
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::retry_policy::{RetryBackOff, RetryHostPredicate};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::cluster_weight;
use envoy_types::pb::envoy::config::route::v3::{
    CorsPolicy, DirectResponseAction, HeaderMatcher, NonForwardingAction, RedirectAction, RetryPolicy, Route,
    RouteAction, RouteConfiguration, RouteMatch, VirtualHost, WeightedCluster,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::google::protobuf::{self, UInt32Value};
use http::StatusCode;

use super::*;
use crate::backoff::Backoff;
use crate::route::{Forward, Fraction, Mirror, PathRewrite, RouteAction as Parsed};

fn prefix(text: &str) -> RouteMatch {
    RouteMatch { path_specifier: Some(PathSpecifier::Prefix(text.into())), ..RouteMatch::default() }
}

fn weighted(name: &str, weight: u32) -> ClusterWeight {
    ClusterWeight {
        name: name.into(),
        weight: Some(UInt32Value { value: weight }),
        ..ClusterWeight::default()
    }
}

fn split(clusters: Vec<ClusterWeight>) -> Option<ClusterSpecifier> {
    Some(ClusterSpecifier::WeightedClusters(WeightedCluster { clusters, ..WeightedCluster::default() }))
}

pub(super) fn forward() -> RouteAction {
    RouteAction {
        cluster_specifier: split(vec![weighted("v1", 90), weighted("v2", 10)]),
        timeout: Some(seconds(3)),
        retry_policy: Some(RetryPolicy {
            retry_on: "connect-failure, refused-stream,reset-before-request".into(),
            num_retries: Some(UInt32Value { value: 2 }),
            ..RetryPolicy::default()
        }),
        ..RouteAction::default()
    }
}

fn seconds(seconds: i64) -> protobuf::Duration {
    protobuf::Duration { seconds, nanos: 0 }
}

pub(super) fn route(action: Action) -> Route {
    Route {
        r#match: Some(prefix("/api")),
        action: Some(action),
        metadata: ours(&[("document", text("VirtualService/default/reviews")), ("rule", text("http[0]"))]),
        ..Route::default()
    }
}

pub(super) fn configuration(routes: Vec<Route>) -> RouteConfiguration {
    let host =
        VirtualHost { name: "reviews".into(), domains: vec!["*".into()], routes, ..VirtualHost::default() };
    RouteConfiguration {
        name: "reviews.default:9080".into(),
        virtual_hosts: vec![host],
        metadata: ours(&[("host", text("reviews.default"))]),
        ..RouteConfiguration::default()
    }
}

pub(super) fn good() -> RouteConfiguration {
    let plain = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::Cluster("v2".into())),
        ..RouteAction::default()
    };
    configuration(vec![route(Action::Route(forward())), route(Action::Route(plain))])
}

pub(super) fn parsed(configuration: &RouteConfiguration) -> Arc<RouteSpec> {
    match parse(ResourceType::RouteConfiguration, &configuration.encode_to_vec()) {
        Ok(Resource::RouteConfiguration(routes)) => routes,
        other => panic!("{other:?}"),
    }
}

/// Reads one forwarding rule.
#[track_caller]
fn check(change: impl FnOnce(&mut RouteAction), check: impl FnOnce(&Forward)) {
    let mut action = forward();
    change(&mut action);
    let routes = parsed(&configuration(vec![route(Action::Route(action))]));
    match &routes.routes.routes()[0].action {
        Parsed::Forward(forward) => check(forward),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(spoil: impl FnOnce(&mut RouteAction), field: &str) {
    let mut action = forward();
    spoil(&mut action);
    refused_action(Action::Route(action), &format!("route.{field}"));
}

#[track_caller]
fn refused_action(action: Action, field: &str) {
    refused_route(|route| route.action = Some(action), field);
}

#[track_caller]
fn refused_route(spoil: impl FnOnce(&mut Route), field: &str) {
    let field = format!("virtual_hosts[0].routes[0].{field}");
    let kind = ResourceType::RouteConfiguration;
    check_refused(kind, good(), |wire| spoil(&mut wire.virtual_hosts[0].routes[0]), &field);
}

#[test]
fn a_split_is_read_and_each_cluster_named_once() {
    let routes = parsed(&good());
    assert_eq!((&*routes.name, &*routes.host), ("reviews.default:9080", "reviews.default"));
    assert_eq!(routes.clusters, ["v1".into(), "v2".into()] as [Arc<str>; 2]);
    let indexes = |at: usize| match &routes.routes.routes()[at].action {
        Parsed::Forward(forward) => {
            forward.split.destinations.iter().map(|to| (to.cluster_index, to.weight)).collect()
        }
        _ => Vec::new(),
    };
    assert_eq!((indexes(0), indexes(1)), (vec![(0, 90), (1, 10)], vec![(1, 1)]));
    let provenance = &routes.routes.routes()[0].provenance;
    assert_eq!(provenance.rule.as_deref(), Some("http[0]"));
}

#[test]
fn a_sticky_key_is_read_with_its_salt() {
    let sticky = |fields: &[(&str, Value)]| {
        let structure = Value { kind: Some(Kind::StructValue(object(fields))) };
        ours(&[("sticky", structure)])
    };
    let good = sticky(&[("on", text("header:x-user")), ("salt", text("VirtualService/default/reviews"))]);
    let wire = Route { metadata: good, ..route(Action::Route(forward())) };
    let routes = parsed(&configuration(vec![wire]));
    let Parsed::Forward(forward) = &routes.routes.routes()[0].action else { panic!("no forward") };
    assert_eq!(forward.split.sticky_key().map(ToString::to_string).as_deref(), Some("header:x-user"));
    assert!(!forward.split.keeps_endpoints());
    let refused = |metadata, field| refused_route(|route| route.metadata = metadata, field);
    refused(sticky(&[("on", text("header:x-user"))]), "metadata.sticky");
    refused(sticky(&[("salt", text("a"))]), "metadata.sticky");
    refused(sticky(&[("on", text("moon")), ("salt", text("a"))]), "metadata.sticky.on");
    refused(ours(&[("sticky", text("header:x-user"))]), "metadata.sticky");
}

#[test]
fn timeouts_and_retries_are_read() {
    check(
        |_| {},
        |forward| {
            assert_eq!(forward.timeout, Some(Duration::from_secs(3)));
            let retry = forward.retry.as_ref().expect("a retry policy");
            assert_eq!((retry.attempts, retry.on.len(), retry.avoids_previous), (2, 3, false));
        },
    );
    check(|wire| wire.timeout = Some(seconds(0)), |forward| assert_eq!(forward.timeout, None));
    check(|wire| wire.retry_policy = None, |forward| assert_eq!(forward.retry, None));
    let nought = |wire: &mut RouteAction| {
        wire.retry_policy.as_mut().expect("there").num_retries = Some(UInt32Value { value: 0 });
    };
    check(nought, |forward| assert_eq!(forward.retry, None));
    let stream =
        |timeout| MaxStreamDuration { max_stream_duration: Some(timeout), ..MaxStreamDuration::default() };
    check(|wire| wire.max_stream_duration = Some(stream(seconds(3))), |_| {});
    refused(|wire| wire.max_stream_duration = Some(stream(seconds(4))), "max_stream_duration");
    refused(|wire| wire.timeout = Some(seconds(-1)), "timeout");
    refused(
        |wire| wire.retry_policy.as_mut().expect("there").retry_on = "5xx,envoy-ratelimited".into(),
        "retry_policy.retry_on",
    );
    let full = || RetryPolicy {
        retry_on: "5xx,retriable-status-codes".into(),
        retriable_status_codes: vec![418],
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(seconds(1)),
            max_interval: Some(seconds(4)),
        }),
        retry_host_predicate: vec![RetryHostPredicate {
            name: "envoy.retry_host_predicates.previous_hosts".into(),
            ..RetryHostPredicate::default()
        }],
        host_selection_retry_max_attempts: 5,
        ..RetryPolicy::default()
    };
    check(
        |wire| wire.retry_policy = Some(full()),
        |forward| {
            let retry = forward.retry.as_ref().expect("a policy");
            assert_eq!(
                (retry.attempts, retry.status_codes[0].as_u16(), retry.avoids_previous),
                (1, 418, true)
            );
            assert_eq!(retry.backoff, Some(Backoff::new(Duration::from_secs(1), Duration::from_secs(4))));
        },
    );
    let refused_policy = |change: fn(&mut RetryPolicy), field: &str| {
        let mut policy = full();
        change(&mut policy);
        refused(|wire| wire.retry_policy = Some(policy), field);
    };
    refused_policy(
        |policy| policy.retriable_status_codes.push(1000),
        "retry_policy.retriable_status_codes[1]",
    );
    refused_policy(|policy| policy.retry_host_predicate[0].name.clear(), "retry_policy.retry_host_predicate");
    refused_policy(
        |policy| policy.retry_back_off.as_mut().expect("there").max_interval = Some(seconds(0)),
        "retry_policy.retry_back_off.max_interval",
    );
    refused_policy(
        |policy| policy.retry_back_off = Some(RetryBackOff::default()),
        "retry_policy.retry_back_off.base_interval",
    );
    refused_policy(
        |policy| policy.retriable_headers.push(HeaderMatcher::default()),
        "retry_policy.retriable_headers",
    );
    check(
        |wire| {
            wire.retry_policy =
                Some(RetryPolicy { per_try_timeout: Some(seconds(1)), ..RetryPolicy::default() })
        },
        |forward| {
            let retry = forward.retry.as_ref().expect("a policy");
            assert_eq!((retry.attempts, retry.per_try_timeout), (0, Some(Duration::from_secs(1))));
        },
    );
    refused(
        |wire| wire.retry_policy.as_mut().expect("there").per_try_timeout = Some(seconds(-1)),
        "retry_policy.per_try_timeout",
    );
}

#[test]
fn rewrites_depend_on_what_was_matched() {
    let rewritten =
        |forward: &Forward| forward.rewrite.path.as_ref().map(|path| path.apply("/api/x").into_owned());
    check(
        |wire| wire.prefix_rewrite = "/v1".into(),
        |forward| assert_eq!(rewritten(forward).as_deref(), Some("/v1/x")),
    );
    let regex = |substitution: &str| RegexMatchAndSubstitute {
        pattern: Some(RegexMatcher { regex: "^/(.*)/x$".into(), ..RegexMatcher::default() }),
        substitution: substitution.into(),
    };
    check(
        |wire| wire.regex_rewrite = Some(regex(r"/\1")),
        |forward| assert_eq!(rewritten(forward).as_deref(), Some("/api")),
    );
    refused(|wire| wire.regex_rewrite = Some(regex(r"/\2")), "regex_rewrite.substitution");
    refused(|wire| wire.prefix_rewrite = "/a?b".into(), "prefix_rewrite");
    refused(|wire| wire.prefix_rewrite = "/a b".into(), "prefix_rewrite");
    let exact = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Path("/api".into())),
            ..RouteMatch::default()
        }),
        ..route(Action::Route(RouteAction { prefix_rewrite: "/v1".into(), ..forward() }))
    };
    let routes = parsed(&configuration(vec![exact]));
    let Parsed::Forward(forward) = &routes.routes.routes()[0].action else { panic!("no forward") };
    assert!(matches!(forward.rewrite.path, Some(PathRewrite::Full(_))));
}

#[test]
fn an_authority_is_a_literal() {
    let literal = |host: &str| Some(HostRewriteSpecifier::HostRewriteLiteral(host.into()));
    check(
        |wire| wire.host_rewrite_specifier = literal("ratings:80"),
        |forward| {
            assert_eq!(
                forward.rewrite.authority.as_ref().map(|value| value.as_bytes()),
                Some(&b"ratings:80"[..])
            )
        },
    );
    refused(|wire| wire.host_rewrite_specifier = literal("a b"), "host_rewrite_literal");
    refused(
        |wire| wire.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteHeader("x".into())),
        "host_rewrite_specifier",
    );
    let mut destination = weighted("v1", 1);
    destination.host_rewrite_specifier =
        Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral("b".into()));
    check(
        |wire| wire.cluster_specifier = split(vec![destination]),
        |forward| assert!(forward.split.destinations[0].authority.is_some()),
    );
}

#[test]
fn a_forward_that_cannot_be_honoured_is_refused() {
    refused(
        |wire| wire.cluster_specifier = Some(ClusterSpecifier::ClusterHeader("x".into())),
        "cluster_specifier",
    );
    refused(|wire| wire.cluster_specifier = split(vec![weighted("a", 0)]), "weighted_clusters.clusters");
    refused(
        |wire| wire.cluster_specifier = split(vec![weighted("a", u32::MAX), weighted("b", 1)]),
        "weighted_clusters.clusters",
    );
    refused(
        |wire| wire.cluster_specifier = split(vec![ClusterWeight::default()]),
        "weighted_clusters.clusters[0].weight",
    );
    refused(|wire| wire.idle_timeout = Some(seconds(1)), "idle_timeout");
    #[allow(deprecated, reason = "it is refused")]
    refused(|wire| wire.cors = Some(CorsPolicy::default()), "cors");
}

#[test]
fn mirrors_are_read_with_their_share() {
    let good = || RequestMirrorPolicy { cluster: "v3".into(), ..RequestMirrorPolicy::default() };
    let share = |numerator| {
        let default_value = Some(FractionalPercent { numerator, ..FractionalPercent::default() });
        Some(RuntimeFractionalPercent { default_value, ..RuntimeFractionalPercent::default() })
    };
    let half = RequestMirrorPolicy { runtime_fraction: share(50), ..good() };
    check(
        |wire| wire.request_mirror_policies = vec![good(), half],
        |forward| {
            let expected = |fraction| Mirror { cluster: "v3".into(), cluster_index: 2, fraction };
            let half = Fraction::of_million(500_000);
            assert_eq!(forward.mirrors, [expected(Fraction::ALL), expected(half)]);
        },
    );
    let refused = |policy, field| {
        let field = format!("request_mirror_policies[0]{field}");
        refused(|wire| wire.request_mirror_policies = vec![policy], &field);
    };
    refused(RequestMirrorPolicy::default(), ".cluster");
    refused(RequestMirrorPolicy { cluster_header: "x".into(), ..good() }, ".cluster_header");
    refused(RequestMirrorPolicy { host_rewrite_literal: "x".into(), ..good() }, ".host_rewrite_literal");
    let unmarked = RequestMirrorPolicy { disable_shadow_host_suffix_append: true, ..good() };
    refused(unmarked, ".disable_shadow_host_suffix_append");
}

#[test]
fn matches_that_cannot_be_honoured_are_refused() {
    let check = |spoil: fn(&mut RouteMatch), field: &str| {
        refused_route(|route| spoil(route.r#match.as_mut().expect("match")), &format!("match.{field}"));
    };
    check(|wire| wire.path_specifier = None, "path_specifier");
    check(
        |wire| wire.path_specifier = Some(PathSpecifier::ConnectMatcher(Default::default())),
        "path_specifier",
    );
    check(
        |wire| wire.path_specifier = Some(PathSpecifier::PathSeparatedPrefix("/a/".into())),
        "path_separated_prefix",
    );
    check(
        |wire| {
            wire.path_specifier =
                Some(PathSpecifier::SafeRegex(RegexMatcher { regex: "[".into(), ..Default::default() }))
        },
        "safe_regex.regex",
    );
    check(|wire| wire.runtime_fraction = Some(Default::default()), "runtime_fraction");
    check(|wire| wire.headers = vec![Default::default()], "headers[0].name");
    check(|wire| wire.grpc = Some(Default::default()), "grpc");
    refused_route(|route| route.r#match = None, "match");
}

#[test]
fn redirects_and_direct_responses_are_read() {
    let redirect = RedirectAction {
        host_redirect: "b".into(),
        port_redirect: 85,
        response_code: 1,
        scheme_rewrite_specifier: Some(SchemeRewriteSpecifier::HttpsRedirect(true)),
        path_rewrite_specifier: Some(PathRewriteSpecifier::PrefixRewrite("/v1".into())),
        ..RedirectAction::default()
    };
    let direct = DirectResponseAction {
        status: 503,
        body: Some(DataSource {
            specifier: Some(Specifier::InlineString("busy".into())),
            ..DataSource::default()
        }),
        ..DirectResponseAction::default()
    };
    let routes = parsed(&configuration(vec![
        route(Action::Redirect(redirect.clone())),
        route(Action::DirectResponse(direct.clone())),
    ]));
    let [one, other] = routes.routes.routes() else { panic!("not two rules") };
    let Parsed::Redirect(parsed) = &one.action else { panic!("no redirect") };
    assert_eq!(
        (parsed.status, parsed.port, parsed.scheme.as_deref()),
        (StatusCode::FOUND, Some(85), Some("https"))
    );
    let Parsed::DirectResponse(answer) = &other.action else { panic!("no answer") };
    assert_eq!((answer.status, &answer.body[..]), (StatusCode::SERVICE_UNAVAILABLE, &b"busy"[..]));
    refused_action(
        Action::Redirect(RedirectAction { strip_query: true, ..redirect.clone() }),
        "redirect.strip_query",
    );
    refused_action(
        Action::Redirect(RedirectAction { port_redirect: 70_000, ..redirect }),
        "redirect.port_redirect",
    );
    refused_action(
        Action::DirectResponse(DirectResponseAction { status: 100, ..direct.clone() }),
        "direct_response.status",
    );
    let file = Some(DataSource {
        specifier: Some(Specifier::Filename("/etc/passwd".into())),
        ..DataSource::default()
    });
    refused_action(
        Action::DirectResponse(DirectResponseAction { body: file, ..direct }),
        "direct_response.body",
    );
    refused_action(Action::NonForwardingAction(NonForwardingAction {}), "action");
}

#[test]
fn header_operations_are_read_at_each_level() {
    let option = HeaderValueOption {
        header: Some(HeaderValue { key: "x".into(), value: "100%%".into(), ..HeaderValue::default() }),
        ..HeaderValueOption::default()
    };
    let mut destination = weighted("v1", 1);
    destination.response_headers_to_remove = vec!["server".into()];
    let mut wire =
        route(Action::Route(RouteAction { cluster_specifier: split(vec![destination]), ..forward() }));
    wire.request_headers_to_add = vec![option.clone()];
    let routes = parsed(&configuration(vec![wire]));
    let rule = &routes.routes.routes()[0];
    assert_eq!(rule.request_headers.add[0].1, "100%");
    let Parsed::Forward(forward) = &rule.action else { panic!("no forward") };
    assert_eq!(forward.split.destinations[0].response_headers.remove, ["server"]);
    check_refused(
        ResourceType::RouteConfiguration,
        good(),
        |wire| wire.virtual_hosts[0].request_headers_to_add = vec![option],
        "virtual_hosts[0].request_headers_to_add",
    );
}

#[test]
fn there_is_one_virtual_host_for_every_domain() {
    let check = |spoil: fn(&mut RouteConfiguration), field| {
        check_refused(ResourceType::RouteConfiguration, good(), spoil, field);
    };
    check(|wire| wire.virtual_hosts.clear(), "virtual_hosts");
    check(|wire| wire.virtual_hosts.push(VirtualHost::default()), "virtual_hosts");
    check(|wire| wire.virtual_hosts[0].domains = vec!["a".into()], "virtual_hosts[0].domains");
    check(|wire| wire.vhost_header = "x".into(), "vhost_header");
}
