//! A certificate authority for unit tests: a root, an intermediate, and leaves that can be bent out of shape.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use super::{Identity, Svid, TrustBundle, TrustDomain};

/// Root and intermediate of one trust domain.
pub(crate) struct TestAuthority {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) root: CertifiedIssuer<'static, KeyPair>,
    pub(crate) intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl TestAuthority {
    pub(crate) fn new(trust_domain: &str) -> Self {
        Self::with_intermediate(trust_domain, |_| {})
    }

    pub(crate) fn with_intermediate(trust_domain: &str, bend: impl FnOnce(&mut CertificateParams)) -> Self {
        let root =
            CertifiedIssuer::self_signed(authority_params(&format!("{trust_domain} root")), key()).unwrap();
        let mut params = authority_params(&format!("{trust_domain} intermediate"));
        bend(&mut params);
        let intermediate = CertifiedIssuer::signed_by(params, key(), &root).unwrap();
        Self { trust_domain: TrustDomain::parse(trust_domain).unwrap(), root, intermediate }
    }

    pub(crate) fn bundle(&self) -> TrustBundle {
        TrustBundle::new(self.trust_domain.clone(), [self.root.der().clone()]).unwrap()
    }

    /// A chain of leaf and intermediate, with the leaf's parameters bent.
    pub(crate) fn leaf(
        &self,
        id: &str,
        bend: impl FnOnce(&mut CertificateParams),
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = leaf_params(id);
        bend(&mut params);
        let key = key();
        let leaf = params.signed_by(&key, &self.intermediate).unwrap();
        (vec![leaf.into(), self.intermediate.der().clone()], key.into())
    }

    pub(crate) fn svid(&self, id: &str) -> Svid {
        let (chain, key) = self.leaf(id, |_| {});
        Svid::new(chain, key).unwrap()
    }

    pub(crate) fn identity(&self, id: &str) -> Identity {
        Identity { svid: self.svid(id), bundle: self.bundle() }
    }
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

pub(crate) fn leaf_params(id: &str) -> CertificateParams {
    let mut params = params_without_name();
    params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = params_without_name();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn params_without_name() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

/// 2026-11-23, inside the validity of everything above.
pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(1_795_392_000))
}
