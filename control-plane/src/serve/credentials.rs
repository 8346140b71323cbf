//! The control plane's own certificate and the administrator's credential: made at the start, kept fresh while it runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::identity::{Identity, IdentitySource};
use mesh_core::join::ControlPlaneAddress;

use crate::admin::{Credential, CredentialError};
use crate::ca::{Authority, AuthorityError, LifetimePolicy, Subject};

/// The one administrator that a first start makes.
const ADMINISTRATOR: &str = "root";

/// Issues what the control plane needs itself.
pub(super) struct OwnCredentials {
    pub(super) authority: Arc<Authority>,
    pub(super) lifetimes: LifetimePolicy,
    pub(super) addresses: Vec<ControlPlaneAddress>,
    /// In the data directory: always written.
    pub(super) file: PathBuf,
    /// Where the command line looks: written unless it is another mesh's.
    pub(super) copy: Option<PathBuf>,
}

/// Why there is no certificate or credential.
#[derive(Debug, thiserror::Error)]
pub enum OwnCredentialsError {
    /// It was not issued.
    #[error("the control plane's own certificate: {0}")]
    Issue(#[from] AuthorityError),
    /// It was not written.
    #[error(transparent)]
    Write(#[from] CredentialError),
}

impl OwnCredentials {
    /// The control plane's identity, with the host names that gRPC clients check.
    pub(super) fn identity(&self, now: SystemTime) -> Result<Identity, OwnCredentialsError> {
        let mut hosts: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
        hosts.extend(self.addresses.iter().map(|address| address.host().to_owned()));
        let subject = Subject::ControlPlane { hosts: hosts.into_iter().collect() };
        Ok(self.authority.issue_with_key(&subject, self.lifetimes.choose(0), now)?)
    }

    /// Replaces the control plane's certificate once half its life is over.
    pub(super) fn renew(&self, source: &IdentitySource, now: SystemTime) -> Result<(), OwnCredentialsError> {
        let svid = &source.current().svid;
        if half_spent(svid.not_before(), svid.not_after(), now) {
            source.replace(self.identity(now)?);
            tracing::info!("renewed the control plane's own certificate");
        }
        Ok(())
    }

    /// Writes the administrator's credential where it is missing, worn or names other addresses.
    pub(super) fn refresh(&self, now: SystemTime) -> Result<(), OwnCredentialsError> {
        let kept = Credential::read(&self.file).ok().filter(|credential| self.is_fresh(credential, now));
        let credential = match kept {
            Some(credential) => credential,
            None => {
                let credential = self.credential(now)?;
                credential.write(&self.file)?;
                credential
            }
        };
        let Some(copy) = &self.copy else { return Ok(()) };
        match Credential::read(copy) {
            Ok(found) if found == credential => Ok(()),
            Ok(found) if found.roots == credential.roots => Ok(credential.write(copy)?),
            Err(CredentialError::Missing(_)) => Ok(credential.write(copy)?),
            // Another mesh's, or damaged: not ours to overwrite.
            _ => {
                self.say_elsewhere(copy);
                Ok(())
            }
        }
    }

    fn say_elsewhere(&self, copy: &Path) {
        tracing::warn!(
            "{} holds another credential and stays as it is; use MESH_ADMIN={}",
            copy.display(),
            self.file.display()
        );
    }

    fn credential(&self, now: SystemTime) -> Result<Credential, OwnCredentialsError> {
        let subject = Subject::Admin { name: ADMINISTRATOR.to_owned() };
        let identity = self.authority.issue_with_key(&subject, self.lifetimes.choose(i64::MAX), now)?;
        Ok(Credential {
            version: Credential::VERSION,
            addresses: self.named(),
            trust_domain: identity.bundle.trust_domain().as_str().to_owned(),
            roots: identity.bundle.to_pem(),
            certificate: identity.svid.chain_pem(),
            key: identity.svid.private_key_pem(),
        })
    }

    fn is_fresh(&self, credential: &Credential, now: SystemTime) -> bool {
        credential.addresses == self.named()
            && credential.roots == self.authority.bundle().to_pem()
            && credential
                .identity()
                .is_ok_and(|identity| !half_spent(identity.svid.not_before(), identity.svid.not_after(), now))
    }

    fn named(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }
}

fn half_spent(not_before: SystemTime, not_after: SystemTime, now: SystemTime) -> bool {
    let life = not_after.duration_since(not_before).unwrap_or(Duration::ZERO);
    not_after.duration_since(now).unwrap_or(Duration::ZERO) < life / 2
}

#[cfg(test)]
mod tests {
    use mesh_core::identity::TrustDomain;

    use super::*;
    use crate::ca::open_authority;

    struct Fixture {
        own: OwnCredentials,
        folder: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let authority = open_authority(&folder.path().join("ca"), &trust_domain, SystemTime::now()).unwrap();
        let own = OwnCredentials {
            authority: Arc::new(authority),
            lifetimes: LifetimePolicy::default(),
            addresses: vec![ControlPlaneAddress::parse("127.0.0.1:15012").unwrap()],
            file: folder.path().join("admin.json"),
            copy: Some(folder.path().join("home/admin.json")),
        };
        Fixture { own, folder }
    }

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn a_credential_is_kept_until_it_is_worn_or_wrong() {
        let Fixture { mut own, folder: _folder } = fixture();
        let read = |own: &OwnCredentials| Credential::read(&own.file).unwrap();
        let now = SystemTime::now();
        own.refresh(now).unwrap();
        let first = read(&own);
        assert_eq!(first.identity().unwrap().svid.id().admin_name(), Some("root"));
        assert_eq!(Credential::read(own.copy.as_ref().unwrap()).unwrap(), first);
        own.refresh(now + DAY).unwrap();
        assert_eq!(read(&own), first);
        own.refresh(now + 46 * DAY).unwrap();
        let second = read(&own);
        assert_ne!(second, first);
        own.addresses.push(ControlPlaneAddress::parse("10.0.0.7:15012").unwrap());
        own.refresh(now + 46 * DAY).unwrap();
        assert_eq!(read(&own).addresses.len(), 2);
        assert_eq!(Credential::read(own.copy.as_ref().unwrap()).unwrap(), read(&own));
    }

    #[test]
    fn another_meshs_credential_is_left_alone() {
        let (mine, theirs) = (fixture(), fixture());
        let now = SystemTime::now();
        theirs.own.refresh(now).unwrap();
        let before = std::fs::read(theirs.folder.path().join("home/admin.json")).unwrap();
        let copy = Some(theirs.folder.path().join("home/admin.json"));
        OwnCredentials { copy, ..mine.own }.refresh(now).unwrap();
        assert_eq!(std::fs::read(theirs.folder.path().join("home/admin.json")).unwrap(), before);
    }

    #[test]
    fn the_control_planes_certificate_is_replaced_at_half_life() {
        let Fixture { own, folder: _folder } = fixture();
        let now = SystemTime::now();
        let source = IdentitySource::new(own.identity(now).unwrap());
        let serial = || source.current().svid.serial().to_owned();
        let first = serial();
        own.renew(&source, now + DAY / 3).unwrap();
        assert_eq!(serial(), first);
        own.renew(&source, now + DAY * 2 / 3).unwrap();
        assert_ne!(serial(), first);
        assert!(source.current().svid.id().is_control_plane());
    }
}
