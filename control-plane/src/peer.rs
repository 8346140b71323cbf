//! Who is at the other end of a connection, and what that lets it ask for.
//!
//! The handshake takes a connection without a certificate too, because that is how a process joins; so every service asks
//! here, for every call. Refused callers learn that they are refused; why is the operator's to read.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::identity::Leaf;

use crate::grant::{Grant, GrantRecord};
use tonic::{Extensions, Status};

/// The facts of a connection, in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it comes from.
    pub remote: SocketAddr,
    /// The certificate that its handshake proved, if it showed one.
    pub certificate: Option<Arc<Leaf>>,
    /// The grant on record for that certificate: found by its serial number, whatever the peer says.
    pub grant: Option<Arc<GrantRecord>>,
}

/// Why a caller may not do what it asks. For the operator alone.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unauthorized {
    /// It showed no certificate.
    #[error("it showed no certificate")]
    NoCertificate,
    /// Its certificate is good, but nobody knows what it may do.
    #[error("the certificate of {id} (serial {serial}) has no grant on record")]
    NoGrant {
        /// Who it is.
        id: String,
        /// Which certificate.
        serial: String,
    },
    /// A connection outlived its certificate.
    #[error("the certificate of {0} ended while the connection was open")]
    Ended(String),
    /// It is a member of the mesh, but not of this kind.
    #[error("{id} is no {wanted}")]
    Role {
        /// Who it is.
        id: String,
        /// What it would have to be.
        wanted: &'static str,
    },
}

impl Peer {
    /// The connection's facts, which the acceptor puts with every request.
    ///
    /// # Errors
    /// `internal` when the request came some other way.
    pub fn of(extensions: &Extensions) -> Result<Self, Status> {
        extensions.get::<Self>().cloned().ok_or_else(|| Status::internal("a request without its connection"))
    }

    /// A workload: its certificate, and the grant with which it joined.
    ///
    /// # Errors
    /// When it is anybody else.
    pub fn workload(&self, now: SystemTime) -> Result<(&Leaf, &Grant), Unauthorized> {
        let leaf = self.valid(now)?;
        let (id, serial) = (|| leaf.id.as_str().to_owned(), || leaf.serial.clone());
        let grant = match (leaf.id.service_account(), &self.grant) {
            (None, _) => return Err(Unauthorized::Role { id: id(), wanted: "workload" }),
            (Some(_), None) => return Err(Unauthorized::NoGrant { id: id(), serial: serial() }),
            (Some(_), Some(record)) => record.grant(),
        };
        let named = (leaf.id.namespace(), leaf.id.service_account());
        if named != (Some(grant.namespace.as_str()), Some(grant.service_account.as_str())) {
            return Err(Unauthorized::NoGrant { id: id(), serial: serial() });
        }
        Ok((leaf, grant))
    }

    /// The name of an administrator.
    ///
    /// # Errors
    /// When it is anybody else.
    pub fn administrator(&self, now: SystemTime) -> Result<&str, Unauthorized> {
        let leaf = self.valid(now)?;
        leaf.id
            .admin_name()
            .ok_or_else(|| Unauthorized::Role { id: leaf.id.as_str().to_owned(), wanted: "administrator" })
    }

    fn valid(&self, now: SystemTime) -> Result<&Leaf, Unauthorized> {
        let leaf = self.certificate.as_deref().ok_or(Unauthorized::NoCertificate)?;
        if leaf.not_after <= now {
            return Err(Unauthorized::Ended(leaf.id.as_str().to_owned()));
        }
        Ok(leaf)
    }
}

impl Unauthorized {
    /// Tells the operator why, and the caller only that.
    pub fn refuse(&self, service: &'static str, peer: &Peer) -> Status {
        tracing::warn!(service, remote = %peer.remote, reason = %self, "refused a caller");
        match self {
            Self::NoCertificate | Self::NoGrant { .. } | Self::Ended(_) => Status::unauthenticated("refused"),
            Self::Role { .. } => Status::permission_denied("refused"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use mesh_core::identity::SpiffeId;

    use super::*;

    fn peer(id: Option<&str>) -> Peer {
        let leaf = |id| Leaf {
            id: SpiffeId::parse(id).unwrap(),
            serial: "01".into(),
            not_before: UNIX_EPOCH,
            not_after: UNIX_EPOCH + Duration::from_secs(100),
        };
        Peer { remote: ([10, 0, 0, 7], 4000).into(), certificate: id.map(leaf).map(Arc::new), grant: None }
    }

    const WORKLOAD: &str = "spiffe://cluster.local/ns/default/sa/reviews";
    const ADMIN: &str = "spiffe://cluster.local/admin/root";

    #[test]
    fn each_role_is_let_into_its_own_services() {
        let now = UNIX_EPOCH + Duration::from_secs(50);
        let check = |id: Option<&str>, workload: &str, administrator: &str| {
            let peer = peer(id);
            let said = |result: Result<(), Unauthorized>| {
                result.err().map(|error| error.to_string()).unwrap_or_default()
            };
            assert_eq!(said(peer.workload(now).map(drop)), workload);
            assert_eq!(said(peer.administrator(now).map(drop)), administrator);
        };
        check(None, "it showed no certificate", "it showed no certificate");
        check(
            Some(WORKLOAD),
            "the certificate of spiffe://cluster.local/ns/default/sa/reviews (serial 01) has no grant on record",
            "spiffe://cluster.local/ns/default/sa/reviews is no administrator",
        );
        check(Some(ADMIN), "spiffe://cluster.local/admin/root is no workload", "");
        let control_plane = "spiffe://cluster.local/control-plane is no";
        check(
            Some("spiffe://cluster.local/control-plane"),
            &format!("{control_plane} workload"),
            &format!("{control_plane} administrator"),
        );
    }

    #[test]
    fn a_connection_does_not_outlive_its_certificate() {
        let late = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(peer(Some(ADMIN)).administrator(late), Err(Unauthorized::Ended(ADMIN.to_owned())));
        let status = Unauthorized::Ended(ADMIN.to_owned()).refuse("admin", &peer(Some(ADMIN)));
        assert_eq!((status.code(), status.message()), (tonic::Code::Unauthenticated, "refused"));
    }
}
