//! The inbound side of one listening address: transport mode and policy.

use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, route};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;

use http::HeaderName;

use super::connection_manager::ConnectionManager;
use super::invalid::{Inside, Invalid, each, nothing_else};
use super::metadata::Facts;
use super::{Provenance, rbac, transport_socket};
use crate::authz::Policy;
use crate::canonical::PathNormalization;
use crate::context::PROPAGATED_BY_DEFAULT;

/// What an inbound `Listener` says, parsed.
#[derive(Debug, Clone)]
pub struct InboundListener {
    /// `inbound/10.0.0.7:9080`.
    pub name: Arc<str>,
    /// `default/reviews-v1`.
    pub workload: Option<Arc<str>>,
    /// Which transports are let in.
    pub mtls_mode: MtlsMode,
    /// What set the mode, if a document did.
    pub mtls_provenance: Provenance,
    /// What is done to a path before policy and application see it.
    pub path_normalization: PathNormalization,
    /// The headers that go on from a request to those made on its behalf.
    pub propagated_headers: Arc<[HeaderName]>,
    /// Who may call what.
    pub policy: Policy,
}

/// `PeerAuthentication.mtls.mode`, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MtlsMode {
    /// TLS is not terminated; it passes to the application.
    Disable,
    /// mTLS and plaintext on one port.
    Permissive,
    /// mTLS only.
    Strict,
}

/// A filter chain, read as far as it can be by itself.
struct Chain {
    is_mtls: bool,
    manager: ConnectionManager,
}

impl InboundListener {
    pub(super) fn parse(mut wire: Listener) -> Result<Self, Invalid> {
        let name = take(&mut wire.name).into();
        let metadata = take(&mut wire.metadata);
        let facts = Facts::ours(metadata.as_ref());
        let chains = each("filter_chains", take(&mut wire.filter_chains), chain)?;
        let mtls_mode = mtls_mode(&chains)?;
        let policies = facts.object("policies");
        let Some(Chain { manager, .. }) = chains.into_iter().next() else {
            return Err(Invalid::new("filter_chains", "are missing"));
        };
        let stages = manager.filters.into_iter().map(|(filter, config)| {
            rbac::parse_stage(&config, policies)
                .map_err(|invalid| invalid.inside(format!("filter_chains[0].{filter}")))
        });
        let stages: Vec<_> = stages.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        // The address is part of the name; gRPC servers compare it, and the process knows where it listens.
        wire.address = None;
        wire.stat_prefix.clear();
        wire.traffic_direction = 0;
        nothing_else(&wire)?;
        Ok(Self {
            name,
            workload: facts.text("workload"),
            mtls_mode,
            mtls_provenance: facts.object("mtls").provenance(),
            path_normalization: manager.path_normalization,
            propagated_headers: propagated_headers(facts)?,
            policy: Policy::new(stages),
        })
    }
}

/// A control plane that says nothing of them leaves them at the default.
fn propagated_headers(facts: Facts<'_>) -> Result<Arc<[HeaderName]>, Invalid> {
    let field = "metadata.propagated_headers";
    if !facts.has("propagated_headers") {
        return Ok(PROPAGATED_BY_DEFAULT.clone().into());
    }
    let names = facts.texts("propagated_headers").ok_or(Invalid::new(field, "is no list of names"))?;
    let parse = |name| HeaderName::try_from(name).map_err(|error| Invalid::new(field, error));
    names.into_iter().map(parse).collect()
}

/// Which transports there is a chain for. Two chains must judge alike, for there is one policy per address.
fn mtls_mode(chains: &[Chain]) -> Result<MtlsMode, Invalid> {
    match chains {
        [only] if only.is_mtls => Ok(MtlsMode::Strict),
        [_] => Ok(MtlsMode::Disable),
        [one, other] if one.is_mtls == other.is_mtls => {
            Err(Invalid::new("filter_chains", "are two for one transport"))
        }
        [one, other] => {
            let (one, other) = (&one.manager, &other.manager);
            let filters = |manager: &ConnectionManager| -> Vec<_> {
                manager.filters.iter().map(|(_, config)| config.clone()).collect()
            };
            let alike = filters(one) == filters(other) && one.path_normalization == other.path_normalization;
            alike
                .then_some(MtlsMode::Permissive)
                .ok_or(Invalid::new("filter_chains", "differ in their filters"))
        }
        _ => Err(Invalid::new("filter_chains", "are neither one nor two")),
    }
}

fn chain(mut wire: FilterChain) -> Result<Chain, Invalid> {
    let is_mtls =
        transport_socket::is_downstream_mtls(take(&mut wire.transport_socket)).inside("transport_socket")?;
    let mut condition = take(&mut wire.filter_chain_match).unwrap_or_default();
    let transport = take(&mut condition.transport_protocol);
    if transport != if is_mtls { "tls" } else { "raw_buffer" } {
        let reason = format!("`{transport}` does not fit the transport socket");
        return Err(Invalid::new("filter_chain_match.transport_protocol", reason));
    }
    nothing_else::<FilterChainMatch>(&condition).inside("filter_chain_match")?;
    let Ok([Filter { config_type: Some(filter::ConfigType::TypedConfig(config)), .. }]) =
        <[_; 1]>::try_from(take(&mut wire.filters))
    else {
        return Err(Invalid::new("filters", "are not the connection manager alone"));
    };
    let manager = ConnectionManager::parse(&config).inside("filters[0]")?;
    let RouteSpecifier::RouteConfig(routes) = &manager.routes else {
        return Err(Invalid::new("filters[0].route_specifier", "is not route_config"));
    };
    passes_everything(routes).inside("filters[0].route_config")?;
    wire.name.clear();
    wire.metadata = None;
    nothing_else(&wire)?;
    Ok(Chain { is_mtls, manager })
}

/// A server's routes say no more than "to the application"; one that overrode a filter would change the policy.
fn passes_everything(wire: &RouteConfiguration) -> Result<(), Invalid> {
    let [virtual_host] = wire.virtual_hosts.as_slice() else {
        return Err(Invalid::new("virtual_hosts", "are not exactly one"));
    };
    let overridden =
        !virtual_host.typed_per_filter_config.is_empty() || !wire.typed_per_filter_config.is_empty();
    let plain = virtual_host.routes.iter().all(|route| {
        matches!(route.action, Some(route::Action::NonForwardingAction(_)))
            && route.typed_per_filter_config.is_empty()
    });
    match plain && !overridden {
        true => Ok(()),
        false => Err(Invalid::new("virtual_hosts[0].routes", "are not plain non_forwarding_action")),
    }
}
