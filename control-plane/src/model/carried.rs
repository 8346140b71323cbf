//! What a port carries, as far as its callers are concerned.

/// What callers may do with a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// Send requests; rules see each of them.
    Requests,
    /// Open connections; rules see who dials and the server name, and no byte.
    Connections,
    /// Either: nobody has declared a protocol, and no rules prefer one.
    Either,
}

impl Carried {
    /// Whether requests are taken.
    pub fn requests(self) -> bool {
        self != Self::Connections
    }

    /// Whether connections are.
    pub fn connections(self) -> bool {
        self != Self::Requests
    }
}
