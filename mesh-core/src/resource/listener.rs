//! An outbound listener: what a dialled `HOST:PORT` leads to.

use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;

use super::connection_manager::{ConnectionManager, from_ads};
use super::filters;
use super::invalid::{Inside, Invalid, nothing_else};
use crate::canonical::PathNormalization;

/// The route configuration of every host outside a mesh that lets nothing out (Istio's name for it, and its answer: 502).
/// For gRPC it is one like any other; this mesh's clients know it by its name.
pub const BLOCK_ALL: &str = "block_all";

/// What an outbound `Listener` says, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundListener {
    /// `HOST:PORT`, as dialled.
    pub name: Arc<str>,
    /// The route configuration that it leads to.
    pub route_configuration: Arc<str>,
    /// What is done to a path before it is matched.
    pub path_normalization: PathNormalization,
}

impl OutboundListener {
    pub(super) fn parse(mut wire: Listener) -> Result<Self, Invalid> {
        let name = take(&mut wire.name).into();
        let api = take(&mut wire.api_listener).and_then(|api| api.api_listener);
        let api = api.ok_or(Invalid::new("api_listener", "is missing"))?;
        let manager = ConnectionManager::parse(&api).inside("api_listener")?;
        for (filter, config) in &manager.filters {
            filters::check_of_listener(config).inside(filter).inside("api_listener")?;
        }
        let RouteSpecifier::Rds(routes) = manager.routes else {
            return Err(Invalid::new("api_listener.route_specifier", "is not rds"));
        };
        from_ads("api_listener.rds.config_source", routes.config_source)?;
        if routes.route_config_name.is_empty() {
            return Err(Invalid::new("api_listener.rds.route_config_name", "is missing"));
        }
        // Neither changes where a request goes.
        wire.metadata = None;
        wire.stat_prefix.clear();
        wire.traffic_direction = 0;
        nothing_else(&wire)?;
        let path_normalization = manager.path_normalization;
        Ok(Self { name, route_configuration: routes.route_config_name.into(), path_normalization })
    }
}
