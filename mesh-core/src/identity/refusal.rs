//! Why a peer's certificate was refused, in an operator's words, and how to find that again inside rustls' error.

use std::{error::Error, io, sync::Arc};

use rustls::{CertificateError, OtherError};

use super::{
    bundle::RootFingerprint,
    leaf::LeafError,
    spiffe_id::{SpiffeId, TrustDomain},
    verifier::ExpectedPeer,
};

/// The reason for which a peer was refused. It is for our own log: the peer learns nothing but a TLS alert.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum PeerRefusal {
    #[error("the peer's certificate is no X.509-SVID: {0}")]
    NoSvid(#[from] LeafError),
    #[error("the peer sent more intermediate certificates than a chain can need")]
    ChainTooLong,
    #[error("expected a peer of trust domain {expected}, got {got}")]
    OtherTrustDomain { expected: TrustDomain, got: SpiffeId },
    #[error("the certificate of {id} is not vouched for by the trust bundle: {source}")]
    Untrusted { id: SpiffeId, source: webpki::Error },
    #[error("expected {expected}, got {got}")]
    UnexpectedIdentity { expected: ExpectedPeer, got: SpiffeId },
    #[error(
        "the control plane shows no root with the pinned fingerprint {pinned}: it is another control plane, or its \
         root was replaced; make a new join string with `mesh token create`"
    )]
    Fingerprint { pinned: RootFingerprint },
}

impl PeerRefusal {
    /// Finds the refusal behind a failed handshake, however rustls, tokio and a connector have wrapped it.
    pub fn find<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(refusal) = error.downcast_ref() {
                return Some(refusal);
            }
            next = inner(error);
        }
        None
    }
}

/// What an error wraps. `io::Error` and rustls' own skip the wrapped value in `source`, so they are asked directly.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    }
    if let Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner)))) =
        error.downcast_ref()
    {
        return Some(inner.as_ref());
    }
    error.source()
}

pub(super) fn rustls_error(refusal: PeerRefusal) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}
