//! Is the server one whom the configured roots vouch for, under one of the configured names?

use std::io;
use std::sync::Arc;

use mesh_core::identity::provider;
use mesh_core::resource::PeerName;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, SignatureScheme};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::parse_x509_certificate;

/// Whom to believe.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) anchors: Vec<TrustAnchor<'static>>,
    /// Where there is one, each certificate's issuer must have one.
    pub(super) revocations: Vec<CertRevocationList<'static>>,
    pub(super) names: Arc<[PeerName]>,
}

/// Judges servers outside the mesh; without anybody to trust it takes any, and still holds it to its own key.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Option<Trust>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Why a server outside the mesh was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Untrusted {
    /// The roots do not vouch for it, or do so no more.
    #[error("it is not vouched for: {0}")]
    Chain(webpki::Error),
    /// It shows an authority's certificate, whose key is there to sign others.
    #[error("its certificate's key may sign certificates (keyCertSign), as a server's may not")]
    Authority,
    /// It is somebody else's.
    #[error("it is for none of {0}")]
    Name(String),
}

impl Untrusted {
    /// Finds the reason behind a failed handshake, which rustls and tokio wrap without a word of it.
    pub(crate) fn find(error: &io::Error) -> Option<&Self> {
        match error.get_ref()?.downcast_ref()? {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }
}

impl Verifier {
    pub(super) fn new(trust: Option<Trust>) -> Self {
        Self { trust, algorithms: provider().signature_verification_algorithms }
    }

    pub(super) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        let judge = |trust: &Trust| trust.judge(&self.algorithms, leaf, intermediates, now);
        self.trust.as_ref().map_or(Ok(()), judge)
    }
}

impl Trust {
    fn judge(
        &self,
        algorithms: &WebPkiSupportedAlgorithms,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Untrusted> {
        let shown = leaf;
        let leaf = EndEntityCert::try_from(shown).map_err(Untrusted::Chain)?;
        let lists: Vec<&CertRevocationList<'_>> = self.revocations.iter().collect();
        // No lists are no options, which is why the builder's refusal of an empty one is no error.
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            let options = options.with_depth(RevocationCheckDepth::Chain);
            let options = options.with_status_policy(UnknownStatusPolicy::Deny);
            options.with_expiration_policy(ExpirationPolicy::Enforce).build()
        });
        let usage = KeyUsage::server_auth();
        leaf.verify_for_usage(algorithms.all, &self.anchors, intermediates, now, usage, revocation, None)
            .map_err(Untrusted::Chain)?;
        if signs_certificates(shown)? {
            return Err(Untrusted::Authority);
        }
        match self.names.iter().any(|name| bears(&leaf, name)) {
            true => Ok(()),
            false => {
                let names: Vec<String> = self.names.iter().map(PeerName::to_string).collect();
                Err(Untrusted::Name(names.join(", ")))
            }
        }
    }
}

/// Whether the key is there to sign certificates, which webpki does not look at in a leaf.
fn signs_certificates(leaf: &CertificateDer<'_>) -> Result<bool, Untrusted> {
    let unreadable = Untrusted::Chain(webpki::Error::BadDer);
    let Ok((_, leaf)) = parse_x509_certificate(leaf) else { return Err(unreadable) };
    let usage = leaf.key_usage().map_err(|_| unreadable)?;
    Ok(usage.is_some_and(|usage| usage.value.key_cert_sign()))
}

/// Whether a certificate is for that name; its own wildcards count.
fn bears(leaf: &EndEntityCert<'_>, name: &PeerName) -> bool {
    match name {
        PeerName::Dns(name) => {
            leaf.valid_dns_names().any(|own| own.eq_ignore_ascii_case(name))
                || ServerName::try_from(&**name)
                    .is_ok_and(|name| leaf.verify_is_valid_for_subject_name(&name).is_ok())
        }
        PeerName::Ip(address) => {
            leaf.verify_is_valid_for_subject_name(&ServerName::IpAddress((*address).into())).is_ok()
        }
        PeerName::Uri(name) => leaf.valid_uri_names().any(|own| own == &**name),
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.judge(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refusal) => Err(CertificateError::Other(OtherError(Arc::new(refusal))).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
