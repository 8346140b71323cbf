//! The names of resources, written and read in one place (ARCHITECTURE.md, "The wire").

use std::fmt;
use std::net::SocketAddr;

/// A subset that no document can define, so that a cluster named with it does not exist: a backend that may not be named.
pub const FORBIDDEN: &str = "~forbidden";

/// `outbound|9080|v1|reviews.default.svc.cluster.local`: a cluster and its endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterName<'n> {
    /// The service's port.
    pub port: u16,
    /// The subset; empty for the whole service.
    pub subset: &'n str,
    /// The service's full name.
    pub host: &'n str,
}

impl<'n> ClusterName<'n> {
    /// Reads a cluster's name.
    pub fn parse(name: &'n str) -> Option<Self> {
        let mut parts = name.split('|');
        let ("outbound", port, subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?)
        else {
            return None;
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (parts.next().is_none() && !host.is_empty()).then_some(Self { port, subset, host })
    }

    /// The server name that callers send in TLS.
    pub fn sni(&self) -> String {
        format!("outbound_.{}_.{}_.{}", self.port, self.subset, self.host)
    }
}

impl fmt::Display for ClusterName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "outbound|{}|{}|{}", self.port, self.subset, self.host)
    }
}

/// Reads `HOST:PORT`, the name of an outbound listener or a route configuration.
pub fn host_port(name: &str) -> Option<(&str, u16)> {
    let (host, port) = name.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    (!host.is_empty()).then_some((host, port))
}

/// Reads the address of `inbound/IP:PORT`, the name of an inbound listener.
pub fn inbound_address(name: &str) -> Option<SocketAddr> {
    let address: SocketAddr = name.strip_prefix("inbound/")?.parse().ok()?;
    (address.port() != 0).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_are_read_as_they_are_written() {
        let name = "outbound|9080|v1|reviews.default.svc.cluster.local";
        let read = ClusterName::parse(name).expect("well-formed");
        assert_eq!((read.port, read.subset, read.host), (9080, "v1", "reviews.default.svc.cluster.local"));
        assert_eq!(read.to_string(), name);
        assert_eq!(read.sni(), "outbound_.9080_.v1_.reviews.default.svc.cluster.local");
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "",
            "reviews:9080",
            "outbound|0||a",
            "outbound|80|a",
            "outbound|80||a|b",
            "outbound|80||",
            "inbound|80||a",
        ] {
            assert_eq!(ClusterName::parse(name), None, "{name}");
        }
        for name in ["reviews", ":80", "a:0", "a:x", "a:70000"] {
            assert_eq!(host_port(name), None, "{name}");
        }
        assert_eq!(inbound_address("inbound/[::]:80").map(|address| address.port()), Some(80));
        assert_eq!(inbound_address("inbound/a:80"), None);
        assert_eq!(inbound_address("inbound/0.0.0.0:0"), None);
    }
}
