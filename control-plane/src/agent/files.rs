//! Key, certificate and roots as PEM files that another language reads; replaced whole, readable by their owner alone.

use std::io;
use std::path::{Path, PathBuf};

use mesh_core::identity::Identity;
use mesh_core::saved::owner_only::{self, OwnerOnlyError};

use super::secret;

/// The agent's directory with the names of its files.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
}

/// Why the files cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory has no absolute path.
    #[error("{directory}: {source}", directory = directory.display())]
    Directory {
        /// As given.
        directory: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file or the directory is not its owner's alone, or cannot be written.
    #[error(transparent)]
    OwnerOnly(#[from] OwnerOnlyError),
}

impl Files {
    /// Opens the directory, making it where it is missing.
    ///
    /// # Errors
    /// Where it cannot be made, is no directory, or is open to others.
    pub fn open(directory: &Path) -> Result<Self, FilesError> {
        owner_only::prepare_directory(directory)?;
        // Absolute, since the command that reads the files may change its working directory.
        let absolute = directory.canonicalize();
        let in_directory = |source| FilesError::Directory { directory: directory.to_owned(), source };
        Ok(Self { directory: absolute.map_err(in_directory)? })
    }

    /// The certificate chain, leaf first.
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("cert.pem")
    }

    /// The private key.
    pub fn private_key(&self) -> PathBuf {
        self.directory.join("key.pem")
    }

    /// The roots of the trust domain.
    pub fn roots(&self) -> PathBuf {
        self.directory.join("roots.pem")
    }

    /// The gRPC bootstrap.
    pub fn bootstrap(&self) -> PathBuf {
        self.directory.join("bootstrap.json")
    }

    /// Writes the three files of an identity; readers see the old or the new one of each. The key goes first: a reader that
    /// meets a new key beside an old certificate finds that they do not match and reads again, as gRPC's watcher does.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn write_identity(&self, identity: &Identity) -> Result<(), FilesError> {
        owner_only::replace(&self.private_key(), identity.svid.private_key_pem().as_bytes())?;
        owner_only::replace(&self.certificate(), identity.svid.chain_pem().as_bytes())?;
        Ok(owner_only::replace(&self.roots(), identity.bundle.to_pem().as_bytes())?)
    }

    /// Writes Envoy's secrets, which name the other files.
    ///
    /// # Errors
    /// Where one cannot be written.
    pub fn write_secrets(&self) -> Result<(), FilesError> {
        let directory = &self.directory;
        let certificate = secret::certificate(&self.certificate(), &self.private_key(), directory);
        let roots = secret::roots(&self.roots(), directory);
        for (name, content) in
            [(secret::CERTIFICATE_SECRET_FILE, certificate), (secret::ROOTS_SECRET_FILE, roots)]
        {
            owner_only::replace(&directory.join(name), content.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Writes the bootstrap.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn write_bootstrap(&self, text: &str) -> Result<(), FilesError> {
        Ok(owner_only::replace(&self.bootstrap(), text.as_bytes())?)
    }
}
