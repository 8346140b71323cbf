//! What the control plane counts about itself, and its text for Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Events since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    counts: [AtomicU64; Event::ALL.len()],
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// A connection finished its handshake.
    Connection,
    /// A connection was closed in its handshake, or there was no room for it.
    ConnectionRefused,
    /// A process joined.
    CertificateIssued,
    /// A member renewed its certificate.
    CertificateRenewed,
    /// A request for a certificate was refused.
    CertificateRefused,
    /// A caller of another service was refused for who it is.
    CallerRefused,
    /// A set of documents was stored.
    Applied,
    /// A world was built and published.
    Published,
}

impl Event {
    const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::Connection, "connections_total", "Connections whose handshake succeeded."),
        (
            Self::ConnectionRefused,
            "connections_refused_total",
            "Connections refused in or before their handshake.",
        ),
        (Self::CertificateIssued, "certificates_issued_total", "Certificates issued for a join token."),
        (Self::CertificateRenewed, "certificates_renewed_total", "Certificates renewed by their holders."),
        (Self::CertificateRefused, "certificates_refused_total", "Certificate requests refused."),
        (Self::CallerRefused, "callers_refused_total", "Calls refused for who called."),
        (Self::Applied, "applies_total", "Document sets stored or deleted."),
        (Self::Published, "worlds_published_total", "Configurations published to xDS."),
    ];
}

impl Counters {
    /// One more.
    pub(super) fn add(&self, event: Event) {
        self.counts[event as usize].fetch_add(1, Relaxed);
    }

    /// How many so far.
    pub(super) fn count(&self, event: Event) -> u64 {
        self.counts[event as usize].load(Relaxed)
    }

    /// Counters and `gauges` (name, help, value) in Prometheus' text format.
    pub(super) fn render(&self, gauges: &[(&str, &str, u64)]) -> String {
        let mut text = String::new();
        let mut line = |name: &str, help: &str, kind: &str, value: u64| {
            let _ =
                write!(text, "# HELP mesh_{name} {help}\n# TYPE mesh_{name} {kind}\nmesh_{name} {value}\n");
        };
        for (event, name, help) in Event::ALL {
            line(name, help, "counter", self.count(event));
        }
        for (name, help, value) in gauges {
            line(name, help, "gauge", *value);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_has_its_own_line() {
        let counters = Counters::default();
        for (index, (event, ..)) in Event::ALL.into_iter().enumerate() {
            assert_eq!(event as usize, index, "the table is in the order of the enum");
            (0..=index).for_each(|_| counters.add(event));
        }
        let text = counters.render(&[("instances", "Registered instances.", 7)]);
        for expected in
            ["mesh_connections_total 1\n", "mesh_worlds_published_total 8\n", "mesh_instances 7\n"]
        {
            assert!(text.contains(expected), "{text}");
        }
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE")).count(), 9);
    }
}
