//! Where a control plane listens: a host name or IP address, and a port.

use std::fmt;

use rustls_pki_types::ServerName;

/// `HOST:PORT`, an IPv6 address in brackets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ControlPlaneAddress {
    host: String,
    port: u16,
}

impl ControlPlaneAddress {
    /// Parses `HOST:PORT`.
    ///
    /// # Errors
    /// When host or port is missing or malformed.
    pub fn parse(text: &str) -> Result<Self, ControlPlaneAddressError> {
        let illegal = || ControlPlaneAddressError { text: text.chars().take(SHOWN_CHARS_MAX).collect() };
        let (host, port) = text.rsplit_once(':').ok_or_else(illegal)?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0).ok_or_else(illegal)?;
        let host = match host.strip_prefix('[').map(|host| host.strip_suffix(']')) {
            Some(bracketed) => bracketed.filter(|host| host.parse::<std::net::Ipv6Addr>().is_ok()),
            None => Some(host).filter(|host| !host.contains(':')),
        };
        let host = host.filter(|host| ServerName::try_from(*host).is_ok()).ok_or_else(illegal)?;
        Ok(Self { host: host.into(), port })
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name put into the TLS handshake; who the peer is depends on its SPIFFE ID alone.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.clone()).expect("checked when the address was parsed")
    }
}

impl fmt::Display for ControlPlaneAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for ControlPlaneAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is no `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not HOST:PORT")]
pub struct ControlPlaneAddressError {
    /// What was given.
    pub text: String,
}

const SHOWN_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        fn check(text: &str, host: &str, port: u16) {
            let address = ControlPlaneAddress::parse(text).unwrap();
            assert_eq!((address.host(), address.port(), address.to_string().as_str()), (host, port, text));
            let _ = address.server_name();
        }
        check("127.0.0.1:15012", "127.0.0.1", 15012);
        check("mesh.example:1", "mesh.example", 1);
        check("[::1]:65535", "::1", 65535);
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in
            ["", "a", ":1", "a:", "a:0", "a:65536", "a:x", "::1:1", "[::1]", "[a]:1", "[::1:1", "a b:1"]
        {
            assert!(ControlPlaneAddress::parse(text).is_err(), "{text}");
        }
    }
}
