//! From the certificate authority's answer to an identity, or to the reason why it is none of ours. Pure.

use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};

use crate::identity::{
    BundleError, Identity, PeerRefusal, PeerRole, RootFingerprint, SpiffeId, Svid, SvidError, TrustBundle,
    TrustDomain, verify_svid,
};

/// Whom the answer must name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// Some workload of the trust domain, under bundle that has the pinned root.
    First { trust_domain: &'a TrustDomain, pinned: RootFingerprint },
    /// The same as before.
    Again { id: &'a SpiffeId, trust_domain: &'a TrustDomain },
}

/// Puts together what `CreateCertificate` answered (PEM, leaf first, all roots in the last) and the key that was asked for.
pub(super) fn identity(
    chain: &[String],
    key: PrivateKeyDer<'static>,
    wanted: Wanted<'_>,
    now: UnixTime,
) -> Result<Identity, AnswerError> {
    let (Wanted::First { trust_domain, .. } | Wanted::Again { trust_domain, .. }) = wanted;
    let (roots, chain) = chain.split_last().ok_or(AnswerError::Empty)?;
    let bundle = TrustBundle::from_pem(trust_domain.clone(), roots)?;
    let svid = Svid::new(certificates(chain)?, key)?;
    let [leaf, intermediates @ ..] = svid.chain() else {
        return Err(AnswerError::Empty);
    };
    for role in [PeerRole::Client, PeerRole::Server] {
        verify_svid(&bundle, leaf, intermediates, role, now)?;
    }
    match wanted {
        Wanted::First { pinned, .. } if !bundle.fingerprints().any(|root| root == pinned) => {
            Err(PeerRefusal::Fingerprint { pinned }.into())
        }
        Wanted::First { .. } if svid.id().namespace().is_none() => {
            Err(AnswerError::NoWorkload { got: svid.id().clone() })
        }
        Wanted::Again { id, .. } if id != svid.id() => {
            Err(AnswerError::OtherIdentity { expected: id.clone(), got: svid.id().clone() })
        }
        _ => Ok(Identity { svid, bundle }),
    }
}

/// Why the authority's answer is not used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum AnswerError {
    #[error("it holds no certificate")]
    Empty,
    #[error("it is not PEM")]
    Pem,
    #[error(transparent)]
    Svid(#[from] SvidError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("{0} (does this host's clock agree with the control plane's?)")]
    Untrusted(#[from] PeerRefusal),
    #[error("it names {got}, which is no workload")]
    NoWorkload { got: SpiffeId },
    #[error("it names {got} in the place of {expected}")]
    OtherIdentity { expected: SpiffeId, got: SpiffeId },
}

fn certificates(texts: &[String]) -> Result<Vec<CertificateDer<'static>>, AnswerError> {
    let blocks = texts.iter().flat_map(|text| CertificateDer::pem_slice_iter(text.as_bytes()));
    blocks.collect::<Result<_, _>>().map_err(|_| AnswerError::Pem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{
        authority_for_tests::{TestAuthority, now},
        certificates_pem,
    };

    const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";

    fn answer(authority: &TestAuthority, id: &str) -> (Vec<String>, PrivateKeyDer<'static>) {
        let (chain, key) = authority.leaf(id, |_| {});
        let texts = chain.iter().chain([authority.root.der()]).map(|der| certificates_pem([der]));
        (texts.collect(), key)
    }

    fn first(
        authority: &TestAuthority,
        chain: &[String],
        key: PrivateKeyDer<'static>,
    ) -> Result<Identity, AnswerError> {
        let pinned = authority.bundle().fingerprints().next().unwrap();
        identity(chain, key, Wanted::First { trust_domain: &authority.trust_domain, pinned }, now())
    }

    #[test]
    fn a_right_answer_makes_an_identity() {
        let authority = TestAuthority::new("cluster.local");
        let (chain, key) = answer(&authority, REVIEWS);
        let identity = first(&authority, &chain, key).unwrap();
        assert_eq!((identity.svid.id().as_str(), identity.svid.chain().len()), (REVIEWS, 2));
        assert_eq!(identity.bundle, authority.bundle());
    }

    #[test]
    fn the_last_text_may_hold_several_roots() {
        let (authority, next) = (TestAuthority::new("cluster.local"), TestAuthority::new("cluster.local"));
        let (mut chain, key) = answer(&authority, REVIEWS);
        chain[2].insert_str(0, &next.bundle().to_pem());
        assert_eq!(first(&authority, &chain, key).unwrap().bundle.roots().len(), 2);
    }

    #[test]
    fn a_wrong_answer_is_refused_by_name() {
        let authority = TestAuthority::new("cluster.local");
        let check = |chain: Vec<String>, key, expected: &str| {
            let error = first(&authority, &chain, key).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        let (chain, key) = answer(&authority, REVIEWS);
        check(vec![], key.clone_key(), "no certificate");
        check(chain[2..].to_vec(), key.clone_key(), "empty");
        check(vec!["x".into(), "y".into()], key.clone_key(), "no root");
        check(vec![chain[0].clone(), chain[2].clone()], key.clone_key(), "not vouched for");
        check(chain, answer(&authority, REVIEWS).1, "private key");
        let (chain, key) = answer(&authority, "spiffe://cluster.local/control-plane");
        check(chain, key, "no workload");
        let (chain, key) = answer(&TestAuthority::new("other"), "spiffe://other/ns/a/sa/b");
        check(chain, key, "trust domain");
        let (chain, key) = answer(&TestAuthority::new("cluster.local"), REVIEWS);
        check(chain, key, "pinned fingerprint");
    }

    #[test]
    fn a_renewal_must_name_the_same_identity() {
        let authority = TestAuthority::new("cluster.local");
        let id = SpiffeId::parse(REVIEWS).unwrap();
        let again = |named: &str| {
            let (chain, key) = answer(&authority, named);
            identity(&chain, key, Wanted::Again { id: &id, trust_domain: &authority.trust_domain }, now())
        };
        again(REVIEWS).unwrap();
        let error = again("spiffe://cluster.local/ns/default/sa/ratings").unwrap_err();
        assert!(matches!(error, AnswerError::OtherIdentity { .. }));
    }
}
