//! Where somebody is: a region, a zone in it, a subzone in that, and labels.

use std::collections::BTreeMap;

/// Where a caller or an endpoint is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `region/zone/subzone`, as far as known.
    pub locality: Option<&'a str>,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
}

impl<'a> Place<'a> {
    /// Region, zone and subzone; what is not known is empty.
    pub(super) fn parts(&self) -> [&'a str; 3] {
        let mut parts = self.locality.unwrap_or_default().splitn(3, '/');
        [(); 3].map(|()| parts.next().unwrap_or_default())
    }

    /// Whether a pattern of localities, whose last part may be `*`, covers it.
    pub(super) fn is_in(&self, pattern: &str) -> bool {
        let mut parts = self.parts().into_iter();
        pattern.split('/').all(|wanted| wanted == "*" || parts.next() == Some(wanted))
    }

    /// How far an endpoint is: in the same subzone, zone, region, or in none of these.
    pub(super) fn distance(&self, endpoint: &Self) -> u32 {
        let pairs = self.parts().into_iter().zip(endpoint.parts());
        let alike = pairs.take_while(|(ours, theirs)| ours == theirs).count();
        3 - u32::try_from(alike).unwrap_or_default()
    }

    /// A label, or what its locality says in the place of it; empty where there is none.
    pub(super) fn label(&self, key: &str) -> &'a str {
        let [region, zone, subzone] = self.parts();
        let implied = match key {
            REGION => region,
            ZONE => zone,
            SUBZONE => subzone,
            _ => "",
        };
        self.labels.get(key).map_or(implied, String::as_str)
    }
}

/// The label of a region.
pub const REGION: &str = "topology.kubernetes.io/region";
/// The label of a zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The label of a subzone.
pub const SUBZONE: &str = "topology.istio.io/subzone";
/// The label of a network.
pub const NETWORK: &str = "topology.istio.io/network";
