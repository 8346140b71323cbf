//! An outbound listener: what a dialled `HOST:PORT` leads to.
//!
//! Requests go by its API listener, connections of bytes by its filter chains. A port whose protocol nobody has declared has
//! both, and the caller's own choice of client decides.

use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Listener, ListenerFilter, listener_filter};
use envoy_types::pb::envoy::extensions::filters::listener::tls_inspector::v3::TlsInspector;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;

use super::connection_manager::{ConnectionManager, from_ads};
use super::invalid::{Inside, Invalid, each, nothing_else, unpack};
use super::metadata::Facts;
use super::{OpaqueSpec, filters};
use crate::canonical::PathNormalization;

/// The route configuration of every host outside a mesh that lets nothing out (Istio's name for it, and its answer: 502).
/// For gRPC it is one like any other; this mesh's clients know it by its name.
pub const BLOCK_ALL: &str = "block_all";

/// What an outbound `Listener` says, parsed.
#[derive(Debug, Clone)]
pub struct OutboundListener {
    /// `HOST:PORT`, as dialled.
    pub name: Arc<str>,
    /// The service's full name, where the listener says it.
    pub host: Option<Arc<str>>,
    /// What can be done with the host.
    pub takes: Takes,
}

/// What a port carries.
#[derive(Debug, Clone)]
pub enum Takes {
    /// HTTP.
    Requests(RequestSpec),
    /// Bytes.
    Connections(Arc<OpaqueSpec>),
    /// Either, as the caller will.
    Both(RequestSpec, Arc<OpaqueSpec>),
}

/// Where requests are led.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSpec {
    /// The route configuration.
    pub route_configuration: Arc<str>,
    /// What is done to a path before it is matched.
    pub path_normalization: PathNormalization,
}

impl OutboundListener {
    /// Where requests are led, if any are taken.
    pub fn requests(&self) -> Option<&RequestSpec> {
        match &self.takes {
            Takes::Requests(requests) | Takes::Both(requests, _) => Some(requests),
            Takes::Connections(_) => None,
        }
    }

    /// The rules for connections, if any are taken.
    pub fn connections(&self) -> Option<&Arc<OpaqueSpec>> {
        match &self.takes {
            Takes::Connections(connections) | Takes::Both(_, connections) => Some(connections),
            Takes::Requests(_) => None,
        }
    }

    /// Whether it stands for a host outside a mesh that lets nothing out.
    pub fn is_refused(&self) -> bool {
        self.requests().is_some_and(|requests| *requests.route_configuration == *BLOCK_ALL)
    }

    pub(super) fn parse(mut wire: Listener) -> Result<Self, Invalid> {
        let name = take(&mut wire.name).into();
        let metadata = take(&mut wire.metadata);
        let host = Facts::ours(metadata.as_ref()).text("host");
        let requests = take(&mut wire.api_listener).map(requests).transpose().inside("api_listener")?;
        each("listener_filters", take(&mut wire.listener_filters), tls_inspector)?;
        let connections = OpaqueSpec::parse(take(&mut wire.filter_chains))?.map(Arc::new);
        // Neither changes where anything goes.
        wire.stat_prefix.clear();
        wire.traffic_direction = 0;
        nothing_else(&wire)?;
        let takes = match (requests, connections) {
            (Some(requests), None) => Takes::Requests(requests),
            (None, Some(connections)) => Takes::Connections(connections),
            (Some(requests), Some(connections)) => Takes::Both(requests, connections),
            (None, None) => return Err(Invalid::new("filter_chains", "are missing, as is api_listener")),
        };
        Ok(Self { name, host, takes })
    }
}

fn requests(wire: ApiListener) -> Result<RequestSpec, Invalid> {
    let manager = wire.api_listener.ok_or(Invalid::new("", "is missing"))?;
    let manager = ConnectionManager::parse(&manager)?;
    for (filter, config) in &manager.filters {
        filters::check_of_listener(config).inside(filter)?;
    }
    let RouteSpecifier::Rds(routes) = manager.routes else {
        return Err(Invalid::new("route_specifier", "is not rds"));
    };
    from_ads("rds.config_source", routes.config_source)?;
    if routes.route_config_name.is_empty() {
        return Err(Invalid::new("rds.route_config_name", "is missing"));
    }
    let path_normalization = manager.path_normalization;
    Ok(RequestSpec { route_configuration: routes.route_config_name.into(), path_normalization })
}

/// The one listener filter that is known: by it a proxy sees the server name, which callers in process say themselves.
fn tls_inspector(mut wire: ListenerFilter) -> Result<(), Invalid> {
    let Some(listener_filter::ConfigType::TypedConfig(config)) = take(&mut wire.config_type) else {
        return Err(Invalid::new("typed_config", "is missing"));
    };
    let inspector: TlsInspector = unpack(&config).inside("typed_config")?;
    nothing_else(&inspector).inside("typed_config")?;
    wire.name.clear();
    nothing_else(&wire)
}
