//! The authority's keys on disk: one owner-only file, so that root and intermediate are there together or not at all.

use std::{path::Path, time::SystemTime};

use mesh_core::{
    identity::TrustDomain,
    saved::owner_only::{self, OwnerOnlyError},
};

use super::{Authority, AuthorityError, AuthorityPem};

/// Loads the authority in `directory`, or makes one at the first start.
///
/// # Errors
/// When the file cannot be read or written, is open to others, or holds another trust domain's authority. A file that is
/// there and cannot be used is never replaced: a new root would lock every member out.
pub fn open_authority(
    directory: &Path,
    trust_domain: &TrustDomain,
    now: SystemTime,
) -> Result<Authority, AuthorityFileError> {
    owner_only::prepare_directory(directory)?;
    let path = directory.join(FILE);
    let load = |pem: &AuthorityPem| {
        Authority::load(pem, trust_domain)
            .map_err(|source| AuthorityFileError::Authority { path: path.display().to_string(), source })
    };
    if let Some(bytes) = owner_only::read(&path, BYTES_MAX)? {
        return load(&AuthorityPem::new(String::from_utf8_lossy(&bytes).into_owned()));
    }
    let pem = Authority::create(trust_domain, now)
        .map_err(|source| AuthorityFileError::Authority { path: path.display().to_string(), source })?;
    owner_only::replace(&path, pem.as_str().as_bytes())?;
    load(&pem)
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AuthorityFileError {
    #[error(transparent)]
    File(#[from] OwnerOnlyError),
    #[error("certificate authority {path}: {source}")]
    Authority { path: String, source: AuthorityError },
}

const FILE: &str = "authority.pem";
const BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_survives_a_restart() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("ca");
        let open = |trust_domain| {
            open_authority(&directory, &TrustDomain::parse(trust_domain).unwrap(), SystemTime::now())
        };
        let first = open("cluster.local").unwrap().root_fingerprint();
        assert_eq!(open("cluster.local").unwrap().root_fingerprint(), first);
        let error = open("other.example").err().unwrap().to_string();
        assert!(error.contains("cluster.local") && error.contains("other.example"), "{error}");

        std::fs::write(directory.join(FILE), "damaged").unwrap();
        open("cluster.local").err().unwrap();
        assert_eq!(std::fs::read(directory.join(FILE)).unwrap(), b"damaged");
    }
}
