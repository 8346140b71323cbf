//! A certificate signing request, of which the public key is believed and nothing else.
//!
//! The signature proves that the sender holds the private key. Names and extensions that the request asks for are not even
//! read: what a certificate says comes from a grant.

use aws_lc_rs::digest;
use rcgen::{
    PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData, SubjectPublicKeyInfo,
};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use x509_parser::{
    certification_request::X509CertificationRequest, prelude::FromDer, public_key::PublicKey,
    x509::SubjectPublicKeyInfo as ParsedKey,
};

/// A public key whose owner has asked for a certificate and proved that it holds the private key.
#[derive(Clone, Debug)]
pub struct RequestedKey {
    pub(super) key: SubjectPublicKeyInfo,
}

impl RequestedKey {
    /// Reads a PEM request.
    ///
    /// # Errors
    /// When it is too large, malformed, not signed by its own key, or of a kind of key that is not accepted.
    pub fn parse(pem: &str) -> Result<Self, RequestError> {
        if pem.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| RequestError::Encoding)?;
        let (rest, request) = X509CertificationRequest::from_der(&der).map_err(|_| RequestError::Encoding)?;
        if !rest.is_empty() {
            return Err(RequestError::Encoding);
        }
        let parsed = &request.certification_request_info.subject_pki;
        // Before the signature is verified: a huge key would make that expensive.
        let key = accepted_key(parsed)?;
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        Ok(Self { key })
    }

    /// The SHA-256 of the public key, by which a repeated request is known.
    pub fn fingerprint(&self) -> KeyFingerprint {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, &self.key.subject_public_key_info()).as_ref());
        KeyFingerprint(bytes)
    }
}

/// The SHA-256 of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFingerprint(pub [u8; 32]);

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RequestError {
    #[error("the certificate request has more than {REQUEST_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the certificate request is not a well-formed PEM certificate request")]
    Encoding,
    #[error(
        "the certificate request asks for a key other than ECDSA P-256, P-384, Ed25519 or RSA of 2048 to 8192 bits"
    )]
    Key,
    #[error("the certificate request is not signed by its own key")]
    Signature,
}

const REQUEST_BYTES_MAX: usize = 16 << 10;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

fn accepted_key(parsed: &ParsedKey<'_>) -> Result<SubjectPublicKeyInfo, RequestError> {
    let key = SubjectPublicKeyInfo::from_der(parsed.raw).map_err(|_| RequestError::Key)?;
    let algorithm = key.algorithm();
    let accepted = match parsed.parsed() {
        Ok(PublicKey::RSA(rsa)) => RSA_BITS.contains(&rsa.key_size()),
        Ok(_) => [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519].contains(&algorithm),
        Err(_) => false,
    };
    if accepted { Ok(key) } else { Err(RequestError::Key) }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P521_SHA512, PKCS_RSA_SHA256, RsaKeySize, SignatureAlgorithm,
    };

    use super::*;

    fn request(key: &KeyPair) -> String {
        CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
    }

    fn key_of(algorithm: &'static SignatureAlgorithm) -> KeyPair {
        KeyPair::generate_for(algorithm).unwrap()
    }

    #[test]
    fn accepted_kinds_of_key() {
        for key in [
            key_of(&PKCS_ECDSA_P256_SHA256),
            key_of(&PKCS_ECDSA_P384_SHA384),
            key_of(&PKCS_ED25519),
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap(),
        ] {
            let requested = RequestedKey::parse(&request(&key)).unwrap();
            assert_eq!(requested.key.der_bytes(), key.der_bytes());
            assert_eq!(requested.fingerprint(), RequestedKey::parse(&request(&key)).unwrap().fingerprint());
        }
    }

    #[test]
    fn names_and_extensions_are_not_read() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["control-plane".into()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        // An extension that rcgen's own reader would stumble over.
        params
            .custom_extensions
            .push(rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]));
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        RequestedKey::parse(&pem).unwrap();
    }

    #[test]
    fn refusals_name_the_reason() {
        fn check(pem: &str, expected: RequestError) {
            assert_eq!(RequestedKey::parse(pem).unwrap_err(), expected);
        }
        let key = KeyPair::generate().unwrap();
        let good = request(&key);
        check("", RequestError::Encoding);
        check(
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            RequestError::Encoding,
        );
        check(&good.replace("CERTIFICATE REQUEST", "CERTIFICATE"), RequestError::Encoding);
        check(&"x".repeat(REQUEST_BYTES_MAX + 1), RequestError::TooLarge);
        check(&request(&key_of(&PKCS_ECDSA_P521_SHA512)), RequestError::Key);

        // The key of one request in the place of another's: the signature no longer fits.
        let der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap();
        let other = KeyPair::generate().unwrap();
        let at = der.windows(65).position(|window| window == key.der_bytes()).unwrap();
        let mut swapped = der.to_vec();
        swapped[at..at + 65].copy_from_slice(other.der_bytes());
        check(&pem_of(&swapped), RequestError::Signature);
    }

    fn pem_of(der: &[u8]) -> String {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let text = BASE64_STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    }
}
