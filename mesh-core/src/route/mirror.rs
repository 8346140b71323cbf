//! Copies of requests to another cluster, whose answers nobody awaits.

use std::sync::Arc;

use http::uri::Authority;

use super::Fraction;

/// A copy of some requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The cluster's name.
    pub cluster: Arc<str>,
    /// Its place in [`crate::snapshot::HostConfig::clusters`].
    pub cluster_index: usize,
    /// How many requests are copied.
    pub fraction: Fraction,
}

impl Mirror {
    /// What a copy calls its host, so that a log tells it from the request: `reviews-shadow:9080`. An address in brackets has
    /// no name to be changed.
    pub fn authority(of: &Authority) -> Authority {
        if of.host().starts_with('[') {
            return of.clone();
        }
        let shadow = match of.port() {
            Some(port) => format!("{}-shadow:{port}", of.host()),
            None => format!("{}-shadow", of.host()),
        };
        Authority::try_from(shadow).unwrap_or_else(|_| of.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_a_host_of_its_own() {
        let check = |of: &'static str, expected: &str| {
            assert_eq!(Mirror::authority(&Authority::from_static(of)).as_str(), expected);
        };
        check("reviews", "reviews-shadow");
        check("reviews.prod:9080", "reviews.prod-shadow:9080");
        check("[::1]:80", "[::1]:80");
    }
}
