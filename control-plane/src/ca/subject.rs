//! Whom a certificate names, and with it what its key may be used for.

use mesh_core::identity::{SpiffeId, SpiffeIdError, TrustDomain};
use rcgen::{ExtendedKeyUsagePurpose, SanType};

use super::AuthorityError;
use crate::grant::Grant;

/// The subject of a certificate; always of the authority's own trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A service, which both accepts and makes connections.
    Workload {
        /// Its namespace.
        namespace: String,
        /// Its service account.
        service_account: String,
    },
    /// The control plane's server, with the host names and IP addresses that gRPC clients check.
    ControlPlane {
        /// DNS names and IP addresses.
        hosts: Vec<String>,
    },
    /// A person at the command line, who only makes connections.
    Admin {
        /// Its name.
        name: String,
    },
}

impl Grant {
    /// Whom a certificate under this grant names.
    pub fn subject(&self) -> Subject {
        Subject::Workload { namespace: self.namespace.clone(), service_account: self.service_account.clone() }
    }
}

impl Subject {
    /// The SPIFFE ID in `trust_domain`.
    ///
    /// # Errors
    /// When a name is no legal path segment.
    pub fn id(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, SpiffeIdError> {
        match self {
            Self::Workload { namespace, service_account } => {
                SpiffeId::workload(trust_domain, namespace, service_account)
            }
            Self::ControlPlane { .. } => Ok(SpiffeId::control_plane(trust_domain)),
            Self::Admin { name } => SpiffeId::admin(trust_domain, name),
        }
    }

    /// One URI, and beside it only what gRPC's host name check needs of the control plane.
    pub(super) fn names(&self, trust_domain: &TrustDomain) -> Result<Vec<SanType>, AuthorityError> {
        let id = self.id(trust_domain)?;
        let mut names = vec![SanType::URI(id.as_str().try_into()?)];
        if let Self::ControlPlane { hosts } = self {
            for host in hosts {
                names.push(match host.parse() {
                    Ok(address) => SanType::IpAddress(address),
                    Err(_) => SanType::DnsName(host.as_str().try_into()?),
                });
            }
        }
        Ok(names)
    }

    pub(super) fn usages(&self) -> Vec<ExtendedKeyUsagePurpose> {
        use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
        match self {
            Self::Workload { .. } => vec![ServerAuth, ClientAuth],
            Self::ControlPlane { .. } => vec![ServerAuth],
            Self::Admin { .. } => vec![ClientAuth],
        }
    }
}
