//! DestinationRule: how a host's endpoints are grouped into subsets, chosen and spoken to.
//!
//! Subsets, balancers, `connectionPool`, `outlierDetection`, `retryBudget` and `tls` are honoured; the other blocks of a traffic policy are read for their
//! errors and refused by name.

mod connection_pool;
mod load_balancer;
mod outlier_detection;
mod tls;
mod traffic_policy;

pub use connection_pool::PoolSettings;
pub use load_balancer::LoadBalancer;
pub use outlier_detection::OutlierSettings;
pub use tls::{TlsMode, TlsSettings};
pub use traffic_policy::{PolicyBlocks, PortPolicy, TrafficPolicy};

use std::collections::BTreeMap;

use super::fields::Fields;
use super::finding::Code;
use super::name;
use super::value::object;
use super::yaml::{Span, Spanned};

/// A DestinationRule's spec.
#[derive(Clone, Debug, Default)]
pub struct DestinationRule {
    /// Where the spec stands.
    pub span: Span,
    /// The host, as written.
    pub host: Spanned<String>,
    /// Who sees it; empty is the mesh's default.
    pub export_to: Vec<String>,
    /// The labels of the clients that it is for; such a rule is for its own namespace alone. Without, it is for all clients.
    pub workload_selector: Option<BTreeMap<String, String>>,
    /// What holds for all endpoints.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Groups of endpoints.
    pub subsets: Vec<Subset>,
}

/// A named group of a host's endpoints.
#[derive(Clone, Debug, Default)]
pub struct Subset {
    /// Where the entry begins.
    pub span: Span,
    /// Its name.
    pub name: Spanned<String>,
    /// What an endpoint's labels must contain; empty is every endpoint.
    pub labels: BTreeMap<String, String>,
    /// What overrides the rule's policy, block by block.
    pub traffic_policy: Option<TrafficPolicy>,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> DestinationRule {
    let rule = DestinationRule {
        span: fields.span(),
        host: fields.required("host", name::host),
        export_to: fields.or_default("exportTo", name::export_to),
        workload_selector: fields.optional("workloadSelector", object(workload_selector)),
        traffic_policy: fields.optional("trafficPolicy", object(traffic_policy::decode)),
        subsets: fields.list("subsets", object(subset)),
    };
    if rule.workload_selector.is_some() && rule.export_to.iter().any(|name| name != ".") {
        fields.suspicious("exportTo", "a rule with a selector is never exported", "remove one of the two");
    }
    unique_subsets(fields, &rule.subsets);
    rule
}

fn subset(fields: &mut Fields<'_, '_>) -> Subset {
    Subset {
        span: fields.span(),
        name: fields.required("name", name::subset_name),
        labels: fields.or_default("labels", name::labels),
        traffic_policy: fields.optional("trafficPolicy", object(traffic_policy::decode)),
    }
}

fn workload_selector(fields: &mut Fields<'_, '_>) -> BTreeMap<String, String> {
    let labels = fields.or_default("matchLabels", name::selector);
    if labels.is_empty() {
        fields.suspicious("", "selects every client", "add `matchLabels`, or remove the selector");
    }
    labels
}

fn unique_subsets(fields: &mut Fields<'_, '_>, subsets: &[Subset]) {
    for (index, subset) in subsets.iter().enumerate() {
        if subsets[..index].iter().any(|earlier| earlier.name.value == subset.name.value) {
            fields.reader.within(&format!("subsets[{index}].name"), |reader| {
                let message = format!("`{}` is defined twice", subset.name.value);
                reader.note(Code::Duplicate, subset.name.span, message, "give each subset its own name");
            });
        }
    }
}
