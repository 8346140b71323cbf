//! PEM text (RFC 7468), for what leaves the process as text: certificates, and keys into owner-only files.

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Certificates as PEM, one after the other.
pub fn certificates_pem<'a>(certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> String {
    certificates.into_iter().map(|certificate| block("CERTIFICATE", certificate)).collect()
}

/// A private key as PEM.
pub(super) fn private_key_pem(key: &PrivateKeyDer<'_>) -> String {
    let label = match key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    block(label, key.secret_der())
}

fn block(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(LINE_CHARS) {
        pem.extend(line.iter().map(|byte| char::from(*byte)));
        pem.push('\n');
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

const LINE_CHARS: usize = 64;

#[cfg(test)]
mod tests {
    use rustls_pki_types::pem::PemObject;

    use super::super::authority_for_tests::TestAuthority;
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let svid = TestAuthority::new("cluster.local").svid("spiffe://cluster.local/ns/a/sa/b");
        let pem = certificates_pem(svid.chain());
        let back: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(back, svid.chain());
        let key = private_key_pem(svid.private_key());
        assert_eq!(&PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(), svid.private_key());
        assert!(pem.lines().all(|line| line.len() <= LINE_CHARS));
    }
}
