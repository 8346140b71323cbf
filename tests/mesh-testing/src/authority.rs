//! Certificates: a trust domain that lives as long as the test.

use std::sync::Arc;

use mesh_core::identity::{Identity, IdentitySource, SpiffeId, Svid, TrustBundle, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// Signs for one trust domain.
pub(crate) struct Authority {
    trust_domain: TrustDomain,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(trust_domain: TrustDomain) -> Result<Self, String> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = KeyPair::generate().and_then(|key| CertifiedIssuer::self_signed(params, key));
        Ok(Self { trust_domain, issuer: issuer.map_err(|error| error.to_string())? })
    }

    /// An SVID for a service account, and whom its holder trusts.
    pub(crate) fn identity(&self, namespace: &str, account: &str) -> Result<Arc<IdentitySource>, String> {
        let id =
            SpiffeId::workload(&self.trust_domain, namespace, account).map_err(|error| error.to_string())?;
        let svid = self.sign(&id).map_err(|error| error.to_string())?;
        let bundle = TrustBundle::new(self.trust_domain.clone(), [self.issuer.der().clone()]);
        Ok(IdentitySource::new(Identity { svid, bundle: bundle.map_err(|error| error.to_string())? }))
    }

    fn sign(&self, id: &SpiffeId) -> Result<Svid, Box<dyn std::error::Error>> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(Svid::new(vec![leaf.into()], key.into())?)
    }
}
