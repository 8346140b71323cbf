//! Endpoints that are names: each is looked up by the process itself, again and again.
//!
//! What is found is joined here into endpoints like any other, so that nothing above knows where they came from.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::DnsLookupFamily;

use super::endpoint::{self, EndpointSpec, EndpointsSpec};
use super::invalid::{Inside, Invalid, duration};
use crate::canonical::HostPort;

/// The endpoints of a cluster by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsEndpoints {
    /// How many of a name's addresses are endpoints.
    pub addresses: DnsAddresses,
    /// After how long a name is looked up again.
    pub refresh: Duration,
    /// The names.
    pub targets: Vec<DnsTarget>,
}

/// How many of a name's addresses are endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsAddresses {
    /// All of them (`STRICT_DNS`).
    All,
    /// The first (`LOGICAL_DNS`).
    First,
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsTarget {
    /// What is looked up; an IP address is its own, and a Unix socket has none.
    pub host: Arc<str>,
    /// What each of its addresses becomes, save for the IP address itself.
    pub endpoint: EndpointSpec,
}

impl DnsEndpoints {
    #[expect(
        deprecated,
        reason = "the extension that takes the place of these fields is known to no gRPC and to few Envoys"
    )]
    pub(super) fn parse(wire: &mut Cluster, addresses: DnsAddresses) -> Result<Self, Invalid> {
        let assignment =
            wire.load_assignment.take().ok_or_else(|| Invalid::new("load_assignment", "is missing"))?;
        let targets = endpoint::placed(assignment, host).inside("load_assignment")?.1;
        let targets: Vec<_> =
            targets.into_iter().map(|(host, endpoint)| DnsTarget { host, endpoint }).collect();
        if addresses == DnsAddresses::First && targets.len() != 1 {
            return Err(Invalid::new("load_assignment", "of LOGICAL_DNS has not exactly one endpoint"));
        }
        let family = DnsLookupFamily::try_from(std::mem::take(&mut wire.dns_lookup_family));
        if !matches!(family, Ok(DnsLookupFamily::Auto | DnsLookupFamily::All)) {
            return Err(Invalid::new("dns_lookup_family", "is neither ALL nor AUTO"));
        }
        let refresh = match wire.dns_refresh_rate.take() {
            Some(refresh) => duration("dns_refresh_rate", refresh)?,
            None => REFRESH,
        };
        Ok(Self { addresses, refresh: refresh.max(REFRESH_MIN), targets })
    }

    /// The names that have to be looked up.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let hosts =
            self.targets.iter().filter(|target| target.endpoint.pipe.is_none()).map(|target| &target.host);
        hosts.filter(|host| host.parse::<IpAddr>().is_err())
    }

    /// The endpoints, once each name has an answer.
    pub fn join<'a>(
        &self,
        name: &Arc<str>,
        answer: impl Fn(&str) -> Option<&'a [IpAddr]>,
    ) -> Option<EndpointsSpec> {
        let mut seen = HashSet::new();
        let mut endpoints = Vec::new();
        for target in &self.targets {
            if target.endpoint.pipe.is_some() {
                if seen.insert(target.endpoint.address) {
                    endpoints.push(target.endpoint.clone());
                }
                continue;
            }
            let own = target.host.parse::<IpAddr>().ok();
            let found = match &own {
                Some(own) => std::slice::from_ref(own),
                None => answer(&target.host)?,
            };
            // In an order of their own: resolvers shuffle, and a shuffle is no change.
            let all: BTreeSet<&IpAddr> = match self.addresses {
                DnsAddresses::All => found.iter().collect(),
                DnsAddresses::First => found.first().into_iter().collect(),
            };
            for ip in all {
                let address = SocketAddr::new(*ip, target.endpoint.address.port());
                if seen.insert(address) {
                    endpoints.push(EndpointSpec { address, ..target.endpoint.clone() });
                }
            }
        }
        Some(EndpointsSpec { name: Arc::clone(name), endpoints })
    }
}

/// A host as it is looked up; its address is not known yet.
fn host(text: &str) -> Result<(Arc<str>, IpAddr), Invalid> {
    let unknown = IpAddr::from([0, 0, 0, 0]);
    if text.parse::<IpAddr>().is_ok() {
        return Ok((text.into(), unknown));
    }
    match HostPort::parse(text, 1) {
        Ok(host) if host.port() == 1 && !text.contains(':') => Ok((host.host().into(), unknown)),
        _ => Err(Invalid::new("socket_address.address", format!("`{text}` is no host"))),
    }
}

/// Envoy's is 5 s, Istio's 60: a look-up through the system tells no time to live.
const REFRESH: Duration = Duration::from_secs(60);
const REFRESH_MIN: Duration = Duration::from_secs(5);
