//! WorkloadEntry: one endpoint, standing alone or inside a ServiceEntry.
//!
//! Alone it is found by the selectors of ServiceEntries through its labels, which is how workloads that do not register
//! themselves enter the mesh.

use std::collections::BTreeMap;

use super::fields::Fields;
use super::name;
use super::scalar::{port, text, unsigned};
use super::value::Value;
use super::yaml::Span;

/// One endpoint.
#[derive(Clone, Debug, Default)]
pub struct WorkloadEntry {
    /// Where it stands.
    pub span: Span,
    /// An IP address, a DNS name, or `unix://…`.
    pub address: String,
    /// Listening ports by the name of the service port.
    pub ports: BTreeMap<String, u16>,
    /// What subsets and selectors look at.
    pub labels: BTreeMap<String, String>,
    /// The network that its address is of.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// The share among its peers; absent or 0 is 1.
    pub weight: Option<u32>,
    /// The service account that its certificate names.
    pub service_account: Option<String>,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> WorkloadEntry {
    let entry = WorkloadEntry {
        span: fields.span(),
        address: fields.or_default("address", text),
        ports: fields.or_default("ports", ports),
        labels: fields.or_default("labels", name::labels),
        // Without gateways between networks an endpoint is reached at its address, whichever network that is in; labels tell
        // it from others.
        network: fields.optional("network", text).filter(|network| !network.is_empty()),
        locality: fields.optional("locality", text),
        weight: fields.optional("weight", unsigned).filter(|weight| *weight > 0),
        service_account: fields.optional("serviceAccount", text).filter(|account| !account.is_empty()),
    };
    check_address(fields, &entry);
    entry
}

fn check_address(fields: &mut Fields<'_, '_>, entry: &WorkloadEntry) {
    if entry.address.is_empty() {
        if fields.has("network") {
            let message = "a workload without address is reached through its network's gateway, which this mesh does not have";
            fields.not_honoured("network", message, "add the workload's address");
        } else {
            fields.missing("address", "is required and absent", "add an IP address or a DNS name");
        }
        return;
    }
    if let Some(path) = entry.address.strip_prefix("unix://") {
        if !path.starts_with(['/', '@']) || path.ends_with('/') {
            fields.invalid("address", "is not the absolute path of a socket", "write `unix:///run/app.sock`");
        } else if !entry.ports.is_empty() {
            fields.conflict("ports", "a socket has no ports", "remove the ports");
        }
    } else if entry.address.parse::<std::net::IpAddr>().is_err()
        && let Err(reason) = name::domain(&entry.address)
    {
        fields.invalid("address", reason, "write an IP address or a DNS name");
    }
}

fn ports(value: Value<'_, '_>) -> BTreeMap<String, u16> {
    value.entries(|key, mut value| {
        if value.node.is_some()
            && let Err(reason) = name::dns_label(&key.to_ascii_lowercase())
        {
            value.invalid(reason, "use the name of the service's port");
        }
        port(value)
    })
}
