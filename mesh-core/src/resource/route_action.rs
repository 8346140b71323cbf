//! What a route does: forward to weighted clusters, redirect, or answer by itself.

use std::mem::take;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::DataSource;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::redirect_action::{
    PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier,
};
use envoy_types::pb::envoy::config::route::v3::route_action::{
    ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration,
    RequestMirrorPolicy,
};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::cluster_weight;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderValue, StatusCode};

use super::invalid::{Inside, Invalid, duration, each, nothing_else};
use super::route::ClusterNames;
use super::{filters, header_options, matchers, retry_policy};
use crate::route::{
    DirectResponse, Forward, Fraction, HeaderOperations, Mirror, PathMatch, PathRewrite, Redirect, Rewrite,
    RouteAction, Split, WeightedDestination,
};

/// The action of a route that matches `path`, on which the rewriting of a prefix depends.
pub(super) fn parse(
    action: wire::route::Action,
    path: &PathMatch,
    clusters: &mut ClusterNames,
) -> Result<RouteAction, Invalid> {
    use wire::route::Action;
    match action {
        Action::Route(wire) => forward(wire, path, clusters).inside("route").map(RouteAction::Forward),
        Action::Redirect(wire) => redirect(wire, path).inside("redirect").map(RouteAction::Redirect),
        Action::DirectResponse(wire) => {
            direct_response(wire).inside("direct_response").map(RouteAction::DirectResponse)
        }
        Action::FilterAction(_) | Action::NonForwardingAction(_) => {
            Err(Invalid::new("action", "is neither route, redirect nor direct_response"))
        }
    }
}

fn forward(
    mut wire: wire::RouteAction,
    path: &PathMatch,
    clusters: &mut ClusterNames,
) -> Result<Forward, Invalid> {
    let split = match take(&mut wire.cluster_specifier) {
        Some(ClusterSpecifier::Cluster(name)) => Split::new(vec![only_destination(name, clusters)]),
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            split(weighted, clusters).inside("weighted_clusters")?
        }
        _ => return Err(Invalid::new("cluster_specifier", "is neither cluster nor weighted_clusters")),
    };
    let not_found = ClusterNotFoundResponseCode::try_from(take(&mut wire.cluster_not_found_response_code));
    let no_cluster_status = match not_found {
        Ok(ClusterNotFoundResponseCode::ServiceUnavailable) => StatusCode::SERVICE_UNAVAILABLE,
        Ok(ClusterNotFoundResponseCode::NotFound) => StatusCode::NOT_FOUND,
        Ok(ClusterNotFoundResponseCode::InternalServerError) => StatusCode::INTERNAL_SERVER_ERROR,
        Err(unknown) => return Err(Invalid::new("cluster_not_found_response_code", unknown)),
    };
    let authority = match take(&mut wire.host_rewrite_specifier) {
        None => None,
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(authority(host)?),
        Some(_) => return Err(Invalid::new("host_rewrite_specifier", "is not host_rewrite_literal")),
    };
    let prefix = Some(take(&mut wire.prefix_rewrite)).filter(|prefix| !prefix.is_empty());
    let path = match (prefix, take(&mut wire.regex_rewrite)) {
        (None, None) => None,
        (Some(prefix), None) => Some(prefix_rewrite("prefix_rewrite", prefix, path)?),
        (None, Some(regex)) => Some(regex_rewrite(regex).inside("regex_rewrite")?),
        (Some(_), Some(_)) => return Err(Invalid::new("regex_rewrite", "stands beside prefix_rewrite")),
    };
    let retry =
        take(&mut wire.retry_policy).map(retry_policy::parse).transpose().inside("retry_policy")?.flatten();
    let timeout = timeout(take(&mut wire.timeout), take(&mut wire.max_stream_duration))?;
    let mirrors = take(&mut wire.request_mirror_policies);
    let mirrors = each("request_mirror_policies", mirrors, |policy| mirror(policy, clusters))?;
    nothing_else(&wire)?;
    Ok(Forward { split, timeout, retry, no_cluster_status, rewrite: Rewrite { path, authority }, mirrors })
}

fn mirror(mut wire: RequestMirrorPolicy, clusters: &mut ClusterNames) -> Result<Mirror, Invalid> {
    let name = take(&mut wire.cluster);
    if name.is_empty() {
        return Err(Invalid::new("cluster", "is missing"));
    }
    let share = take(&mut wire.runtime_fraction)
        .map(|share| filters::fraction(share.default_value.unwrap_or_default()));
    let fraction = share.transpose().inside("runtime_fraction")?.unwrap_or(Fraction::ALL);
    // Copies are not traced by themselves.
    wire.trace_sampled = None;
    nothing_else(&wire)?;
    let (cluster, cluster_index) = clusters.place(name);
    Ok(Mirror { cluster, cluster_index, fraction })
}

fn only_destination(name: String, clusters: &mut ClusterNames) -> WeightedDestination {
    plain_destination(name, 1, clusters)
}

/// A destination for which nothing is changed.
pub(super) fn plain_destination(
    name: String,
    weight: u32,
    clusters: &mut ClusterNames,
) -> WeightedDestination {
    let (cluster, cluster_index) = clusters.place(name);
    WeightedDestination {
        cluster,
        cluster_index,
        weight,
        authority: None,
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    }
}

fn split(mut wire: wire::WeightedCluster, clusters: &mut ClusterNames) -> Result<Split, Invalid> {
    let destinations = each("clusters", take(&mut wire.clusters), |cluster| destination(cluster, clusters))?;
    check_weights(&destinations)?;
    // Nothing is drawn from a runtime here.
    wire.runtime_key_prefix.clear();
    nothing_else(&wire)?;
    Ok(Split::new(destinations))
}

/// Something can be drawn, and the sum is one that Envoy takes.
pub(super) fn check_weights(destinations: &[WeightedDestination]) -> Result<(), Invalid> {
    let total: u64 = destinations.iter().map(|destination| u64::from(destination.weight)).sum();
    match total == 0 || u32::try_from(total).is_err() {
        true => Err(Invalid::new("clusters", format!("the sum of weights is {total}"))),
        false => Ok(()),
    }
}

fn destination(mut wire: ClusterWeight, clusters: &mut ClusterNames) -> Result<WeightedDestination, Invalid> {
    let (cluster, cluster_index) = clusters.place(take(&mut wire.name));
    let weight = take(&mut wire.weight).ok_or(Invalid::new("weight", "is missing"))?.value;
    let authority = match take(&mut wire.host_rewrite_specifier) {
        None => None,
        Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)) => Some(authority(host)?),
    };
    let (add, remove) = (take(&mut wire.request_headers_to_add), take(&mut wire.request_headers_to_remove));
    let request_headers = header_options::operations("request", add, remove)?;
    let (add, remove) = (take(&mut wire.response_headers_to_add), take(&mut wire.response_headers_to_remove));
    let response_headers = header_options::operations("response", add, remove)?;
    nothing_else(&wire)?;
    Ok(WeightedDestination { cluster, cluster_index, weight, authority, request_headers, response_headers })
}

fn authority(host: String) -> Result<HeaderValue, Invalid> {
    let field = "host_rewrite_literal";
    let authority = Authority::try_from(host).map_err(|error| Invalid::new(field, error))?;
    HeaderValue::from_str(authority.as_str()).map_err(|error| Invalid::new(field, error))
}

/// Where a rule matches a prefix, that prefix is replaced; where it matches the whole path, the path is.
fn prefix_rewrite(field: &str, replacement: String, path: &PathMatch) -> Result<PathRewrite, Invalid> {
    let checked = PathAndQuery::try_from(format!("/{replacement}"));
    let checked = checked.map_err(|error| Invalid::new(field, error))?;
    if checked.path().len() != replacement.len() + 1 {
        return Err(Invalid::new(field, "has a query or a fragment"));
    }
    Ok(match path {
        PathMatch::Prefix(matched) | PathMatch::SegmentPrefix(matched) => {
            PathRewrite::Prefix { matched: (*matched.text).into(), replacement: replacement.into() }
        }
        PathMatch::Exact(_) | PathMatch::Regex(_) => PathRewrite::Full(replacement.into()),
    })
}

fn regex_rewrite(
    wire: envoy_types::pb::envoy::r#type::matcher::v3::RegexMatchAndSubstitute,
) -> Result<PathRewrite, Invalid> {
    let (pattern, substitution) = matchers::substitute(wire)?;
    PathRewrite::regex(pattern, &substitution)
        .ok_or(Invalid::new("substitution", "begins a query or names a group that is not there"))
}

/// A request's time. Envoy reads `timeout`, gRPC `max_stream_duration`; the two may only say the same. None, or nought, is no
/// limit, as in Istio.
fn timeout(
    timeout: Option<envoy_types::pb::google::protobuf::Duration>,
    stream: Option<MaxStreamDuration>,
) -> Result<Option<Duration>, Invalid> {
    let positive = |field, wire: Option<_>| {
        let parsed = wire.map(|wire| duration(field, wire)).transpose();
        parsed.map(|parsed| parsed.filter(|duration| !duration.is_zero()))
    };
    let timeout = positive("timeout", timeout)?;
    let mut stream = stream.unwrap_or_default();
    for wire in [take(&mut stream.max_stream_duration), take(&mut stream.grpc_timeout_header_max)] {
        let other = positive("max_stream_duration", wire)?;
        if other.is_some() && other != timeout {
            return Err(Invalid::new("max_stream_duration", "differs from timeout"));
        }
    }
    nothing_else(&stream).inside("max_stream_duration")?;
    Ok(timeout)
}

fn redirect(mut wire: wire::RedirectAction, path: &PathMatch) -> Result<Redirect, Invalid> {
    let host = Some(take(&mut wire.host_redirect)).filter(|host| !host.is_empty());
    let host =
        host.map(Authority::try_from).transpose().map_err(|error| Invalid::new("host_redirect", error))?;
    let port = match u16::try_from(take(&mut wire.port_redirect)) {
        Ok(0) => None,
        Ok(port) => Some(port),
        Err(error) => return Err(Invalid::new("port_redirect", error)),
    };
    let scheme = match take(&mut wire.scheme_rewrite_specifier) {
        None | Some(SchemeRewriteSpecifier::HttpsRedirect(false)) => None,
        Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some("https".into()),
        Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => Some(scheme.into()),
    };
    let status = RedirectResponseCode::try_from(take(&mut wire.response_code));
    let status = match status.map_err(|unknown| Invalid::new("response_code", unknown))? {
        RedirectResponseCode::MovedPermanently => StatusCode::MOVED_PERMANENTLY,
        RedirectResponseCode::Found => StatusCode::FOUND,
        RedirectResponseCode::SeeOther => StatusCode::SEE_OTHER,
        RedirectResponseCode::TemporaryRedirect => StatusCode::TEMPORARY_REDIRECT,
        RedirectResponseCode::PermanentRedirect => StatusCode::PERMANENT_REDIRECT,
    };
    let path = match take(&mut wire.path_rewrite_specifier) {
        None => None,
        Some(PathRewriteSpecifier::PathRedirect(path)) => {
            PathAndQuery::try_from(path.as_str()).map_err(|error| Invalid::new("path_redirect", error))?;
            Some(PathRewrite::Full(path.into()))
        }
        Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => {
            Some(prefix_rewrite("prefix_rewrite", prefix, path)?)
        }
        Some(PathRewriteSpecifier::RegexRewrite(regex)) => {
            Some(regex_rewrite(regex).inside("regex_rewrite")?)
        }
        Some(PathRewriteSpecifier::PathRewrite(_)) => {
            return Err(Invalid::new("path_rewrite", "is not supported by this mesh"));
        }
    };
    nothing_else(&wire)?;
    Ok(Redirect { status, scheme, host: host.map(|host| host.as_str().into()), port, path })
}

fn direct_response(mut wire: wire::DirectResponseAction) -> Result<DirectResponse, Invalid> {
    let status = u16::try_from(take(&mut wire.status)).ok().filter(|status| (200..600).contains(status));
    let status = status.and_then(|status| StatusCode::from_u16(status).ok());
    let status = status.ok_or(Invalid::new("status", "is none from 200 to 599"))?;
    let body = match take(&mut wire.body) {
        None => Vec::new(),
        Some(DataSource { specifier: Some(Specifier::InlineString(text)), watched_directory: None }) => {
            text.into()
        }
        Some(DataSource { specifier: Some(Specifier::InlineBytes(bytes)), watched_directory: None }) => bytes,
        Some(_) => return Err(Invalid::new("body", "is not inline")),
    };
    if body.len() > DIRECT_BODY_BYTES_MAX {
        return Err(Invalid::new(
            "body",
            format!("has {} bytes; {DIRECT_BODY_BYTES_MAX} are allowed", body.len()),
        ));
    }
    nothing_else(&wire)?;
    Ok(DirectResponse { status, body: body.into() })
}

/// Istio's own limit.
const DIRECT_BODY_BYTES_MAX: usize = 1024 * 1024;
