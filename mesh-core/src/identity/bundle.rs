//! A trust bundle: the roots that may vouch for one trust domain.
//!
//! It holds several roots, because a root is rotated by adding the next one before the old one goes.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls_pki_types::{CertificateDer, TrustAnchor, pem::PemObject};

use super::{pem::certificates_pem, spiffe_id::TrustDomain};

/// A trust domain and the roots that vouch for its members. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    trust_domain: TrustDomain,
    roots: Arc<[CertificateDer<'static>]>,
    /// The same roots as path building takes them, in the same order.
    anchors: Arc<[TrustAnchor<'static>]>,
}

impl TrustBundle {
    /// A bundle of DER certificates; the same root twice counts once.
    ///
    /// # Errors
    /// When there is no root, too many, or one that cannot be read.
    pub fn new(
        trust_domain: TrustDomain,
        certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    ) -> Result<Self, BundleError> {
        let mut roots = Vec::new();
        let mut anchors = Vec::new();
        for certificate in certificates {
            if roots.contains(&certificate) {
                continue;
            }
            if roots.len() == ROOTS_MAX {
                return Err(BundleError::TooMany);
            }
            let anchor = webpki::anchor_from_trusted_cert(&certificate)
                .map_err(|source| BundleError::Root { number: roots.len() + 1, source })?
                .to_owned();
            roots.push(certificate);
            anchors.push(anchor);
        }
        if roots.is_empty() {
            return Err(BundleError::Empty);
        }
        Ok(Self { trust_domain, roots: roots.into(), anchors: anchors.into() })
    }

    /// A bundle from PEM text with one certificate or several.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the text is no PEM.
    pub fn from_pem(trust_domain: TrustDomain, pem: &str) -> Result<Self, BundleError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        Self::new(trust_domain, certificates.map_err(|_| BundleError::Pem)?)
    }

    /// Whose bundle it is.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The roots' certificates.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// The roots as PEM.
    pub fn to_pem(&self) -> String {
        certificates_pem(&*self.roots)
    }

    /// The SHA-256 of each root's public key.
    pub fn fingerprints(&self) -> impl Iterator<Item = RootFingerprint> {
        self.anchors.iter().map(RootFingerprint::of_anchor)
    }

    /// What path building starts from.
    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

/// The SHA-256 of a root's public key (its DER `SubjectPublicKeyInfo`), by which a join string pins it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootFingerprint(pub [u8; 32]);

impl RootFingerprint {
    /// The fingerprint of a certificate, when it can be read.
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let anchor = webpki::anchor_from_trusted_cert(certificate).ok()?;
        Some(Self::of_anchor(&anchor))
    }

    fn of_anchor(anchor: &TrustAnchor<'_>) -> Self {
        let spki = webpki::spki_for_anchor(anchor);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &spki).as_ref());
        Self(bytes)
    }
}

impl std::fmt::Display for RootFingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why certificates make no bundle.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum BundleError {
    #[error("the trust bundle has no root")]
    Empty,
    #[error("the trust bundle has more than {ROOTS_MAX} roots")]
    TooMany,
    #[error("the trust bundle is not PEM")]
    Pem,
    #[error("root {number} of the trust bundle cannot be read: {source}")]
    Root { number: usize, source: webpki::Error },
}

const ROOTS_MAX: usize = 32;
