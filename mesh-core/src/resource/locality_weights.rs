//! Whether a balancer weights localities rather than endpoints alone. Each kind of balancer has its own place for it; what is
//! written and what is read stand here together.

use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::LocalityLbConfig;
use envoy_types::pb::envoy::extensions::load_balancing_policies::common::v3::locality_lb_config::{
    LocalityConfigSpecifier, LocalityWeightedLbConfig,
};

use super::invalid::Invalid;

/// What stands in a balancer that draws.
pub fn of_drawn(weighted: bool) -> Option<LocalityLbConfig> {
    let specifier = LocalityConfigSpecifier::LocalityWeightedLbConfig(LocalityWeightedLbConfig {});
    weighted.then_some(LocalityLbConfig { locality_config_specifier: Some(specifier) })
}

/// What stands in a balancer that hashes.
pub(super) fn of_hashed(weighted: bool) -> Option<LocalityWeightedLbConfig> {
    weighted.then_some(LocalityWeightedLbConfig {})
}

/// Reads what stands in a balancer that draws.
pub(super) fn read(wire: &mut Option<LocalityLbConfig>) -> Result<bool, Invalid> {
    match wire.take().map(|config| config.locality_config_specifier) {
        None | Some(None) => Ok(false),
        Some(Some(LocalityConfigSpecifier::LocalityWeightedLbConfig(_))) => Ok(true),
        Some(Some(other)) => Err(Invalid::unsupported(&other).inside("locality_lb_config")),
    }
}
