//! Where the endpoints of a service stand for one caller: who is asked first, who only when those fail, and with which share.
//!
//! ```text
//!  localityLbSetting   distribute           ─► one priority, localities weighted
//!                      failover             ─► priorities by nearness: subzone, zone, region, the region named, the rest
//!                      failoverPriority     ─► priorities by labels, in their order; nearness within, where both are given
//!  zoneAwareLbSetting  the caller's zone, while it can bear its callers ─► the region ─► the others
//! ```
//! Priorities have no gaps, as clients demand. ISTIO-FIELDS §2.6 says what each setting means; what is done otherwise here
//! stands in ARCHITECTURE.md.

mod distribute;
mod failover;
mod place;
mod zone_aware;

pub use place::{NETWORK, Place, REGION, SUBZONE, ZONE};

/// Which setting of a mesh, a rule or a service applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preference {
    /// By localities or labels.
    Locality(LocalitySetting),
    /// By zones, as far as they can bear it.
    ZoneAware(ZoneAwareSetting),
}

/// `localityLbSetting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalitySetting {
    /// Whether it does anything.
    pub enabled: bool,
    /// The shares of localities, by the caller's.
    pub distribute: Vec<Distribute>,
    /// Which region stands in for another.
    pub failover: Vec<Failover>,
    /// Labels in which endpoints should be like the caller, the weightiest first; `KEY=VALUE` says what the caller's is.
    pub failover_priority: Vec<String>,
}

impl Default for LocalitySetting {
    fn default() -> Self {
        Self { enabled: true, distribute: Vec::new(), failover: Vec::new(), failover_priority: Vec::new() }
    }
}

/// The shares of the localities to which callers of one go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Distribute {
    /// `region/zone/subzone`, of which the last may be `*`.
    pub from: String,
    /// The same, each with its share; together 100.
    pub to: Vec<(String, u32)>,
}

/// A region and the one that stands in for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failover {
    /// The caller's region.
    pub from: String,
    /// Where its callers go.
    pub to: String,
}

/// `zoneAwareLbSetting`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneAwareSetting {
    /// Whether it does anything.
    pub enabled: bool,
    /// As in a [`LocalitySetting`].
    pub failover: Vec<Failover>,
    /// As in a [`LocalitySetting`].
    pub failover_priority: Vec<String>,
    /// With fewer endpoints in the caller's region, zones do not matter.
    pub endpoints_min: u32,
}

impl Default for ZoneAwareSetting {
    fn default() -> Self {
        let endpoints_min = ENDPOINTS_MIN;
        Self { enabled: true, failover: Vec::new(), failover_priority: Vec::new(), endpoints_min }
    }
}

/// Where an endpoint stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Standing {
    /// 0 is asked first, then 1, without gaps.
    pub priority: u32,
    /// The share of its locality among those of its priority, where they are weighted; at least 1.
    pub locality_weight: Option<u32>,
}

/// An endpoint as far as it matters here.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Where it is.
    pub place: Place<'a>,
    /// Relative to the others, at least 1.
    pub weight: u32,
    /// Whether it takes requests, as far as is known.
    pub healthy: bool,
}

impl Preference {
    /// Whether it asks where the caller is, of endpoints of which some have a locality.
    pub fn asks_locality(&self, fails_over: bool) -> bool {
        match self {
            Self::Locality(setting) => !setting.distribute.is_empty() || fails_over,
            Self::ZoneAware(_) => true,
        }
    }

    /// Whether it asks for the caller's labels.
    pub fn asks_labels(&self, fails_over: bool) -> bool {
        match self {
            Self::Locality(setting) => {
                setting.distribute.is_empty() && fails_over && !setting.failover_priority.is_empty()
            }
            Self::ZoneAware(setting) => !setting.failover_priority.is_empty(),
        }
    }

    /// Where each of the endpoints stands for a caller; `None`: nowhere, it is not asked. Priorities there are only where requests
    /// `fail over`, since who never finds that an endpoint fails would never leave the first.
    pub fn standings(
        &self,
        fails_over: bool,
        caller: Place<'_>,
        endpoints: &[Candidate<'_>],
    ) -> Vec<Option<Standing>> {
        let flat = || vec![Some(Standing::default()); endpoints.len()];
        match self {
            Self::Locality(setting) if !setting.distribute.is_empty() => {
                match setting.distribute.iter().find(|rule| caller.is_in(&rule.from)) {
                    Some(rule) => distribute::standings(rule, endpoints),
                    None => flat(),
                }
            }
            Self::Locality(setting) if fails_over => failover::standings(setting, caller, endpoints),
            Self::Locality(_) => flat(),
            Self::ZoneAware(setting) => zone_aware::standings(setting, caller, endpoints),
        }
    }
}

/// Priorities without gaps, in the order of what they are made of.
fn compact<T: Ord + Clone>(tiers: &[T]) -> Vec<u32> {
    let mut order = tiers.to_vec();
    order.sort();
    order.dedup();
    tiers.iter().map(|tier| order.binary_search(tier).unwrap_or_default() as u32).collect()
}

/// Istio's and Envoy's default.
const ENDPOINTS_MIN: u32 = 6;

#[cfg(test)]
mod tests;
