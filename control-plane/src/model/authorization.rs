//! Which AuthorizationPolicies hold for a workload (ISTIO-FIELDS §2.9.3).

use super::workload::carries;
use super::{Declared, Labels};
use crate::document::AuthorizationPolicy;

/// The policies for a workload, the oldest first: those of the root namespace hold everywhere, others in their own; a
/// selector narrows either.
pub(super) fn applicable<'w>(
    policies: &'w [Declared<AuthorizationPolicy>],
    root_namespace: &str,
    workload: (&str, &Labels),
) -> impl Iterator<Item = &'w Declared<AuthorizationPolicy>> {
    let (namespace, labels) = workload;
    policies.iter().filter(move |policy| {
        let in_scope = *policy.namespace == *root_namespace || *policy.namespace == *namespace;
        in_scope && policy.spec.selector.as_ref().is_none_or(|selector| carries(labels, selector))
    })
}
