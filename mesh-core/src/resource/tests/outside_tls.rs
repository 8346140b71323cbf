use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::certificate_validation_context::{
    SystemRootCerts, TrustChainVerification,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::subject_alt_name_matcher::SanType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SubjectAltNameMatcher, TlsCertificate, UpstreamTlsContext,
};

use super::clusters::{good as good_cluster, socket};
use super::*;

fn file(path: &str) -> Option<DataSource> {
    Some(DataSource { specifier: Some(Specifier::Filename(path.into())), ..DataSource::default() })
}

fn name(kind: SanType, name: &str) -> SubjectAltNameMatcher {
    let matcher = Some(exact(name));
    SubjectAltNameMatcher { san_type: kind.into(), matcher, ..SubjectAltNameMatcher::default() }
}

fn validation() -> CertificateValidationContext {
    CertificateValidationContext {
        trusted_ca: file("/ca.pem"),
        crl: file("/crl.pem"),
        match_typed_subject_alt_names: vec![
            name(SanType::Dns, "a.com"),
            name(SanType::IpAddress, "10.0.0.1"),
            name(SanType::Uri, "spiffe://a/b"),
        ],
        ..CertificateValidationContext::default()
    }
}

fn common(validation: CertificateValidationContext) -> CommonTlsContext {
    CommonTlsContext {
        tls_certificates: vec![TlsCertificate {
            certificate_chain: file("/c.pem"),
            private_key: file("/k.pem"),
            ..TlsCertificate::default()
        }],
        alpn_protocols: vec!["h2".into(), "http/1.1".into()],
        validation_context_type: Some(ValidationContextType::ValidationContext(validation)),
        ..CommonTlsContext::default()
    }
}

fn read(common: CommonTlsContext) -> Result<UpstreamTls, String> {
    let context = UpstreamTlsContext {
        common_tls_context: Some(common),
        sni: "a.com".into(),
        ..UpstreamTlsContext::default()
    };
    let mut cluster = good_cluster();
    cluster.transport_socket = Some(socket(pack_any(context)));
    match parse(ResourceType::Cluster, &cluster.encode_to_vec()) {
        Ok(Resource::Cluster(cluster)) => Ok(cluster.tls.clone()),
        Ok(other) => panic!("{other:?}"),
        Err(refused) => Err(refused.field),
    }
}

#[test]
fn tls_by_files_is_read_with_all_that_it_says() {
    let expected = OutsideTls {
        sni: "a.com".into(),
        certificate: Some(CertificateFiles { chain: "/c.pem".into(), key: "/k.pem".into() }),
        verification: ServerVerification::Named {
            roots: Roots::File("/ca.pem".into()),
            revocations: Some("/crl.pem".into()),
            names: [
                PeerName::Dns("a.com".into()),
                PeerName::Ip([10, 0, 0, 1].into()),
                PeerName::Uri("spiffe://a/b".into()),
            ]
            .into(),
        },
    };
    assert_eq!(read(common(validation())), Ok(UpstreamTls::Outside(expected.into())));
}

#[test]
fn the_systems_roots_and_nobodys_are_told_apart() {
    let verification = |validation| match read(common(validation)) {
        Ok(UpstreamTls::Outside(tls)) => tls.verification.clone(),
        other => panic!("{other:?}"),
    };
    let system = verification(CertificateValidationContext {
        trusted_ca: None,
        system_root_certs: Some(SystemRootCerts::default()),
        crl: None,
        ..validation()
    });
    assert!(matches!(system, ServerVerification::Named { roots: Roots::System, revocations: None, .. }));
    let skipped = verification(CertificateValidationContext {
        trust_chain_verification: TrustChainVerification::AcceptUntrusted.into(),
        ..CertificateValidationContext::default()
    });
    assert_eq!(skipped, ServerVerification::Skipped);
}

#[test]
fn what_would_let_in_more_than_is_said_is_refused() {
    let check = |spoil: fn(&mut CertificateValidationContext), field: &str| {
        let mut validation = validation();
        spoil(&mut validation);
        let refused = read(common(validation)).unwrap_err();
        assert!(refused.ends_with(&format!("validation_context.{field}")), "{refused} is not {field}");
    };
    check(|tls| tls.match_typed_subject_alt_names.clear(), "match_typed_subject_alt_names");
    check(|tls| tls.system_root_certs = Some(SystemRootCerts::default()), "trusted_ca");
    check(|tls| tls.trusted_ca = Some(DataSource::default()), "trusted_ca.filename");
    check(|tls| tls.allow_expired_certificate = true, "allow_expired_certificate");
    check(|tls| tls.trust_chain_verification = 1, "trust_chain_verification");
    check(|tls| tls.only_verify_leaf_cert_crl = true, "only_verify_leaf_cert_crl");
    check(
        |tls| tls.match_typed_subject_alt_names = vec![name(SanType::Email, "a@b")],
        "match_typed_subject_alt_names[0].san_type",
    );
    check(
        |tls| tls.match_typed_subject_alt_names = vec![name(SanType::IpAddress, "a")],
        "match_typed_subject_alt_names[0].matcher",
    );
    let mut two = common(validation());
    two.tls_certificates.push(two.tls_certificates[0].clone());
    assert!(read(two).unwrap_err().ends_with("tls_certificates"));
}
