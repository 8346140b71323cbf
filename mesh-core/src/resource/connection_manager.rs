//! The HTTP connection manager, which outbound and inbound listeners share: where routes come from, which filters run, and
//! how far paths are normalized.

use std::mem::take;

use envoy_types::pb::envoy::config::core::v3::ConfigSource;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    PathWithEscapedSlashesAction as EscapedSlashes, RouteSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_filter,
};
use envoy_types::pb::google::protobuf::Any;

use super::invalid::{Invalid, holds, nothing_else, unpack};
use crate::canonical::PathNormalization;

/// What a connection manager says.
pub(super) struct ConnectionManager {
    pub(super) routes: RouteSpecifier,
    /// The filters before the router, by name.
    pub(super) filters: Vec<(String, Any)>,
    pub(super) path_normalization: PathNormalization,
}

impl ConnectionManager {
    pub(super) fn parse(any: &Any) -> Result<Self, Invalid> {
        let mut wire: HttpConnectionManager = unpack(any)?;
        let routes = take(&mut wire.route_specifier).ok_or(Invalid::new("route_specifier", "is missing"))?;
        let filters = filters(take(&mut wire.http_filters))?;
        let path_normalization = path_normalization(&mut wire)?;
        // These shape Envoy's own statistics, connections and access logs, and no request.
        wire.stat_prefix.clear();
        wire.codec_type = 0;
        nothing_else(&wire)?;
        Ok(Self { routes, filters, path_normalization })
    }
}

/// Splits off the router, which must end the list and run. Of the others external authorization alone may wait for a route to
/// enable it: it does nothing without one, and Envoy must not ask a service that nobody named.
fn filters(wire: Vec<HttpFilter>) -> Result<Vec<(String, Any)>, Invalid> {
    let mut filters = Vec::with_capacity(wire.len());
    for (at, filter) in wire.into_iter().enumerate() {
        let name = format!("http_filters[{at}] {}", filter.name);
        match filter.config_type {
            Some(http_filter::ConfigType::TypedConfig(config))
                if !filter.disabled || holds::<ExtAuthz>(&config) =>
            {
                filters.push((name, config))
            }
            _ => return Err(Invalid::new(name, "is disabled or has no configuration of its own")),
        }
    }
    match filters.pop() {
        Some((_, last)) if holds::<Router>(&last) => Ok(filters),
        _ => Err(Invalid::new("http_filters", "do not end in the router")),
    }
}

/// Istio's levels as Envoy's fields. Nothing said at all is Istio's default, which is also the safer reading.
fn path_normalization(wire: &mut HttpConnectionManager) -> Result<PathNormalization, Invalid> {
    let field = "path_with_escaped_slashes_action";
    let escaped = EscapedSlashes::try_from(take(&mut wire.path_with_escaped_slashes_action));
    let decodes = match escaped.map_err(|unknown| Invalid::new(field, unknown))? {
        EscapedSlashes::ImplementationSpecificDefault | EscapedSlashes::KeepUnchanged => false,
        EscapedSlashes::UnescapeAndForward => true,
        other => return Err(Invalid::new(field, format!("{} is not supported", other.as_str_name()))),
    };
    let normalizes = take(&mut wire.normalize_path).is_none_or(|normalize| normalize.value);
    match (normalizes, take(&mut wire.merge_slashes), decodes) {
        (false, false, false) => Ok(PathNormalization::None),
        (true, false, false) => Ok(PathNormalization::Base),
        (true, true, false) => Ok(PathNormalization::MergeSlashes),
        (true, true, true) => Ok(PathNormalization::DecodeAndMergeSlashes),
        _ => Err(Invalid::new("normalize_path", "with these slashes is none of the known levels")),
    }
}

/// The mesh has one stream; everything comes from it.
pub(super) fn from_ads(field: &str, source: Option<ConfigSource>) -> Result<(), Invalid> {
    match source.and_then(|source| source.config_source_specifier) {
        Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_)) => Ok(()),
        _ => Err(Invalid::new(field, "is not ADS")),
    }
}
