//! Which transports a workload's port takes (ISTIO-FIELDS §2.7): port before workload before namespace before mesh.

use mesh_core::resource::{MtlsMode, Provenance};

use super::workload::carries;
use super::{Declared, Labels};
use crate::document::{MtlsMode as Declaration, PeerAuthentication};

/// The mode of one port of a workload, and what set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveMode {
    /// The mode.
    pub mode: MtlsMode,
    /// The document, unless it is the mesh's default.
    pub provenance: Provenance,
}

/// How widely a policy holds, the narrowest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Mesh,
    Namespace,
    Workload,
}

/// The mode of a workload's port. `policies` are the oldest first: of several of one scope the oldest counts.
pub(super) fn effective(
    policies: &[Declared<PeerAuthentication>],
    root_namespace: &str,
    workload: (&str, &Labels),
    port: u16,
) -> EffectiveMode {
    let (namespace, labels) = workload;
    let oldest = |scope: Scope| {
        policies.iter().find(|policy| {
            scope_of(policy, root_namespace) == Some(scope)
                && match scope {
                    Scope::Mesh => true,
                    Scope::Namespace => *policy.namespace == *namespace,
                    Scope::Workload => *policy.namespace == *namespace && carries(labels, selector(policy)),
                }
        })
    };
    let mut found = EffectiveMode { mode: MtlsMode::Permissive, provenance: Provenance::default() };
    for scope in [Scope::Mesh, Scope::Namespace, Scope::Workload] {
        let Some(policy) = oldest(scope) else { continue };
        let of_port = match scope {
            Scope::Workload => policy.spec.port_level.get(&port).copied().and_then(mode),
            Scope::Mesh | Scope::Namespace => None,
        };
        let said = of_port.map(|mode| (mode, Some(format!("portLevelMtls[{port}]"))));
        if let Some((mode, rule)) = said.or_else(|| mode(policy.spec.mode).map(|mode| (mode, None))) {
            let provenance = policy.provenance(policy.spec.span);
            found =
                EffectiveMode { mode, provenance: Provenance { rule: rule.map(Into::into), ..provenance } };
        }
    }
    found
}

fn selector(policy: &Declared<PeerAuthentication>) -> &Labels {
    static NOTHING: Labels = Labels::new();
    policy.spec.selector.as_ref().unwrap_or(&NOTHING)
}

/// A policy with a selector in the root namespace holds nowhere, not even for workloads there.
fn scope_of(policy: &Declared<PeerAuthentication>, root_namespace: &str) -> Option<Scope> {
    match (*policy.namespace == *root_namespace, selector(policy).is_empty()) {
        (true, true) => Some(Scope::Mesh),
        (true, false) => None,
        (false, true) => Some(Scope::Namespace),
        (false, false) => Some(Scope::Workload),
    }
}

/// What is said; nothing inherits.
fn mode(declared: Declaration) -> Option<MtlsMode> {
    match declared {
        Declaration::Unset => None,
        Declaration::Disable => Some(MtlsMode::Disable),
        Declaration::Permissive => Some(MtlsMode::Permissive),
        Declaration::Strict => Some(MtlsMode::Strict),
    }
}
