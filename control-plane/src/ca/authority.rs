//! The certificate authority: a root, the intermediate that it vouches for, and the leaves that the intermediate signs.
//!
//! The intermediate signs everything, so that the root's key is needed only to replace it. Times are passed in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use mesh_core::identity::{
    Identity, RootFingerprint, SpiffeIdError, Svid, SvidError, TrustBundle, TrustDomain, certificates_pem,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::{
    lifetime::{BACKDATED, LeafLifetime},
    request::RequestedKey,
    subject::Subject,
};

/// A certificate authority, ready to issue.
pub struct Authority {
    bundle: TrustBundle,
    /// Intermediate and root, as they follow every leaf.
    issuers: [CertificateDer<'static>; 2],
    issuer: Issuer<'static, KeyPair>,
    not_after: SystemTime,
}

/// The keys and certificates of an authority as one PEM text: root and its key, intermediate and its key.
pub struct AuthorityPem(pub(super) String);

impl AuthorityPem {
    /// Takes a text that [`as_str`](Self::as_str) gave.
    pub fn new(pem: String) -> Self {
        Self(pem)
    }

    /// The text. It holds the keys to the whole mesh.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A certificate that has been issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// Leaf, intermediate, root, each as PEM.
    pub chain: Vec<String>,
    /// The leaf's serial number, lower-case hexadecimal: the key of its grant.
    pub serial: String,
    /// Valid until.
    pub not_after: SystemTime,
}

impl Authority {
    /// Makes the keys and certificates of a new authority.
    ///
    /// # Errors
    /// When keys cannot be made.
    pub fn create(trust_domain: &TrustDomain, now: SystemTime) -> Result<AuthorityPem, AuthorityError> {
        let root_key = KeyPair::generate()?;
        let root_params = authority_params(trust_domain, "root", 1, now)?;
        let root = CertifiedIssuer::self_signed(root_params, root_key)?;
        let params = authority_params(trust_domain, "intermediate", 0, now)?;
        let key = KeyPair::generate()?;
        let intermediate = params.signed_by(&key, &root)?;
        Ok(AuthorityPem(
            [root.pem(), root.key().serialize_pem(), intermediate.pem(), key.serialize_pem()].concat(),
        ))
    }

    /// Takes up an authority that was made before.
    ///
    /// # Errors
    /// When the text is no authority's, its parts do not belong together, or it is another trust domain's.
    pub fn load(pem: &AuthorityPem, trust_domain: &TrustDomain) -> Result<Self, AuthorityError> {
        let certificates: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_slice_iter(pem.0.as_bytes()).collect();
        let keys: Result<Vec<PrivateKeyDer<'static>>, _> =
            PrivateKeyDer::pem_slice_iter(pem.0.as_bytes()).collect();
        let ([root, intermediate], [_, key]) = (
            <[_; 2]>::try_from(certificates.map_err(|_| AuthorityError::Pem)?)
                .map_err(|_| AuthorityError::Pem)?,
            <[_; 2]>::try_from(keys.map_err(|_| AuthorityError::Pem)?).map_err(|_| AuthorityError::Pem)?,
        );
        check_trust_domain(&root, trust_domain)?;
        let key = KeyPair::try_from(&key)?;
        let not_after = check_intermediate(&root, &intermediate, &key)?;
        let bundle =
            TrustBundle::new(trust_domain.clone(), [root.clone()]).map_err(|_| AuthorityError::Pem)?;
        let issuer = Issuer::from_ca_cert_der(&intermediate, key)?;
        Ok(Self { bundle, issuers: [intermediate, root], issuer, not_after })
    }

    /// The roots that vouch for everything issued here.
    pub fn bundle(&self) -> &TrustBundle {
        &self.bundle
    }

    /// What join strings pin.
    pub fn root_fingerprint(&self) -> RootFingerprint {
        self.bundle.fingerprints().next().expect("a bundle holds at least one root")
    }

    /// Certifies a requested key as `subject`.
    ///
    /// # Errors
    /// When the subject cannot be named in a certificate, or the authority itself is about to end.
    pub fn issue(
        &self,
        key: &RequestedKey,
        subject: &Subject,
        lifetime: LeafLifetime,
        now: SystemTime,
    ) -> Result<Issued, AuthorityError> {
        self.certify(&key.key, subject, lifetime, now).map(|(_, issued)| issued)
    }

    /// Makes a key here and certifies it: for the control plane itself and for the first administrator.
    ///
    /// # Errors
    /// As [`issue`](Self::issue), and when no key can be made.
    pub fn issue_with_key(
        &self,
        subject: &Subject,
        lifetime: LeafLifetime,
        now: SystemTime,
    ) -> Result<Identity, AuthorityError> {
        let key = KeyPair::generate()?;
        let (leaf, _) = self.certify(&key, subject, lifetime, now)?;
        let chain = [&[leaf], self.issuers.as_slice()].concat();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let svid = Svid::new(chain, key).map_err(|source| AuthorityError::OwnSvid { source })?;
        Ok(Identity { svid, bundle: self.bundle.clone() })
    }

    fn certify(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        lifetime: LeafLifetime,
        now: SystemTime,
    ) -> Result<(CertificateDer<'static>, Issued), AuthorityError> {
        let not_after = UNIX_EPOCH + whole_seconds((now + lifetime.as_duration()).min(self.not_after));
        if not_after <= now {
            return Err(AuthorityError::Ended);
        }
        let serial = random_serial()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = subject.names(self.bundle.trust_domain())?;
        params.extended_key_usages = subject.usages();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, now - BACKDATED, not_after);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let leaf = params.signed_by(key, &self.issuer)?;
        let [intermediate, root] = &self.issuers;
        let chain = vec![leaf.pem(), certificates_pem([intermediate]), certificates_pem([root])];
        let serial = serial.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((leaf.into(), Issued { chain, serial, not_after }))
    }
}

/// Why nothing was made or issued.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AuthorityError {
    #[error("the text does not hold root, root key, intermediate and intermediate key as PEM")]
    Pem,
    #[error("the authority is that of {found}, not of {expected}; give the right `--trust-domain`")]
    TrustDomain { found: String, expected: TrustDomain },
    #[error("the intermediate certificate is not signed by the root, or its key is another one's")]
    Intermediate,
    #[error("the authority's own certificates have run out")]
    Ended,
    #[error(transparent)]
    Name(#[from] SpiffeIdError),
    #[error("a certificate of our own cannot be used: {source}")]
    OwnSvid { source: SvidError },
    #[error("no random numbers are to be had")]
    Random,
    #[error("cannot make the certificate: {0}")]
    Make(#[from] rcgen::Error),
}

const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
const SERIAL_BYTES: usize = 16;

fn authority_params(
    trust_domain: &TrustDomain,
    role: &str,
    path_length: u8,
    now: SystemTime,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, format!("mesh {role}"));
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").try_into()?)];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now - BACKDATED, now + AUTHORITY_LIFETIME);
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    Ok(params)
}

fn check_trust_domain(root: &CertificateDer<'_>, expected: &TrustDomain) -> Result<(), AuthorityError> {
    let (_, root) = parse_x509_certificate(root).map_err(|_| AuthorityError::Pem)?;
    let names =
        root.subject_alternative_name().map_err(|_| AuthorityError::Pem)?.ok_or(AuthorityError::Pem)?;
    let found = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    match found {
        Some(uri) if uri.strip_prefix("spiffe://") == Some(expected.as_str()) => Ok(()),
        found => Err(AuthorityError::TrustDomain {
            found: found.unwrap_or("no trust domain").into(),
            expected: expected.clone(),
        }),
    }
}

/// Checks that the intermediate belongs to root and key; gives the time when it ends.
fn check_intermediate(
    root: &CertificateDer<'_>,
    intermediate: &CertificateDer<'_>,
    key: &KeyPair,
) -> Result<SystemTime, AuthorityError> {
    let (_, root) = parse_x509_certificate(root).map_err(|_| AuthorityError::Pem)?;
    let (_, intermediate) = parse_x509_certificate(intermediate).map_err(|_| AuthorityError::Pem)?;
    let signed = intermediate.verify_signature(Some(root.public_key())).is_ok();
    if !signed || intermediate.public_key().raw != key.subject_public_key_info() {
        return Err(AuthorityError::Intermediate);
    }
    let seconds = u64::try_from(intermediate.validity().not_after.timestamp()).unwrap_or(0);
    Ok(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Positive, and of one length whatever the dice say, so that its hexadecimal form is unambiguous.
fn random_serial() -> Result<[u8; SERIAL_BYTES], AuthorityError> {
    let mut serial = [0; SERIAL_BYTES];
    SystemRandom::new().fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

/// The time in whole seconds, as certificates have it.
fn whole_seconds(time: SystemTime) -> Duration {
    Duration::from_secs(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}

fn set_validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + whole_seconds(not_before);
    params.not_after = epoch + whole_seconds(not_after);
}
