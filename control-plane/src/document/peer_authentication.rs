//! PeerAuthentication: whether a server takes plaintext, mesh TLS, or both.
//!
//! Ports here are the workload's, not the service's (ISTIO-FIELDS §2.7).

use std::collections::BTreeMap;

use super::{Fields, Span, Value, choice, name, object};

/// A PeerAuthentication's spec.
#[derive(Clone, Debug, Default)]
pub struct PeerAuthentication {
    /// Where the spec stands.
    pub span: Span,
    /// Labels of the servers concerned; none is the whole namespace.
    pub selector: Option<BTreeMap<String, String>>,
    /// The mode.
    pub mode: MtlsMode,
    /// Modes of single workload ports.
    pub port_level: BTreeMap<u16, MtlsMode>,
}

/// What a server takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MtlsMode {
    /// What the next wider policy says.
    #[default]
    Unset,
    /// Plaintext only; TLS passes to the application.
    Disable,
    /// Both.
    Permissive,
    /// Mesh TLS only.
    Strict,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> PeerAuthentication {
    let policy = PeerAuthentication {
        span: fields.span(),
        selector: fields.optional("selector", object(selector)),
        mode: fields.or_default("mtls", object(mtls)),
        port_level: fields.or_default("portLevelMtls", port_level),
    };
    if fields.has("portLevelMtls") && policy.selector.as_ref().is_none_or(BTreeMap::is_empty) {
        fields.conflict(
            "portLevelMtls",
            "wants a selector, because ports are a workload's",
            "add `selector.matchLabels`",
        );
    }
    policy
}

/// Labels of the servers that a security policy concerns.
pub(super) fn selector(fields: &mut Fields<'_, '_>) -> BTreeMap<String, String> {
    let labels = fields.or_default("matchLabels", name::selector);
    if labels.is_empty() {
        empty_selector(fields);
    }
    labels
}

fn empty_selector(fields: &mut Fields<'_, '_>) {
    fields.suspicious(
        "",
        "selects every workload of the namespace",
        "add `matchLabels`, or remove the selector",
    );
}

fn mtls(fields: &mut Fields<'_, '_>) -> MtlsMode {
    let modes = [
        ("UNSET", 0, MtlsMode::Unset),
        ("DISABLE", 1, MtlsMode::Disable),
        ("PERMISSIVE", 2, MtlsMode::Permissive),
        ("STRICT", 3, MtlsMode::Strict),
    ];
    fields.or_default("mode", choice(&modes))
}

fn port_level(mut value: Value<'_, '_>) -> BTreeMap<u16, MtlsMode> {
    let modes: Vec<_> = value.reborrow().entries(|key, mut value| {
        let port = key.parse::<u16>().ok().filter(|port| *port > 0);
        if value.node.is_some() && port.is_none() {
            value.invalid("is keyed by ports", "write a number from 1 to 65535");
        }
        let mode = value.object(mtls);
        port.map(|port| (port, mode))
    });
    if modes.is_empty() && value.node.is_some() {
        value.invalid("is empty", "add a port, or remove the field");
    }
    modes.into_iter().filter_map(|(_, mode)| mode).collect()
}
