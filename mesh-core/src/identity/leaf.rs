//! What an X.509-SVID says, read from one certificate under the standard's rules for leaves.
//!
//! Reading and judging are one step: a [`Leaf`] exists only for a certificate that may authenticate somebody. Whether
//! anyone vouches for it is another question, answered by [`verifier`](super::verifier).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate, time::ASN1Time,
};

use super::spiffe_id::{SpiffeId, SpiffeIdError};

/// The facts of a workload's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Whom it names.
    pub id: SpiffeId,
    /// Its serial number, lower-case hexadecimal, without leading zero bytes.
    pub serial: String,
    /// Valid from.
    pub not_before: SystemTime,
    /// Valid until.
    pub not_after: SystemTime,
}

impl Leaf {
    /// Reads a certificate and holds it to the rules for a leaf: one URI name that is a SPIFFE ID with a path, no
    /// certificate authority, `digitalSignature` and neither `keyCertSign` nor `cRLSign`.
    ///
    /// # Errors
    /// Names the rule that is broken.
    pub fn parse(certificate: &CertificateDer<'_>) -> Result<Self, LeafError> {
        let (rest, certificate) = parse_x509_certificate(certificate).map_err(|_| LeafError::Encoding)?;
        if !rest.is_empty() {
            return Err(LeafError::Encoding);
        }
        let id = spiffe_id(&certificate)?;
        check_usage(&certificate)?;
        Ok(Self {
            id,
            serial: serial(&certificate),
            not_before: system_time(certificate.validity().not_before),
            not_after: system_time(certificate.validity().not_after),
        })
    }
}

/// Why a certificate is no X.509-SVID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LeafError {
    #[error("the certificate is not well-formed")]
    Encoding,
    #[error("the certificate has {count} URI names, an X.509-SVID has exactly one")]
    UriNames { count: usize },
    #[error("the certificate's URI name {uri:?} is no SPIFFE ID: {source}")]
    SpiffeId { uri: String, source: SpiffeIdError },
    #[error("{id} names a trust domain, not a workload: the path is missing")]
    NoPath { id: SpiffeId },
    #[error("the certificate of {id} is a certificate authority's")]
    Authority { id: SpiffeId },
    #[error("the certificate's key usage must have digitalSignature, and neither keyCertSign nor cRLSign")]
    KeyUsage,
}

fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, LeafError> {
    let names = certificate.subject_alternative_name().map_err(|_| LeafError::Encoding)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    // A name that did not parse could be a second URI for another reader of the same bytes.
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(LeafError::Encoding);
    }
    let mut uris = names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        let count = names.iter().filter(|name| matches!(name, GeneralName::URI(_))).count();
        return Err(LeafError::UriNames { count });
    };
    let id = SpiffeId::parse(uri).map_err(|source| LeafError::SpiffeId {
        uri: uri.chars().take(URI_SHOWN_CHARS_MAX).collect(),
        source,
    })?;
    if id.path().is_empty() {
        return Err(LeafError::NoPath { id });
    }
    if certificate.basic_constraints().map_err(|_| LeafError::Encoding)?.is_some_and(|basic| basic.value.ca) {
        return Err(LeafError::Authority { id });
    }
    Ok(id)
}

fn check_usage(certificate: &X509Certificate<'_>) -> Result<(), LeafError> {
    let usage = certificate.key_usage().map_err(|_| LeafError::Encoding)?.ok_or(LeafError::KeyUsage)?.value;
    if usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign() {
        return Ok(());
    }
    Err(LeafError::KeyUsage)
}

fn serial(certificate: &X509Certificate<'_>) -> String {
    use std::fmt::Write;

    let significant = certificate.raw_serial().iter().skip_while(|byte| **byte == 0);
    significant.fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Times before 1970 become 1970: nothing that old is valid now, and `SystemTime` stays portable.
fn system_time(time: ASN1Time) -> SystemTime {
    let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
    UNIX_EPOCH + Duration::from_secs(seconds)
}

const URI_SHOWN_CHARS_MAX: usize = 256;
