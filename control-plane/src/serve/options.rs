//! What an operator may choose, and what is chosen where nothing is said.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_core::identity::TrustDomain;
use mesh_core::join::ControlPlaneAddress;

/// How a control plane is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where everything is kept; one control plane at a time.
    pub data: PathBuf,
    /// The TLS port: xDS, certificates, registry, administration. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The plain port: health, and on loopback metrics and service discovery. Port 0 takes a free one.
    pub plain: SocketAddr,
    /// Addresses that join strings and the credential name; empty: the one that is listened on.
    pub advertise: Vec<ControlPlaneAddress>,
    /// The mesh's trust domain; a data directory keeps the one it began with.
    pub trust_domain: TrustDomain,
    /// How long an instance stays registered without a renewal.
    pub lease: Duration,
    /// Where the administrator's credential goes beside the data directory, for the command line to find.
    pub credential: Option<PathBuf>,
}

impl Options {
    /// The default port of TLS.
    pub const PORT: u16 = 15012;
    /// The default plain port.
    pub const PLAIN_PORT: u16 = 15014;
    /// The default lease.
    pub const LEASE: Duration = Duration::from_secs(30);
    /// The default trust domain.
    pub const TRUST_DOMAIN: &str = "cluster.local";

    /// The defaults, with everything kept in `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), Self::PORT),
            plain: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), Self::PLAIN_PORT),
            advertise: Vec::new(),
            trust_domain: TrustDomain::parse(Self::TRUST_DOMAIN).expect("a fixed legal name"),
            lease: Self::LEASE,
            credential: None,
        }
    }

    /// What to advertise when `listen` was bound as `bound`.
    pub(super) fn advertised(&self, bound: SocketAddr) -> Vec<ControlPlaneAddress> {
        if !self.advertise.is_empty() {
            return self.advertise.clone();
        }
        // Nothing tells which of its addresses others can reach; this one works at least here.
        let ip = match bound.ip() {
            ip if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            ip => ip,
        };
        let text = SocketAddr::new(ip, bound.port()).to_string();
        vec![ControlPlaneAddress::parse(&text).expect("an IP address and a bound port")]
    }

    pub(super) fn store(&self) -> PathBuf {
        self.data.join("store.redb")
    }

    pub(super) fn authority(&self) -> PathBuf {
        self.data.join("ca")
    }

    /// The administrator's credential in a data directory.
    pub fn credential_in(data: &Path) -> PathBuf {
        data.join("admin.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_advertised_as_loopback_and_a_choice_as_it_is() {
        let check = |bound: &str, advertise: &[&str], expected: &str| {
            let mut options = Options::new("data");
            options.advertise =
                advertise.iter().map(|text| ControlPlaneAddress::parse(text).unwrap()).collect();
            let advertised = options.advertised(bound.parse().unwrap());
            assert_eq!(advertised.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "), expected);
        };
        check("0.0.0.0:4000", &[], "127.0.0.1:4000");
        check("[::]:4000", &[], "127.0.0.1:4000");
        check("10.0.0.7:4000", &[], "10.0.0.7:4000");
        check("[fd00::7]:4000", &[], "[fd00::7]:4000");
        check("0.0.0.0:4000", &["mesh.example:15012", "10.0.0.7:15012"], "mesh.example:15012 10.0.0.7:15012");
    }
}
