//! A mesh of one process for tests: an authority, identities, and the configuration of a listener published by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::Mesh;
use mesh_core::authz::{Action, Condition, Policy, Rule, Stage};
use mesh_core::context::PROPAGATED_BY_DEFAULT;
use mesh_core::identity::{
    ExpectedPeer, Identity, IdentitySource, Svid, TrustBundle, TrustDomain, client_config,
};
use mesh_core::mesh::{Parts, Publisher};
use mesh_core::resource::{InboundListener, MtlsMode, Provenance};
use mesh_core::snapshot::Snapshot;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One trust domain.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A mesh and the hand that configures it.
pub(crate) struct TestMesh {
    pub(crate) mesh: Mesh,
    pub(crate) authority: Authority,
    publisher: Publisher,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// An identity of `ns/default/sa/NAME`.
    pub(crate) fn identity(&self, name: &str) -> Arc<IdentitySource> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(spiffe_id(name).try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let svid = Svid::new(vec![leaf.into()], key.into()).unwrap();
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let bundle = TrustBundle::new(trust_domain, [self.0.der().clone()]).unwrap();
        IdentitySource::new(Identity { svid, bundle })
    }
}

impl TestMesh {
    /// The mesh as `reviews` sees it, without any configuration yet.
    pub(crate) fn new() -> Self {
        let authority = Authority::new();
        let identity = Some(authority.identity("reviews"));
        let (mesh, publisher) = Mesh::from_parts(Parts { identity, ..Parts::default() });
        Self { mesh, authority, publisher }
    }

    /// Publishes the configuration of `address`.
    pub(crate) fn configure(&self, address: SocketAddr, mtls_mode: MtlsMode, policy: Policy) {
        let name: Arc<str> = format!("inbound/{address}").into();
        let listener = InboundListener {
            name: Arc::clone(&name),
            workload: None,
            mtls_mode,
            mtls_provenance: Provenance::default(),
            path_normalization: mesh_core::canonical::PathNormalization::Base,
            propagated_headers: PROPAGATED_BY_DEFAULT.clone().into(),
            policy,
        };
        let mut snapshot = Snapshot::default();
        snapshot.inbound.insert(name, Arc::new(listener));
        self.publisher.publish(snapshot);
    }

    /// Publishes that there is none.
    pub(crate) fn withdraw(&self) {
        self.publisher.publish(Snapshot::default());
    }

    /// Connects as `ns/default/sa/NAME` of this mesh.
    pub(crate) async fn connect(&self, address: SocketAddr, name: &str) -> TlsStream<TcpStream> {
        connect(address, &self.authority.identity(name)).await.unwrap()
    }
}

/// Connects by mutual TLS; the server must be a member of the caller's own trust domain.
pub(crate) async fn connect(
    address: SocketAddr,
    identity: &Arc<IdentitySource>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let expected = ExpectedPeer::AnyInTrustDomain;
    let connector = TlsConnector::from(client_config(identity, expected));
    let name = ServerName::try_from("outbound_.9080_._.reviews").unwrap();
    connector.connect(name, TcpStream::connect(address).await?).await
}

pub(crate) fn spiffe_id(name: &str) -> String {
    format!("spiffe://cluster.local/ns/default/sa/{name}")
}

/// Refuses everybody, by a rule with a name.
pub(crate) fn deny_all() -> Policy {
    let rule = Rule {
        name: "AuthorizationPolicy/default/nobody rules[0]".into(),
        at: Some("nobody.yaml:7".into()),
        permission: Condition::Any,
        principal: Condition::Any,
    };
    Policy::new(vec![Stage { action: Action::Deny, rules: vec![rule] }])
}
