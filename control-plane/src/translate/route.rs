//! The routes of a host: a VirtualService's rules, else the HTTPRoutes', else one route to the whole service.

use envoy_types::pb::envoy::config::core::v3::{DataSource, Metadata, RuntimeFractionalPercent, data_source};
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::cluster_weight::HostRewriteSpecifier as WeightHostRewrite;
use envoy_types::pb::envoy::config::route::v3::{
    DirectResponseAction, RedirectAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    WeightedCluster,
};
use envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use mesh_core::resource::{BLOCK_ALL, Provenance};

use super::cluster::duration;
use super::encode::{self, ROUTES};
use super::metadata::{self, Entry};
use super::name::{ClusterName, host_port};
use super::{filter, gateway_route, hash, header, matcher, retry, sticky};
use crate::document::{
    Headers, HttpAction, HttpRule, Redirect, RedirectPath, RedirectPort, RouteDestination,
};
use crate::model::{Applicable, Routing, Service, View, World, host};

pub(super) fn translate(world: &World, view: &View<'_>, name: &str) -> Option<Any> {
    if name == BLOCK_ALL {
        let refused = Route {
            r#match: Some(matcher::any()),
            action: Some(Action::DirectResponse(direct_response(502, b""))),
            ..Route::default()
        };
        return Some(configuration(name, vec![refused], None));
    }
    let (host, port) = host_port(name)?;
    let resolved = world.resolve(view, host, port)?;
    if resolved.host != host {
        // A route configuration has the full name; a short one names none.
        return None;
    }
    let facts = [("host".to_owned(), Entry::text(host)), ("port".to_owned(), Entry::number(port.into()))];
    let mut routes = routes(world, view, host, resolved.service, port)?;
    hash::tell(world, view, &mut routes);
    Some(configuration(name, routes, Some(metadata::ours(facts))))
}

/// One virtual host for whatever host was dialled.
fn configuration(name: &str, routes: Vec<Route>, metadata: Option<Metadata>) -> Any {
    let configuration = RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: vec![VirtualHost {
            name: name.to_owned(),
            domains: vec!["*".to_owned()],
            routes,
            ..VirtualHost::default()
        }],
        metadata,
        ..RouteConfiguration::default()
    };
    encode::pack(&configuration, &ROUTES)
}

fn routes(
    world: &World,
    view: &View<'_>,
    host: &str,
    service: Option<&Service>,
    port: u16,
) -> Option<Vec<Route>> {
    if let Some(routing) = world.config().virtual_service(view, host) {
        let routes = virtual_service(world, view, routing, port);
        if !routes.is_empty() {
            return Some(routes);
        }
    }
    let service = service?;
    if let Some(alternatives) = world.config().gateway_routes(view, service, port) {
        let route = |alternative| gateway_route::route(world, view, alternative, port);
        return Some(alternatives.iter().map(route).collect());
    }
    // Of a wildcard that is looked up, the host that is called says what.
    let whole = ClusterName { port, subset: "", host: if service.by_host { host } else { &service.host } };
    Some(vec![default_route(&whole)])
}

/// Everything to the whole service, as if there were no documents at all.
fn default_route(cluster: &ClusterName<'_>) -> Route {
    let weight = ClusterWeight {
        name: cluster.to_string(),
        weight: Some(UInt32Value { value: 1 }),
        ..ClusterWeight::default()
    };
    Route {
        r#match: Some(matcher::any()),
        metadata: Some(metadata::ours([])),
        action: Some(Action::Route(forward(vec![weight]))),
        ..Route::default()
    }
}

/// One route per alternative of a rule; whichever matches first decides, so a rule may stand there several times.
fn virtual_service(world: &World, view: &View<'_>, routing: &Routing, port: u16) -> Vec<Route> {
    let mut routes = Vec::new();
    for Applicable { document, index, rule, entries } in routing.rules(view, port) {
        let provenance = Provenance {
            rule: Some(format!("http[{index}]").into()),
            name: rule.name.as_deref().map(Into::into),
            ..document.provenance(rule.span)
        };
        let action = action(world, view, &document.namespace, rule, port);
        let destinations = if let HttpAction::Route(all) = &rule.action { all.len() } else { 0 };
        let route = |matching: RouteMatch| Route {
            name: rule.name.clone().unwrap_or_default(),
            r#match: Some(matching),
            metadata: Some(metadata::route(&provenance, sticky::annotated(&routing.document, destinations))),
            request_headers_to_add: header::to_add(&rule.headers.request),
            request_headers_to_remove: header::to_remove(&rule.headers.request),
            response_headers_to_add: header::to_add(&rule.headers.response),
            response_headers_to_remove: header::to_remove(&rule.headers.response),
            typed_per_filter_config: filter::of_route(rule.fault.as_ref(), rule.cors.as_ref(), None),
            action: Some(action.clone()),
            ..Route::default()
        };
        if entries.is_empty() {
            routes.push(route(matcher::any()));
        }
        routes.extend(entries.into_iter().map(|entry| route(matcher::http(entry))));
    }
    routes
}

fn action(world: &World, view: &View<'_>, namespace: &str, rule: &HttpRule, port: u16) -> Action {
    match &rule.action {
        HttpAction::Route(destinations) => {
            let alone = destinations.len() == 1;
            let weights = destinations.iter().map(|destination| {
                // A single destination takes everything, whatever its weight.
                let weight = if alone { destination.weight.max(1) } else { destination.weight };
                let name = destination_cluster(world, view, namespace, destination, port);
                weighted(&destination.headers, name, weight)
            });
            let mirrors = rule.mirrors.iter().filter(|mirror| mirror.percentage > 0.0);
            let copies = mirrors.map(|mirror| RequestMirrorPolicy {
                cluster: destination_cluster(world, view, namespace, &mirror.destination, port),
                runtime_fraction: Some(RuntimeFractionalPercent {
                    default_value: Some(filter::percentage(mirror.percentage)),
                    ..RuntimeFractionalPercent::default()
                }),
                ..RequestMirrorPolicy::default()
            });
            Action::Route(RouteAction {
                request_mirror_policies: copies.collect(),
                ..rewritten(forward(weights.collect()), rule)
            })
        }
        HttpAction::Redirect(redirect) => Action::Redirect(redirected(redirect, port)),
        HttpAction::DirectResponse(response) => {
            Action::DirectResponse(direct_response(response.status.into(), &response.body))
        }
    }
}

/// The cluster that a destination names. Its port may be left out where the service has one, or has the one that was called.
pub(super) fn destination_cluster(
    world: &World,
    view: &View<'_>,
    namespace: &str,
    destination: &RouteDestination,
    called: u16,
) -> String {
    let host = host::complete(&destination.host.value, namespace);
    let only_port = || match world.service(view, &host)?.ports.as_slice() {
        [only] => Some(only.number),
        _ => None,
    };
    let port = destination.port.or_else(only_port).unwrap_or(called);
    let subset = destination.subset.as_ref().map_or("", |subset| &subset.value);
    ClusterName { port, subset, host: &host }.to_string()
}

/// A cluster's share, with what is done to the headers of the requests that go there.
pub(super) fn weighted(headers: &Headers, name: String, weight: u32) -> ClusterWeight {
    ClusterWeight {
        name,
        weight: Some(UInt32Value { value: weight }),
        request_headers_to_add: header::to_add(&headers.request),
        request_headers_to_remove: header::to_remove(&headers.request),
        response_headers_to_add: header::to_add(&headers.response),
        response_headers_to_remove: header::to_remove(&headers.response),
        host_rewrite_specifier: header::authority(&headers.request)
            .map(|authority| WeightHostRewrite::HostRewriteLiteral(authority.to_owned())),
        ..ClusterWeight::default()
    }
}

/// A route to clusters by weight, without limit in time, with the retries of whom nothing is said.
pub(super) fn forward(clusters: Vec<ClusterWeight>) -> RouteAction {
    RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters,
            ..WeightedCluster::default()
        })),
        // Absent would be Envoy's 15 seconds.
        timeout: Some(duration(std::time::Duration::ZERO)),
        retry_policy: retry::policy(None, None),
        ..RouteAction::default()
    }
}

/// The same within a time, if there is one.
pub(super) fn limited(mut action: RouteAction, timeout: Option<std::time::Duration>) -> RouteAction {
    if let Some(timeout) = timeout {
        action.timeout = Some(duration(timeout));
        // The same for gRPC, which reads only this.
        action.max_stream_duration = Some(MaxStreamDuration {
            max_stream_duration: Some(duration(timeout)),
            grpc_timeout_header_max: Some(duration(timeout)),
            ..MaxStreamDuration::default()
        });
    }
    action
}

fn rewritten(action: RouteAction, rule: &HttpRule) -> RouteAction {
    let mut action = limited(action, rule.timeout);
    action.retry_policy = retry::policy(rule.retries.as_ref(), None);
    let rewrite = rule.rewrite.as_ref();
    let authority = rewrite.and_then(|rewrite| rewrite.authority.as_deref());
    if let Some(authority) = authority.or_else(|| header::authority(&rule.headers.request)) {
        action.host_rewrite_specifier = Some(HostRewriteSpecifier::HostRewriteLiteral(authority.to_owned()));
    }
    if let Some(uri) = rewrite.and_then(|rewrite| rewrite.uri.as_ref()) {
        // Of a route that matches the whole path, the whole path is the matched prefix.
        action.prefix_rewrite.clone_from(uri);
    }
    if let Some(regex) = rewrite.and_then(|rewrite| rewrite.uri_regex.as_ref()) {
        action.regex_rewrite = Some(RegexMatchAndSubstitute {
            pattern: Some(matcher::expression(&regex.pattern)),
            substitution: regex.replacement.clone(),
        });
    }
    action
}

fn redirected(redirect: &Redirect, called: u16) -> RedirectAction {
    let (host, port_of_host) =
        match redirect.authority.as_deref().map(|authority| (authority, host_port(authority))) {
            Some((_, Some((host, port)))) => (host, Some(port)),
            Some((authority, None)) => (authority, None),
            None => ("", None),
        };
    let port = match redirect.port {
        Some(RedirectPort::Number(port)) => Some(port),
        // Without a new host the request's own authority stays, and its port with it.
        Some(RedirectPort::FromRequest) if !host.is_empty() && called != 80 => Some(called),
        Some(RedirectPort::FromRequest | RedirectPort::FromProtocol) | None => port_of_host,
    };
    RedirectAction {
        host_redirect: host.to_owned(),
        port_redirect: port.map_or(0, u32::from),
        response_code: redirect_code(redirect.code).into(),
        scheme_rewrite_specifier: redirect.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        path_rewrite_specifier: redirect.path.as_ref().map(|path| match path {
            RedirectPath::Full(path) => PathRewriteSpecifier::PathRedirect(path.clone()),
            RedirectPath::Prefix(prefix) => PathRewriteSpecifier::PrefixRewrite(prefix.clone()),
        }),
        ..RedirectAction::default()
    }
}

pub(super) fn redirect_code(code: u16) -> RedirectResponseCode {
    match code {
        302 => RedirectResponseCode::Found,
        303 => RedirectResponseCode::SeeOther,
        307 => RedirectResponseCode::TemporaryRedirect,
        308 => RedirectResponseCode::PermanentRedirect,
        _ => RedirectResponseCode::MovedPermanently,
    }
}

pub(super) fn direct_response(status: u32, body: &[u8]) -> DirectResponseAction {
    let body = DataSource {
        specifier: Some(data_source::Specifier::InlineBytes(body.to_vec())),
        ..DataSource::default()
    };
    DirectResponseAction { status, body: Some(body), ..DirectResponseAction::default() }
}
