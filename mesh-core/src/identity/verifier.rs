//! Is the peer whom it says it is, and is it the one expected?
//!
//! The judgement is a pure function over bundle, chain and time; the rustls verifiers around it only fetch the current
//! bundle. Path building is webpki's; the rules of X.509-SVID that webpki does not know (key usage on leaf and
//! authorities, exactly one SPIFFE ID, the trust domain's own bundle) are added here. Names in the handshake play no part:
//! a peer is its SPIFFE ID.

use std::{fmt, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::parse_x509_certificate;

use super::{
    bundle::TrustBundle,
    leaf::Leaf,
    provider,
    refusal::{PeerRefusal, rustls_error},
    source::IdentitySource,
    spiffe_id::SpiffeId,
};

/// Whom a connection must reach. There is no "anybody" that comes about by leaving something out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExpectedPeer {
    /// One of these identities; of an empty list, nobody.
    AnyOf(Arc<[SpiffeId]>),
    /// Any workload of our own trust domain, asked for by name because it trusts every one of them.
    AnyInTrustDomain,
    /// Our trust domain's control plane.
    ControlPlane,
}

impl ExpectedPeer {
    /// Checks an identity whose certificate has been verified.
    ///
    /// # Errors
    /// When it is somebody else, naming both.
    pub fn check(&self, id: &SpiffeId) -> Result<(), PeerRefusal> {
        let expected = match self {
            Self::AnyOf(ids) => ids.contains(id),
            Self::AnyInTrustDomain => !id.is_control_plane() && id.admin_name().is_none(),
            Self::ControlPlane => id.is_control_plane(),
        };
        if expected {
            return Ok(());
        }
        Err(PeerRefusal::UnexpectedIdentity { expected: self.clone(), got: id.clone() })
    }
}

impl fmt::Display for ExpectedPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyOf(ids) => {
                let shown: Vec<_> = ids.iter().take(IDS_SHOWN_MAX).map(SpiffeId::as_str).collect();
                write!(f, "one of [{}", shown.join(", "))?;
                match ids.len().saturating_sub(IDS_SHOWN_MAX) {
                    0 => f.write_str("]"),
                    more => write!(f, " and {more} more]"),
                }
            }
            Self::AnyInTrustDomain => f.write_str("any workload of the trust domain"),
            Self::ControlPlane => f.write_str("the control plane"),
        }
    }
}

/// In which role a certificate is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerRole {
    /// The side that accepts the connection.
    Server,
    /// The side that makes it.
    Client,
}

/// Judges the chain that a peer shows: `chain` is the leaf and whatever it sent along.
///
/// # Errors
/// Names the rule that is broken, and whose certificate it was once that is known.
pub fn verify_svid(
    bundle: &TrustBundle,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    role: PeerRole,
    now: UnixTime,
) -> Result<Leaf, PeerRefusal> {
    if intermediates.len() > INTERMEDIATES_MAX {
        return Err(PeerRefusal::ChainTooLong);
    }
    let facts = Leaf::parse(leaf)?;
    if !facts.id.is_member_of(bundle.trust_domain()) {
        return Err(PeerRefusal::OtherTrustDomain { expected: bundle.trust_domain().clone(), got: facts.id });
    }
    let refused = |source| PeerRefusal::Untrusted { id: facts.id.clone(), source };
    let end_entity = webpki::EndEntityCert::try_from(leaf).map_err(refused)?;
    let usage = match role {
        PeerRole::Server => webpki::KeyUsage::server_auth(),
        PeerRole::Client => webpki::KeyUsage::client_auth(),
    };
    end_entity
        .verify_for_usage(
            provider().signature_verification_algorithms.all,
            bundle.anchors(),
            intermediates,
            now,
            usage,
            None,
            Some(&authorities_may_sign),
        )
        .map_err(refused)?;
    Ok(facts)
}

/// webpki demands the CA flag of each intermediate, but does not look at its key usage.
fn authorities_may_sign(path: &webpki::VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let (_, certificate) = parse_x509_certificate(&der).map_err(|_| webpki::Error::BadDer)?;
        let usage = certificate.key_usage().map_err(|_| webpki::Error::BadDer)?;
        if !usage.is_some_and(|usage| usage.value.key_cert_sign()) {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
    }
    Ok(())
}

/// What rustls asks of verifiers of either side alike: signatures of TLS 1.3 and of nothing older.
macro_rules! tls13_signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _certificate: &CertificateDer<'_>,
            _signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
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
    };
}

/// What a [`ServerVerifier`] asks about the chain that a server shows.
type Judge = Box<
    dyn Fn(&CertificateDer<'_>, &[CertificateDer<'_>], UnixTime) -> Result<(), PeerRefusal> + Send + Sync,
>;

/// Verifies servers on behalf of a client; names in the handshake play no part.
pub(crate) struct ServerVerifier {
    judge: Judge,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(crate) fn new(judge: Judge) -> Self {
        Self { judge, algorithms: provider().signature_verification_algorithms }
    }

    /// X.509-SVID rules, the bundle that `source` holds at the time, and the expected identity.
    pub(super) fn of_source(source: Arc<IdentitySource>, expected: ExpectedPeer) -> Self {
        Self::new(Box::new(move |leaf, intermediates, now| {
            let bundle = &source.current().bundle;
            let leaf = verify_svid(bundle, leaf, intermediates, PeerRole::Server, now)?;
            expected.check(&leaf.id)
        }))
    }
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match (self.judge)(end_entity, intermediates, now) {
            Ok(()) => Ok(ServerCertVerified::assertion()),
            Err(refusal) => Err(rustls_error(refusal)),
        }
    }

    tls13_signatures!();
}

/// Whether a server insists on a client certificate; one that is shown is verified either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificate {
    /// No certificate, no connection.
    Required,
    /// A client without a certificate is nobody, and each service decides what nobody may do.
    Optional,
}

/// Verifies clients on behalf of a server: any member of our trust domain may connect, policy decides the rest.
#[derive(Debug)]
pub(super) struct SpiffeClientVerifier {
    source: Arc<IdentitySource>,
    presence: ClientCertificate,
    algorithms: WebPkiSupportedAlgorithms,
}

impl SpiffeClientVerifier {
    pub(super) fn new(source: Arc<IdentitySource>, presence: ClientCertificate) -> Self {
        Self { source, presence, algorithms: provider().signature_verification_algorithms }
    }
}

impl ClientCertVerifier for SpiffeClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.presence == ClientCertificate::Required
    }

    /// Empty: the bundle can change under way, and a client of the mesh has one certificate anyway.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let identity = self.source.current();
        verify_svid(&identity.bundle, end_entity, intermediates, PeerRole::Client, now)
            .map(|_| ClientCertVerified::assertion())
            .map_err(rustls_error)
    }

    tls13_signatures!();
}

const INTERMEDIATES_MAX: usize = 8;
const IDS_SHOWN_MAX: usize = 8;
