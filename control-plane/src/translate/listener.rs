//! The outbound listener: what a dialled `HOST:PORT` leads to. Requests are led in the form that gRPC and our clients read,
//! connections of bytes by filter chains.

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{AggregatedConfigSource, ApiVersion, ConfigSource};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::{
    PathWithEscapedSlashesAction as EscapedSlashes, RouteSpecifier,
};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_filter,
};
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use mesh_core::resource::BLOCK_ALL;

use super::encode::{self, LISTENER, PLAIN};
use super::name::host_port;
use super::{filter, opaque};
use crate::document::OutboundTrafficPolicy;
use crate::model::{View, World};
use mesh_core::canonical::PathNormalization;

pub(super) fn translate(world: &World, view: &View<'_>, name: &str) -> Option<Any> {
    let known = host_port(name).and_then(|(host, port)| Some((world.resolve(view, host, port)?, port)));
    let mut listener = Listener { name: name.to_owned(), ..Listener::default() };
    match known {
        Some((resolved, port)) => {
            let carried = world.carried(view, &resolved, port);
            if carried.requests() {
                listener.api_listener = requests(world, name, format!("{}:{port}", resolved.host));
            }
            if carried.connections() {
                opaque::add_chains(world, view, &resolved, port, &mut listener);
            }
        }
        None if world.settings().outbound_traffic_policy == OutboundTrafficPolicy::RegistryOnly => {
            listener.api_listener = requests(world, name, BLOCK_ALL.to_owned());
        }
        None => return None,
    }
    Some(encode::pack(&listener, &LISTENER))
}

/// What leads requests to their routes.
fn requests(world: &World, name: &str, routes: String) -> Option<ApiListener> {
    let manager = HttpConnectionManager {
        stat_prefix: name.to_owned(),
        http_filters: filter::of_listener(),
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: Some(ads()),
            route_config_name: routes,
        })),
        ..normalizing(world)
    };
    Some(ApiListener { api_listener: Some(encode::pack(&manager, &PLAIN)) })
}

/// A connection manager that makes paths canonical as the mesh's settings say, and nothing more.
pub(super) fn normalizing(world: &World) -> HttpConnectionManager {
    let level = world.settings().path_normalization;
    let decodes = level == PathNormalization::DecodeAndMergeSlashes;
    let escaped = if decodes { EscapedSlashes::UnescapeAndForward } else { EscapedSlashes::KeepUnchanged };
    HttpConnectionManager {
        normalize_path: Some(BoolValue { value: level != PathNormalization::None }),
        merge_slashes: decodes || level == PathNormalization::MergeSlashes,
        path_with_escaped_slashes_action: escaped.into(),
        ..HttpConnectionManager::default()
    }
}

/// "From the stream that this came from", the only source that every gRPC client takes.
pub(super) fn ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3.into(),
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

/// The filter that ends every chain; without it gRPC refuses the listener.
pub(super) fn router() -> HttpFilter {
    filter("envoy.filters.http.router", encode::pack(&Router::default(), &PLAIN))
}

pub(super) fn filter(name: &str, config: Any) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    }
}
