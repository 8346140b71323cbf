//! An SVID: the private key, certificate chain and facts with which this process proves who it is.

use std::{fmt, sync::Arc, time::SystemTime};

use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    leaf::{Leaf, LeafError},
    pem::{certificates_pem, private_key_pem},
    provider,
    spiffe_id::SpiffeId,
};

/// An X.509-SVID with its private key. The key is known to belong to the leaf; cloning shares everything.
#[derive(Clone)]
pub struct Svid {
    leaf: Leaf,
    certified_key: Arc<CertifiedKey>,
    key: Arc<PrivateKeyDer<'static>>,
}

impl Svid {
    /// Puts together a chain (leaf first, then the intermediates) and the leaf's private key.
    ///
    /// # Errors
    /// When the leaf breaks a rule for X.509-SVIDs, or the key is unusable or another certificate's.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, SvidError> {
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(SvidError::ChainTooLong);
        }
        let leaf = Leaf::parse(chain.first().ok_or(SvidError::ChainEmpty)?)?;
        let certified_key = CertifiedKey::from_der(chain, key.clone_key(), &provider())
            .map_err(|source| SvidError::Key { id: leaf.id.clone(), source })?;
        Ok(Self { leaf, certified_key: Arc::new(certified_key), key: Arc::new(key) })
    }

    /// As [`new`](Self::new), from PEM text.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when a text is no PEM.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, SvidError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| SvidError::KeyPem)?;
        Self::new(chain.map_err(|_| SvidError::ChainPem)?, key)
    }

    /// Whom it names.
    pub fn id(&self) -> &SpiffeId {
        &self.leaf.id
    }

    /// The leaf's serial number, lower-case hexadecimal.
    pub fn serial(&self) -> &str {
        &self.leaf.serial
    }

    /// Valid from.
    pub fn not_before(&self) -> SystemTime {
        self.leaf.not_before
    }

    /// Valid until.
    pub fn not_after(&self) -> SystemTime {
        self.leaf.not_after
    }

    /// The certificates, leaf first.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified_key.cert
    }

    /// The private key. It leaves the process only into an owner-only file.
    pub fn private_key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }

    /// The chain as PEM, leaf first.
    pub fn chain_pem(&self) -> String {
        certificates_pem(self.chain())
    }

    /// The private key as PEM, for an owner-only file.
    pub fn private_key_pem(&self) -> String {
        private_key_pem(&self.key)
    }

    /// Chain and signer as rustls takes them.
    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        self.certified_key.clone()
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("leaf", &self.leaf).field("key", &"hidden").finish_non_exhaustive()
    }
}

/// Why a chain and a key make no SVID.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SvidError {
    #[error("the certificate chain is empty")]
    ChainEmpty,
    #[error("the certificate chain has more than {CHAIN_CERTIFICATES_MAX} certificates")]
    ChainTooLong,
    #[error("the certificate chain is not PEM")]
    ChainPem,
    #[error("the private key is not PEM")]
    KeyPem,
    #[error(transparent)]
    Leaf(#[from] LeafError),
    #[error("the private key of {id} cannot be used: {source}")]
    Key { id: SpiffeId, source: rustls::Error },
}

const CHAIN_CERTIFICATES_MAX: usize = 8;
