//! `host:port` in one spelling: lower case, no final dot, the port always there.

use std::sync::Arc;

/// A destination as a process dials it, in canonical form, such as `reviews:9080` or `[::1]:80`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    text: Arc<str>,
    host_length: usize,
    port: u16,
}

/// Why a text is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a host and port: {reason}")]
pub struct NotAHost {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl HostPort {
    /// Parses an authority; one without a port takes `default_port`.
    ///
    /// # Errors
    /// Where the host is empty or has illegal characters, or the port is no number from 1 to 65535.
    pub fn parse(authority: &str, default_port: u16) -> Result<Self, NotAHost> {
        let _ = (authority, default_port);
        unimplemented!("owned by the core engineer")
    }

    /// The whole in canonical form, which is the listener's xDS name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, lower case, without a final dot; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        &self.text[..self.host_length]
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}
