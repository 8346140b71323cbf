//! Knowing the control plane before having a trust bundle: by the root's public key that the join string pins.

use rustls_pki_types::{CertificateDer, UnixTime};

use crate::identity::{
    ExpectedPeer, PeerRefusal, PeerRole, RootFingerprint, TrustBundle, TrustDomain, verify_svid,
};

/// Judges a server that must be the control plane of `trust_domain` under the root with the fingerprint `pinned`.
///
/// The root itself comes from the server's chain. That is safe: only its public key matters to path building, and that is
/// what is pinned.
pub(super) fn verify_pinned(
    pinned: RootFingerprint,
    trust_domain: &TrustDomain,
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    now: UnixTime,
) -> Result<(), PeerRefusal> {
    let root = intermediates
        .iter()
        .take(CERTIFICATES_SEARCHED_MAX)
        .find(|certificate| RootFingerprint::of_certificate(certificate) == Some(pinned))
        .ok_or(PeerRefusal::Fingerprint { pinned })?;
    let bundle = TrustBundle::new(trust_domain.clone(), [root.clone().into_owned()])
        .map_err(|_| PeerRefusal::Fingerprint { pinned })?;
    let leaf = verify_svid(&bundle, leaf, intermediates, PeerRole::Server, now)?;
    ExpectedPeer::ControlPlane.check(&leaf.id)
}

const CERTIFICATES_SEARCHED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::authority_for_tests::{TestAuthority, now};

    const CONTROL_PLANE: &str = "spiffe://cluster.local/control-plane";

    fn judged(
        id: &str,
        bend: impl FnOnce(&TestAuthority, &mut Vec<CertificateDer<'static>>),
    ) -> Result<(), PeerRefusal> {
        let authority = TestAuthority::new("cluster.local");
        let pinned = authority.bundle().fingerprints().next().unwrap();
        let (mut chain, _) = authority.leaf(id, |_| {});
        chain.push(authority.root.der().clone());
        bend(&authority, &mut chain);
        verify_pinned(pinned, &authority.trust_domain, &chain[0], &chain[1..], now())
    }

    #[test]
    fn the_control_plane_under_the_pinned_root_is_known() {
        assert_eq!(judged(CONTROL_PLANE, |_, _| {}), Ok(()));
    }

    #[test]
    fn everybody_else_is_refused_by_name() {
        let check =
            |id: &str, bend: &dyn Fn(&TestAuthority, &mut Vec<CertificateDer<'static>>), expected: &str| {
                let refusal = judged(id, bend).unwrap_err().to_string();
                assert!(refusal.contains(expected), "{refusal}");
            };
        check("spiffe://cluster.local/ns/a/sa/b", &|_, _| {}, "expected the control plane, got");
        check("spiffe://other/control-plane", &|_, _| {}, "trust domain");
        check(CONTROL_PLANE, &|_, chain| chain.truncate(2), "pinned fingerprint");
        check(
            CONTROL_PLANE,
            &|_, chain| chain[2] = TestAuthority::new("cluster.local").root.der().clone(),
            "pinned",
        );
        // A leaf of another authority that shows the pinned root beside it.
        let impostor = |_: &TestAuthority, chain: &mut Vec<CertificateDer<'static>>| {
            let (theirs, _) = TestAuthority::new("cluster.local").leaf(CONTROL_PLANE, |_| {});
            chain.splice(..2, theirs);
        };
        check(CONTROL_PLANE, &impostor, "not vouched for");
    }
}
