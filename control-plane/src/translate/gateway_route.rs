//! The rules of HTTPRoutes and GRPCRoutes as routes.
//!
//! A prefix is replaced here by whole segments, which xDS can say in two ways: as a prefix, or, where nothing is left of it
//! and the slash behind it has to stay, as an expression.

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, HostRewriteSpecifier, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::cluster_weight::HostRewriteSpecifier as WeightHostRewrite;
use envoy_types::pb::envoy::config::route::v3::{RedirectAction, Route, RouteAction};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use mesh_core::resource::Provenance;

use super::name::{ClusterName, FORBIDDEN};
use super::route::{direct_response, forward, limited, redirect_code, weighted};
use super::{external_auth, filter, header, matcher, metadata, retry, sticky};
use crate::document::{BackendRef, HttpRoute, PathMatch, PathModifier, RouteMatch, RouteRedirect, RouteRule};
use crate::model::{Alternative, ClientKind, Declared, View, World};

/// One alternative of a rule, for callers of a service's port.
pub(super) fn route(world: &World, view: &View<'_>, alternative: &Alternative<'_>, called: u16) -> Route {
    let Alternative { route, index, rule, entry } = alternative;
    let provenance = Provenance {
        rule: Some(format!("rules[{index}]").into()),
        name: rule.name.as_deref().map(Into::into),
        ..route.provenance(rule.span)
    };
    let sticky = match &rule.session {
        Some(session) => sticky::session(session, route, *index),
        None => sticky::annotated(route, rule.backends.len()),
    };
    let headers = &rule.filters.headers;
    let auth = rule.filters.external_auth.as_ref().map(|auth| {
        let BackendRef { port, .. } = auth.backend;
        let authority = format!("{}:{}", auth.backend.host(&route.namespace), port.unwrap_or_default());
        external_auth::of_route(auth, backend_cluster(world, view, route, &auth.backend), authority)
    });
    let asked = rule.filters.external_auth.as_deref().and_then(external_auth::fact);
    Route {
        name: rule.name.clone().unwrap_or_default(),
        r#match: Some(entry.map_or_else(matcher::any, |entry| matcher::gateway(entry, view))),
        metadata: Some(metadata::route(&provenance, sticky.into_iter().chain(asked))),
        request_headers_to_add: header::to_add(&headers.request),
        request_headers_to_remove: header::to_remove(&headers.request),
        response_headers_to_add: header::to_add(&headers.response),
        response_headers_to_remove: header::to_remove(&headers.response),
        typed_per_filter_config: filter::of_route(None, rule.filters.cors.as_ref(), auth.as_ref()),
        action: Some(match &rule.filters.redirect {
            // Its listener is its own: where that lacks the filter, or the Envoy is an older one, nobody would be asked.
            _ if auth.is_some() && matches!(view.client(), ClientKind::Envoy { .. }) => {
                Action::DirectResponse(direct_response(403, b"external authorization is not available here"))
            }
            Some(redirect) => Action::Redirect(redirected(redirect, matched_prefix(*entry), called)),
            None => forwarded(world, view, route, rule, matched_prefix(*entry)),
        }),
        ..Route::default()
    }
}

/// The segments that a match takes from the path's beginning, without the slash behind them.
fn matched_prefix(entry: Option<&RouteMatch>) -> &str {
    match entry.and_then(|entry| entry.path.as_ref()) {
        Some(PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/'),
        _ => "",
    }
}

fn forwarded(
    world: &World,
    view: &View<'_>,
    route: &Declared<HttpRoute>,
    rule: &RouteRule,
    prefix: &str,
) -> Action {
    if rule.backends.iter().all(|backend| backend.weight == 0) {
        // Nowhere to go, or nobody with a share.
        let status = if is_grpc(route) { 503 } else { 500 };
        return Action::DirectResponse(direct_response(status, b""));
    }
    let clusters = rule.backends.iter().map(|backend| weighted_backend(world, view, route, backend));
    let mut action = forward(clusters.collect());
    if !is_grpc(route) {
        action.cluster_not_found_response_code = ClusterNotFoundResponseCode::InternalServerError.into();
    }
    action.retry_policy = retry::policy(rule.retries.as_ref(), rule.timeouts.backend_request);
    let mirrors = rule.filters.mirrors.iter().filter(|mirror| mirror.percentage > 0.0);
    let copies = mirrors.map(|mirror| RequestMirrorPolicy {
        cluster: backend_cluster(world, view, route, &mirror.backend),
        runtime_fraction: Some(RuntimeFractionalPercent {
            default_value: Some(filter::percentage(mirror.percentage)),
            ..RuntimeFractionalPercent::default()
        }),
        ..RequestMirrorPolicy::default()
    });
    action.request_mirror_policies = copies.collect();
    rewrite(&mut action, rule, prefix);
    Action::Route(limited(action, rule.timeouts.request))
}

/// A GRPCRoute's share that has nowhere to go is UNAVAILABLE, which is HTTP's 503.
fn is_grpc(route: &Declared<HttpRoute>) -> bool {
    route.kind() == "GRPCRoute"
}

fn weighted_backend(
    world: &World,
    view: &View<'_>,
    route: &Declared<HttpRoute>,
    backend: &BackendRef,
) -> ClusterWeight {
    let filters = &backend.filters;
    let name = backend_cluster(world, view, route, backend);
    let weighted = weighted(&filters.headers, name, backend.weight);
    match filters.rewrite.as_ref().and_then(|rewrite| rewrite.hostname.clone()) {
        Some(hostname) => ClusterWeight {
            host_rewrite_specifier: Some(WeightHostRewrite::HostRewriteLiteral(hostname)),
            ..weighted
        },
        None => weighted,
    }
}

/// The cluster of a backend. What no ReferenceGrant gives to the route leads to a cluster that cannot exist.
fn backend_cluster(
    world: &World,
    view: &View<'_>,
    route: &Declared<HttpRoute>,
    backend: &BackendRef,
) -> String {
    let host = backend.host(&route.namespace);
    let known = world.service(view, &host).is_some();
    let subset = if world.config().grants(route, backend) || !known { "" } else { FORBIDDEN };
    ClusterName { port: backend.port.unwrap_or_default(), subset, host: &host }.to_string()
}

/// Host and path as the rule rewrites them, or all of its backends alike.
fn rewrite(action: &mut RouteAction, rule: &RouteRule, prefix: &str) {
    let of_rule = rule.filters.rewrite.as_ref();
    let hostname = of_rule.and_then(|rewrite| rewrite.hostname.as_deref());
    if let Some(hostname) = hostname.or_else(|| header::authority(&rule.filters.headers.request)) {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(hostname.to_owned()));
    }
    let of_backends = rule.backends.first().and_then(|backend| backend.filters.rewrite.as_ref());
    match of_rule.or(of_backends).and_then(|rewrite| rewrite.path.as_ref()) {
        None => {}
        Some(PathModifier::Full(path)) => action.regex_rewrite = Some(substituted("^/.*", &absolute(path))),
        Some(PathModifier::Prefix(replacement)) => match Replaced::new(prefix, replacement) {
            Replaced::Nothing => {}
            Replaced::Prefix(replacement) => action.prefix_rewrite = replacement,
            Replaced::Expression(regex) => action.regex_rewrite = Some(regex),
        },
    }
}

/// How the matched segments of a path are replaced.
enum Replaced {
    /// By themselves.
    Nothing,
    /// Text for text.
    Prefix(String),
    /// With the slash behind them.
    Expression(RegexMatchAndSubstitute),
}

impl Replaced {
    fn new(prefix: &str, replacement: &str) -> Self {
        let replacement = replacement.trim_end_matches('/');
        match (prefix.is_empty(), replacement.is_empty()) {
            (true, true) => Self::Nothing,
            // The match is the path's first slash, which stays.
            (true, false) => Self::Prefix(format!("{}/", absolute(replacement))),
            (false, false) => Self::Prefix(absolute(replacement)),
            (false, true) => Self::Expression(RegexMatchAndSubstitute {
                pattern: Some(matcher::expression(&format!("^{}/?(.*)", regex_syntax::escape(prefix)))),
                substitution: r"/\1".to_owned(),
            }),
        }
    }
}

/// An expression whose matches become a text that has no references.
fn substituted(expression: &str, text: &str) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(matcher::expression(expression)),
        substitution: text.replace('\\', r"\\"),
    }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn redirected(redirect: &RouteRedirect, prefix: &str, called: u16) -> RedirectAction {
    RedirectAction {
        host_redirect: redirect.hostname.clone().unwrap_or_default(),
        port_redirect: redirected_port(redirect, called).map_or(0, u32::from),
        response_code: redirect_code(redirect.code).into(),
        scheme_rewrite_specifier: redirect
            .scheme
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: redirect.path.as_ref().and_then(|path| match path {
            PathModifier::Full(path) => Some(PathRewriteSpecifier::PathRedirect(absolute(path))),
            PathModifier::Prefix(replacement) => match Replaced::new(prefix, replacement) {
                Replaced::Nothing => None,
                Replaced::Prefix(replacement) => Some(PathRewriteSpecifier::PrefixRewrite(replacement)),
                Replaced::Expression(regex) => Some(PathRewriteSpecifier::RegexRewrite(regex)),
            },
        }),
        ..RedirectAction::default()
    }
}

/// The port that has to be named: the filter's own, else that of its scheme, else the one that was called. A scheme's usual port is
/// left out where xDS lets it: unsaid, the request's own port stays, unless the host or the scheme changes.
fn redirected_port(redirect: &RouteRedirect, called: u16) -> Option<u16> {
    let usual = if redirect.scheme == Some("https") { HTTPS } else { HTTP };
    let wanted = redirect.port.or(redirect.scheme.map(|_| usual)).unwrap_or(called);
    let kept = redirect.hostname.is_none() && (redirect.port, redirect.scheme) == (None, None);
    let unsaid_is_usual = redirect.hostname.is_some() || called == HTTP;
    let unsaid = kept || (wanted == usual && unsaid_is_usual);
    (!unsaid).then_some(wanted)
}

const HTTP: u16 = 80;
const HTTPS: u16 = 443;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_port_is_named_only_where_another_would_stay() {
        let check = |scheme, hostname: Option<&str>, port, called, expected: Option<u16>| {
            let hostname = hostname.map(str::to_owned);
            let redirect = RouteRedirect { scheme, hostname, port, ..RouteRedirect::default() };
            assert_eq!(redirected_port(&redirect, called), expected, "{redirect:?} {called}");
        };
        check(None, None, None, 9080, None);
        check(None, None, Some(8083), 80, Some(8083));
        check(None, None, Some(80), 80, None);
        check(None, None, Some(80), 9080, Some(80));
        check(None, Some("b"), None, 80, None);
        check(None, Some("b"), None, 9080, Some(9080));
        check(None, Some("b"), Some(80), 9080, None);
        check(Some("https"), None, None, 80, None);
        check(Some("https"), None, None, 9080, Some(443));
        check(Some("https"), Some("b"), None, 9080, None);
        check(Some("https"), Some("b"), Some(8443), 80, Some(8443));
        check(Some("http"), None, Some(443), 80, Some(443));
    }
}
