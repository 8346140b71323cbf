//! What an outbound listener does with connections of bytes: a filter chain per rule, each ending in `tcp_proxy`.

use std::mem::take;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, FilterChainMatch, filter};
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::TcpProxy;
use envoy_types::pb::envoy::extensions::filters::network::tcp_proxy::v3::tcp_proxy::{
    ClusterSpecifier, WeightedCluster,
};

use super::invalid::{Inside, Invalid, each, nothing_else, unpack};
use super::metadata::Facts;
use super::route::{ClusterNames, sticking};
use super::route_action::{check_weights, plain_destination};
use crate::route::{OpaqueRule, OpaqueTable, Split, StickyKey};

/// The rules for connections, and the clusters that they name.
#[derive(Debug)]
pub struct OpaqueSpec {
    /// The compiled rules.
    pub table: Arc<OpaqueTable>,
    /// Every cluster that a rule names; `WeightedDestination::cluster_index` points here.
    pub clusters: Vec<Arc<str>>,
}

impl OpaqueSpec {
    /// Reads the chains of a listener; `None` where it has none.
    pub(super) fn parse(chains: Vec<FilterChain>) -> Result<Option<Self>, Invalid> {
        if chains.is_empty() {
            return Ok(None);
        }
        let mut clusters = ClusterNames::default();
        let rules = each("filter_chains", chains, |chain| rule(chain, &mut clusters))?;
        let table = OpaqueTable::new(rules).map_err(|ambiguous| Invalid::new("filter_chains", ambiguous))?;
        Ok(Some(Self { table: Arc::new(table), clusters: clusters.into_names() }))
    }
}

fn rule(mut wire: FilterChain, clusters: &mut ClusterNames) -> Result<OpaqueRule, Invalid> {
    let metadata = take(&mut wire.metadata);
    let facts = Facts::ours(metadata.as_ref());
    let mut condition = take(&mut wire.filter_chain_match).unwrap_or_default();
    let server_names =
        each("server_names", take(&mut condition.server_names), server_name).inside("filter_chain_match")?;
    nothing_else::<FilterChainMatch>(&condition).inside("filter_chain_match")?;
    let Ok([Filter { config_type: Some(filter::ConfigType::TypedConfig(config)), .. }]) =
        <[_; 1]>::try_from(take(&mut wire.filters))
    else {
        return Err(Invalid::new("filters", "are not the TCP proxy alone"));
    };
    let (split, connects_max) =
        proxy(unpack(&config).inside("filters[0]")?, clusters).inside("filters[0]")?;
    let split = sticking(split, facts)?;
    if split.sticky_key().is_some_and(|key| *key != StickyKey::Identity) || split.keeps_endpoints() {
        return Err(Invalid::new(
            "metadata.sticky.on",
            "is no fact of a connection; `identity` is the only one",
        ));
    }
    wire.name.clear();
    nothing_else(&wire)?;
    Ok(OpaqueRule { provenance: facts.provenance(), server_names, split, connects_max })
}

/// A name, or a domain as `*.example.com`; in one case, since server names are compared in one.
fn server_name(name: String) -> Result<Box<str>, Invalid> {
    let bare = name.strip_prefix("*.").unwrap_or(&name);
    match bare.is_empty() || bare.contains('*') {
        true => Err(Invalid::new("", format!("`{name}` is neither a name nor `*.` and one"))),
        false => Ok(name.to_ascii_lowercase().into()),
    }
}

fn proxy(mut wire: TcpProxy, clusters: &mut ClusterNames) -> Result<(Split, u32), Invalid> {
    let split = match take(&mut wire.cluster_specifier) {
        Some(ClusterSpecifier::Cluster(name)) if !name.is_empty() => {
            Split::new(vec![plain_destination(name, 1, clusters)])
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => {
            weighted_split(weighted, clusters).inside("weighted_clusters")?
        }
        _ => return Err(Invalid::new("cluster_specifier", "is neither cluster nor weighted_clusters")),
    };
    // Absent is one, as in Envoy.
    let connects_max = take(&mut wire.max_connect_attempts).map_or(1, |attempts| attempts.value);
    if connects_max == 0 {
        return Err(Invalid::new("max_connect_attempts", "is 0"));
    }
    // A name for Envoy's own statistics.
    wire.stat_prefix.clear();
    nothing_else(&wire)?;
    Ok((split, connects_max))
}

fn weighted_split(mut wire: WeightedCluster, clusters: &mut ClusterNames) -> Result<Split, Invalid> {
    let destinations = each("clusters", take(&mut wire.clusters), |mut cluster| {
        let (name, weight) = (take(&mut cluster.name), take(&mut cluster.weight));
        nothing_else(&cluster)?;
        match name.is_empty() {
            true => Err(Invalid::new("name", "is missing")),
            false => Ok(plain_destination(name, weight, clusters)),
        }
    })?;
    check_weights(&destinations)?;
    nothing_else(&wire)?;
    Ok(Split::new(destinations))
}
