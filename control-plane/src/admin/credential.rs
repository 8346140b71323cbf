//! The administrator's credential: one owner-only file with addresses, roots, certificate and key, as kubectl has its
//! kubeconfig.
//!
//! It carries the roots themselves, so that an administrator's client insists on this mesh's control plane from its first
//! connection on.

use std::path::{Path, PathBuf};

use mesh_core::identity::{BundleError, Identity, SpiffeIdError, Svid, SvidError, TrustBundle, TrustDomain};
use mesh_core::saved::owner_only::{self, OwnerOnlyError};
use serde::{Deserialize, Serialize};

/// What the file holds.
#[derive(Clone, Deserialize, PartialEq, Eq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// Of the file's format; [`Credential::VERSION`].
    pub version: u32,
    /// `HOST:PORT` of each control plane.
    pub addresses: Vec<String>,
    /// The mesh's trust domain.
    pub trust_domain: String,
    /// PEM of the roots that vouch for the control plane.
    pub roots: String,
    /// PEM of the administrator's certificate and its intermediates.
    pub certificate: String,
    /// PEM of its private key.
    pub key: String,
}

impl Credential {
    /// What this program writes, and the only thing it reads.
    pub const VERSION: u32 = 1;

    /// Where the command line looks: `MESH_ADMIN`, else `~/.config/mesh/admin.json`.
    pub fn default_path(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
        if let Some(path) = variable("MESH_ADMIN").filter(|path| !path.is_empty()) {
            return Some(path.into());
        }
        let home = variable("HOME").filter(|home| !home.is_empty())?;
        Some(Path::new(&home).join(".config/mesh/admin.json"))
    }

    /// Reads the file.
    ///
    /// # Errors
    /// When it is missing, unreadable, open to others or of another version.
    pub fn read(path: &Path) -> Result<Self, CredentialError> {
        let bytes = owner_only::read(path, FILE_BYTES_MAX)?;
        let bytes = bytes.ok_or_else(|| CredentialError::Missing(path.to_owned()))?;
        let format = |source| CredentialError::Format { path: path.to_owned(), source };
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        // The version comes first: of another one, nothing else can be judged.
        let Version { version } = serde_json::from_slice(&bytes).map_err(format)?;
        if version != Self::VERSION {
            return Err(CredentialError::Version { path: path.to_owned(), found: version });
        }
        serde_json::from_slice(&bytes).map_err(format)
    }

    /// Writes the file for its owner alone, whole or not at all. Its folder is made if it is not there.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn write(&self, path: &Path) -> Result<(), CredentialError> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            owner_only::prepare_directory(folder)?;
        }
        let text = serde_json::to_vec_pretty(self).expect("strings and numbers under string keys are JSON");
        Ok(owner_only::replace(path, &text)?)
    }

    /// The identity to connect with.
    ///
    /// # Errors
    /// When certificate, key or roots cannot be used.
    pub fn identity(&self) -> Result<Identity, CredentialError> {
        let trust_domain = TrustDomain::parse(&self.trust_domain)?;
        Ok(Identity {
            svid: Svid::from_pem(&self.certificate, &self.key)?,
            bundle: TrustBundle::from_pem(trust_domain, &self.roots)?,
        })
    }
}

/// A few certificates and a key.
const FILE_BYTES_MAX: usize = 256 * 1024;

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credential")
            .field("addresses", &self.addresses)
            .field("key", &"hidden")
            .finish_non_exhaustive()
    }
}

/// Why there is no usable credential.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// There is none.
    #[error("there is no administrator's credential {}: `mesh serve` writes one on its first start, MESH_ADMIN names another", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or written.
    #[error("administrator's credential: {0}")]
    File(#[from] OwnerOnlyError),
    /// The file is no credential.
    #[error("administrator's credential {}: {source}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Where it goes wrong.
        source: serde_json::Error,
    },
    /// Another program's.
    #[error("administrator's credential {} has version {found}, this program reads {}", path.display(), Credential::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The trust domain is none.
    #[error("administrator's credential: {0}")]
    TrustDomain(#[from] SpiffeIdError),
    /// Certificate and key do not fit or cannot be read.
    #[error("administrator's credential: {0}")]
    Svid(#[from] SvidError),
    /// The roots cannot be read.
    #[error("administrator's credential: {0}")]
    Bundle(#[from] BundleError),
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn credential() -> Credential {
        let text = String::new;
        let addresses = vec!["127.0.0.1:15012".to_owned()];
        Credential {
            version: Credential::VERSION,
            addresses,
            trust_domain: "cluster.local".into(),
            roots: text(),
            certificate: text(),
            key: text(),
        }
    }

    #[test]
    fn the_file_is_for_its_owner_alone_and_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/admin.json");
        credential().write(&path).unwrap();
        credential().write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(Credential::read(&path).unwrap(), credential());
    }

    #[test]
    fn another_version_or_another_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.json");
        let check = |expected: &str| {
            let error = Credential::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("`mesh serve` writes one on its first start");
        credential().write(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        check("is open to others");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, r#"{"version": 2, "moved": true}"#).unwrap();
        check("has version 2, this program reads 1");
        fs::write(&path, r#"{"version": 1, "moved": true}"#).unwrap();
        check("unknown field `moved`");
        fs::write(&path, "addresses").unwrap();
        check("expected value");
    }

    #[test]
    fn the_variable_comes_before_the_home() {
        let check = |variables: &[(&str, &str)], expected: Option<&str>| {
            let variable =
                |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(Credential::default_path(variable), expected.map(PathBuf::from));
        };
        check(&[("MESH_ADMIN", "/a.json"), ("HOME", "/home/x")], Some("/a.json"));
        check(&[("MESH_ADMIN", ""), ("HOME", "/home/x")], Some("/home/x/.config/mesh/admin.json"));
        check(&[], None);
    }
}
