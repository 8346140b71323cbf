//! An identity as it is saved: private key, chain and roots in one JSON object, so that no two of them can disagree.

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};

use crate::identity::{BundleError, Identity, Svid, SvidError, TrustBundle, TrustDomain};

/// Writes an identity, private key included, for an owner-only file.
pub fn encode_identity(identity: &Identity) -> Vec<u8> {
    let texts = |certificates: &[CertificateDer<'_>]| {
        certificates.iter().map(|der| BASE64_STANDARD.encode(der)).collect()
    };
    let saved = SavedIdentity {
        format: FORMAT,
        trust_domain: identity.bundle.trust_domain().as_str().into(),
        key: BASE64_STANDARD.encode(identity.svid.private_key().secret_der()),
        chain: texts(identity.svid.chain()),
        roots: texts(identity.bundle.roots()),
    };
    serde_json::to_vec(&saved).expect("texts and a number always make JSON")
}

/// Reads an identity of `trust_domain` back. Whether it is still valid is the caller's question, who knows the time.
///
/// # Errors
/// When it cannot be read, is another trust domain's, or its parts do not belong together.
pub fn decode_identity(bytes: &[u8], trust_domain: &TrustDomain) -> Result<Identity, SavedIdentityError> {
    let saved: SavedIdentity = serde_json::from_slice(bytes).map_err(|_| SavedIdentityError::Shape)?;
    if saved.format != FORMAT {
        return Err(SavedIdentityError::Format { format: saved.format });
    }
    let key = PrivateKeyDer::try_from(bytes_of(&saved.key)?).map_err(|_| SavedIdentityError::Shape)?;
    let svid = Svid::new(certificates(&saved.chain)?, key)?;
    if saved.trust_domain != trust_domain.as_str() || !svid.id().is_member_of(trust_domain) {
        return Err(SavedIdentityError::TrustDomain { found: saved.trust_domain });
    }
    let bundle = TrustBundle::new(trust_domain.clone(), certificates(&saved.roots)?)?;
    Ok(Identity { svid, bundle })
}

/// Why a saved identity is not used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SavedIdentityError {
    #[error("it is no saved identity")]
    Shape,
    #[error("it has format {format}, this library reads {FORMAT}")]
    Format { format: u32 },
    #[error("it is an identity of trust domain {found}")]
    TrustDomain { found: String },
    #[error(transparent)]
    Svid(#[from] SvidError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SavedIdentity {
    format: u32,
    trust_domain: String,
    key: String,
    chain: Vec<String>,
    roots: Vec<String>,
}

const FORMAT: u32 = 1;

fn certificates(texts: &[String]) -> Result<Vec<CertificateDer<'static>>, SavedIdentityError> {
    texts.iter().map(|text| bytes_of(text).map(CertificateDer::from)).collect()
}

fn bytes_of(text: &str) -> Result<Vec<u8>, SavedIdentityError> {
    BASE64_STANDARD.decode(text).map_err(|_| SavedIdentityError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::authority_for_tests::TestAuthority;

    const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

    #[test]
    fn an_identity_comes_back_whole() {
        let authority = TestAuthority::new("cluster.local");
        let identity = authority.identity(REVIEWS);
        let back = decode_identity(&encode_identity(&identity), &authority.trust_domain).unwrap();
        assert_eq!(back.svid.serial(), identity.svid.serial());
        assert_eq!(back.svid.chain(), identity.svid.chain());
        assert_eq!(back.svid.private_key(), identity.svid.private_key());
        assert_eq!(back.bundle, identity.bundle);
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let authority = TestAuthority::new("cluster.local");
        let saved = String::from_utf8(encode_identity(&authority.identity(REVIEWS))).unwrap();
        let other_key = String::from_utf8(encode_identity(&authority.identity(REVIEWS))).unwrap();
        let key_of = |text: &str| {
            serde_json::from_str::<serde_json::Value>(text).unwrap()["key"].as_str().unwrap().to_owned()
        };
        let refused = |text: &str, trust_domain: &str| {
            let trust_domain = TrustDomain::parse(trust_domain).unwrap();
            decode_identity(text.as_bytes(), &trust_domain).unwrap_err()
        };
        let swapped = saved.replace(&key_of(&saved), &key_of(&other_key));
        assert!(matches!(refused(&swapped, "cluster.local"), SavedIdentityError::Svid(_)));
        assert!(matches!(refused(&saved, "other"), SavedIdentityError::TrustDomain { .. }));
        let renamed = saved.replace("\"cluster.local\"", "\"other\"");
        assert!(matches!(refused(&renamed, "other"), SavedIdentityError::TrustDomain { .. }));
        let newer = saved.replace("\"format\":1", "\"format\":2");
        assert!(matches!(refused(&newer, "cluster.local"), SavedIdentityError::Format { format: 2 }));
        assert!(matches!(refused("{}", "cluster.local"), SavedIdentityError::Shape));
        assert!(matches!(refused("", "cluster.local"), SavedIdentityError::Shape));
    }
}
