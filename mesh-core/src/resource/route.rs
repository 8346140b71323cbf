//! A route configuration: one virtual host, whose routes become a compiled table.

use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::query_parameter_matcher::QueryParameterMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;

use super::invalid::{Inside, Invalid, each, nothing_else};
use super::metadata::Facts;
use super::{ext_authz, filters, header_options, matchers, route_action};
use crate::matcher::Text;
use crate::route::{
    Forward, NotAStickyKey, PathMatch, QueryMatch, Route, RouteAction, RouteMatch, RouteTable,
    SessionLifetime, Split,
};

/// What a `RouteConfiguration` says, parsed.
#[derive(Debug)]
pub struct RouteSpec {
    /// `FQDN:PORT`.
    pub name: Arc<str>,
    /// The service's full name.
    pub host: Arc<str>,
    /// The compiled rules.
    pub routes: Arc<RouteTable>,
    /// Every cluster that a rule names; `WeightedDestination::cluster_index` points here.
    pub clusters: Vec<Arc<str>>,
}

/// The clusters named so far, each once.
#[derive(Default)]
pub(super) struct ClusterNames {
    names: Vec<Arc<str>>,
    places: HashMap<Arc<str>, usize>,
}

impl ClusterNames {
    pub(super) fn into_names(self) -> Vec<Arc<str>> {
        self.names
    }

    pub(super) fn place(&mut self, name: String) -> (Arc<str>, usize) {
        let name: Arc<str> = name.into();
        let place = *self.places.entry(Arc::clone(&name)).or_insert_with(|| {
            self.names.push(Arc::clone(&name));
            self.names.len() - 1
        });
        (Arc::clone(&self.names[place]), place)
    }
}

impl RouteSpec {
    pub(super) fn parse(mut wire: wire::RouteConfiguration) -> Result<Self, Invalid> {
        let name: Arc<str> = take(&mut wire.name).into();
        let metadata = take(&mut wire.metadata);
        let facts = Facts::ours(metadata.as_ref());
        let host = facts.text("host").unwrap_or_else(|| Arc::clone(&name));
        let mut clusters = ClusterNames::default();
        let Ok([virtual_host]) = <[_; 1]>::try_from(take(&mut wire.virtual_hosts)) else {
            return Err(Invalid::new("virtual_hosts", "are not exactly one"));
        };
        let routes = virtual_host_routes(virtual_host, &mut clusters).inside("virtual_hosts[0]")?;
        // Clusters come over the same stream and are waited for, and there is one virtual host, which any host meets.
        wire.validate_clusters = None;
        wire.ignore_port_in_host_matching = false;
        wire.max_direct_response_body_size_bytes = None;
        nothing_else(&wire)?;
        Ok(Self { name, host, routes: Arc::new(RouteTable::new(routes)), clusters: clusters.into_names() })
    }
}

fn virtual_host_routes(
    mut wire: wire::VirtualHost,
    clusters: &mut ClusterNames,
) -> Result<Vec<Route>, Invalid> {
    wire.name.clear();
    if take(&mut wire.domains) != ["*"] {
        return Err(Invalid::new("domains", "are not `*` alone: what was dialled has chosen the host"));
    }
    let routes = each("routes", take(&mut wire.routes), |route| parse_route(route, clusters))?;
    nothing_else(&wire)?;
    Ok(routes)
}

fn parse_route(mut wire: wire::Route, clusters: &mut ClusterNames) -> Result<Route, Invalid> {
    let metadata = take(&mut wire.metadata);
    let facts = Facts::ours(metadata.as_ref());
    let mut provenance = facts.provenance();
    let name = take(&mut wire.name);
    if provenance.name.is_none() && !name.is_empty() {
        provenance.name = Some(name.into());
    }
    let condition = take(&mut wire.r#match).ok_or(Invalid::new("match", "is missing"))?;
    let condition = parse_match(condition).inside("match")?;
    let action = take(&mut wire.action).ok_or(Invalid::new("action", "is missing"))?;
    let action = match route_action::parse(action, &condition.path, clusters)? {
        RouteAction::Forward(forward) => {
            RouteAction::Forward(Forward { split: sticking(forward.split, facts)?, ..forward })
        }
        action => action,
    };
    let mut filters = filters::of_route(take(&mut wire.typed_per_filter_config), clusters)
        .inside("typed_per_filter_config")?;
    let told = filters.external_auth.map(|auth| ext_authz::telling(auth, facts));
    filters.external_auth = told.transpose().inside("metadata.external_auth")?;
    let (add, remove) = (take(&mut wire.request_headers_to_add), take(&mut wire.request_headers_to_remove));
    let request_headers = header_options::operations("request", add, remove)?;
    let (add, remove) = (take(&mut wire.response_headers_to_add), take(&mut wire.response_headers_to_remove));
    let response_headers = header_options::operations("response", add, remove)?;
    // Names for Envoy's own spans and statistics.
    wire.decorator = None;
    wire.stat_prefix.clear();
    nothing_else(&wire)?;
    Ok(Route { condition, provenance, filters, action, request_headers, response_headers })
}

/// What is ours on a rule and decides: without it, a user would meet another version with every request.
pub(super) fn sticking(split: Split, facts: Facts<'_>) -> Result<Split, Invalid> {
    match facts.has("sticky") {
        true => sticking_by(split, facts.object("sticky")).inside("metadata.sticky"),
        false => Ok(split),
    }
}

fn sticking_by(split: Split, sticky: Facts<'_>) -> Result<Split, Invalid> {
    let [Some(key), Some(salt)] = ["on", "salt"].map(|key| sticky.text(key)) else {
        return Err(Invalid::new("", "has no text `on` or no text `salt`"));
    };
    let key = key.parse().map_err(|error: NotAStickyKey| Invalid::new("on", error))?;
    let mut split = split.sticking_to(key, &salt);
    if sticky.is_true("endpoint") {
        split = split.keeping_endpoints(SessionLifetime {
            seconds_max: sticky.whole("seconds_max"),
            idle_seconds_max: sticky.whole("idle_seconds_max"),
            permanent: sticky.is_true("permanent"),
        });
    }
    Ok(split)
}

fn parse_match(mut wire: wire::RouteMatch) -> Result<RouteMatch, Invalid> {
    let ignore_case = take(&mut wire.case_sensitive).is_some_and(|sensitive| !sensitive.value);
    let text = |text: String| Text { text: text.into(), ignore_case };
    let path = match take(&mut wire.path_specifier) {
        Some(PathSpecifier::Path(path)) => PathMatch::Exact(text(path)),
        Some(PathSpecifier::Prefix(prefix)) => PathMatch::Prefix(text(prefix)),
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) if prefix.ends_with('/') => {
            return Err(Invalid::new("path_separated_prefix", format!("`{prefix}` ends in `/`")));
        }
        Some(PathSpecifier::PathSeparatedPrefix(prefix)) => PathMatch::SegmentPrefix(text(prefix)),
        Some(PathSpecifier::SafeRegex(regex)) => {
            PathMatch::Regex(matchers::full_match(regex).inside("safe_regex")?)
        }
        Some(other) => return Err(Invalid::unsupported(&other).inside("path_specifier")),
        None => return Err(Invalid::new("path_specifier", "is missing")),
    };
    let headers = each("headers", take(&mut wire.headers), matchers::header)?;
    let query = each("query_parameters", take(&mut wire.query_parameters), query_match)?;
    nothing_else(&wire)?;
    Ok(RouteMatch { path, headers, query })
}

fn query_match(wire: wire::QueryParameterMatcher) -> Result<QueryMatch, Invalid> {
    let value = match wire.query_parameter_match_specifier {
        None | Some(QueryParameterMatchSpecifier::PresentMatch(true)) => None,
        Some(QueryParameterMatchSpecifier::StringMatch(string)) => {
            Some(matchers::pattern(string).inside("string_match")?)
        }
        Some(QueryParameterMatchSpecifier::PresentMatch(false)) => {
            return Err(Invalid::new("present_match", "`false` is not supported by this mesh"));
        }
    };
    Ok(QueryMatch { name: wire.name.into(), value })
}
