//! Verification and handshakes against certificates bent in one way each.

use std::{io, sync::Arc};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, date_time_ymd};
use rustls::{ClientConnection, ServerConnection};
use rustls_pki_types::ServerName;

use super::authority_for_tests::{TestAuthority, now};
use super::*;

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";
const RATINGS: &str = "spiffe://cluster.local/ns/default/sa/ratings";

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

fn any_of(ids: &[&str]) -> ExpectedPeer {
    ExpectedPeer::AnyOf(ids.iter().map(|text| id(text)).collect())
}

fn verify(
    authority: &TestAuthority,
    bend: impl FnOnce(&mut CertificateParams),
    role: PeerRole,
) -> Result<Leaf, PeerRefusal> {
    let (chain, _) = authority.leaf(REVIEWS, bend);
    verify_svid(&authority.bundle(), &chain[0], &chain[1..], role, now())
}

#[test]
fn a_regular_svid_is_accepted_in_both_roles() {
    let authority = TestAuthority::new("cluster.local");
    for role in [PeerRole::Server, PeerRole::Client] {
        let leaf = verify(&authority, |_| {}, role).unwrap();
        assert_eq!(leaf.id, id(REVIEWS));
        assert!(leaf.not_before < leaf.not_after);
        assert!(!leaf.serial.is_empty() && leaf.serial.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}

#[test]
fn harmless_differences_are_accepted() {
    let authority = TestAuthority::new("cluster.local");
    let check = |bend: fn(&mut CertificateParams)| {
        verify(&authority, bend, PeerRole::Server).unwrap();
    };
    check(|params| params.extended_key_usages.clear());
    check(|params| params.is_ca = IsCa::NoCa);
    check(|params| params.subject_alt_names.push(SanType::DnsName("reviews".try_into().unwrap())));
    check(|params| params.key_usages.push(KeyUsagePurpose::KeyEncipherment));
}

#[test]
fn a_leaf_that_breaks_a_rule_is_refused_by_name() {
    let authority = TestAuthority::new("cluster.local");
    let check = |bend: fn(&mut CertificateParams), role, expected: &str| {
        let refusal = verify(&authority, bend, role).unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal}");
    };
    let server = PeerRole::Server;
    check(|params| params.subject_alt_names.clear(), server, "0 URI names");
    check(|params| params.subject_alt_names.push(uri(RATINGS)), server, "2 URI names");
    check(|params| params.subject_alt_names = vec![uri("https://cluster.local/x")], server, "`spiffe://`");
    check(|params| params.subject_alt_names = vec![uri("spiffe://cluster.local")], server, "path is missing");
    check(|params| params.subject_alt_names = vec![uri("spiffe://other/ns/a/sa/b")], server, "trust domain");
    check(|params| params.key_usages.clear(), server, "key usage");
    check(|params| params.key_usages.push(KeyUsagePurpose::KeyCertSign), server, "key usage");
    check(|params| params.key_usages.push(KeyUsagePurpose::CrlSign), server, "key usage");
    check(|params| params.key_usages = vec![KeyUsagePurpose::KeyAgreement], server, "key usage");
    check(
        |params| params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained),
        server,
        "certificate authority",
    );
    check(|params| params.not_after = date_time_ymd(2021, 1, 1), server, "not vouched for");
    check(|params| params.not_before = date_time_ymd(2099, 1, 1), server, "not vouched for");
    let client_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    check(client_only, server, "not vouched for");
    let server_only = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    check(server_only, PeerRole::Client, "not vouched for");
}

#[test]
fn an_authority_that_may_not_sign_certificates_is_refused() {
    let check = |bend: fn(&mut CertificateParams)| {
        let authority = TestAuthority::with_intermediate("cluster.local", bend);
        let refusal = verify(&authority, |_| {}, PeerRole::Server).unwrap_err();
        assert!(matches!(refusal, PeerRefusal::Untrusted { .. }), "{refusal}");
    };
    check(|params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature]);
    check(|params| params.key_usages.clear());
    check(|params| params.is_ca = IsCa::ExplicitNoCa);
    check(|params| params.not_after = date_time_ymd(2021, 1, 1));
}

#[test]
fn only_the_bundle_of_the_trust_domain_counts() {
    let ours = TestAuthority::new("cluster.local");
    let impostor = TestAuthority::new("cluster.local");
    let (chain, _) = impostor.leaf(REVIEWS, |_| {});
    let with_root = [chain[1].clone(), impostor.root.der().clone()];
    let refusal = verify_svid(&ours.bundle(), &chain[0], &with_root, PeerRole::Server, now()).unwrap_err();
    assert!(matches!(refusal, PeerRefusal::Untrusted { .. }), "{refusal}");

    let both =
        TrustBundle::new(ours.trust_domain.clone(), [ours.root.der().clone(), impostor.root.der().clone()])
            .unwrap();
    verify_svid(&both, &chain[0], &chain[1..], PeerRole::Server, now()).unwrap();
}

#[test]
fn a_chain_without_end_is_refused_before_work_is_done() {
    let authority = TestAuthority::new("cluster.local");
    let (chain, _) = authority.leaf(REVIEWS, |_| {});
    let many = vec![chain[1].clone(); 9];
    let refusal = verify_svid(&authority.bundle(), &chain[0], &many, PeerRole::Server, now());
    assert_eq!(refusal, Err(PeerRefusal::ChainTooLong));
}

#[test]
fn the_expected_peer_is_the_only_one_let_in() {
    let check = |expected: &ExpectedPeer, peer: &str, accepted: bool| {
        assert_eq!(expected.check(&id(peer)).is_ok(), accepted, "{expected} / {peer}");
    };
    let control_plane = "spiffe://cluster.local/control-plane";
    let admin = "spiffe://cluster.local/admin/root";
    let reviews = any_of(&[REVIEWS]);
    check(&reviews, REVIEWS, true);
    check(&reviews, RATINGS, false);
    check(&any_of(&[]), REVIEWS, false);
    check(&ExpectedPeer::AnyInTrustDomain, RATINGS, true);
    check(&ExpectedPeer::AnyInTrustDomain, control_plane, false);
    check(&ExpectedPeer::AnyInTrustDomain, admin, false);
    check(&ExpectedPeer::ControlPlane, control_plane, true);
    check(&ExpectedPeer::ControlPlane, REVIEWS, false);
    check(&ExpectedPeer::ControlPlane, "spiffe://cluster.local/ns/control-plane/sa/control-plane", false);
}

#[test]
fn a_key_of_another_certificate_makes_no_svid() {
    let authority = TestAuthority::new("cluster.local");
    let (chain, _) = authority.leaf(REVIEWS, |_| {});
    let (_, other_key) = authority.leaf(REVIEWS, |_| {});
    assert!(matches!(Svid::new(chain, other_key), Err(SvidError::Key { .. })));
    let (chain, key) = authority.leaf(REVIEWS, |_| {});
    assert!(matches!(Svid::new(Vec::new(), key.clone_key()), Err(SvidError::ChainEmpty)));
    assert!(matches!(Svid::new(vec![chain[0].clone(); 9], key), Err(SvidError::ChainTooLong)));
}

#[test]
fn no_private_key_is_printed() {
    let authority = TestAuthority::new("cluster.local");
    let shown = format!("{:?}", authority.identity(REVIEWS));
    assert!(shown.contains("hidden") && !shown.contains("Pkcs8"), "{shown}");
}

#[test]
fn both_sides_learn_the_others_identity() {
    let authority = TestAuthority::new("cluster.local");
    let (client, server) =
        handshake(&authority, any_of(&[REVIEWS]), REVIEWS, Some(RATINGS), ClientCertificate::Required)
            .unwrap();
    assert_eq!(peer_identity(&client), Some(id(REVIEWS)));
    assert_eq!(peer_identity(&server), Some(id(RATINGS)));
    assert_eq!(client.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    assert_eq!(client.alpn_protocol(), Some(ALPN_HTTP2));
    let group = client.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(client.handshake_kind(), Some(rustls::HandshakeKind::Full));
    assert_eq!(client.tls13_tickets_received(), 0);
}

#[test]
fn another_services_certificate_is_refused_and_named() {
    let authority = TestAuthority::new("cluster.local");
    let error =
        handshake(&authority, any_of(&[REVIEWS]), RATINGS, Some(RATINGS), ClientCertificate::Required)
            .unwrap_err();
    let refusal = PeerRefusal::find(&error).unwrap();
    assert_eq!(refusal.to_string(), format!("expected one of [{REVIEWS}], got {RATINGS}"));
}

#[test]
fn a_client_without_a_certificate_passes_only_where_it_is_optional() {
    let authority = TestAuthority::new("cluster.local");
    let expected = || any_of(&[REVIEWS]);
    handshake(&authority, expected(), REVIEWS, None, ClientCertificate::Required).unwrap_err();
    let (_, server) = handshake(&authority, expected(), REVIEWS, None, ClientCertificate::Optional).unwrap();
    assert_eq!(peer_identity(&server), None);
}

#[test]
fn a_replaced_identity_is_shown_at_the_next_handshake() {
    let authority = TestAuthority::new("cluster.local");
    let source = IdentitySource::new(authority.identity(REVIEWS));
    let mut changes = source.subscribe();
    let config = server_config(&source, ClientCertificate::Optional);
    let serial = |config: &Arc<rustls::ServerConfig>| {
        let client = IdentitySource::new(authority.identity(RATINGS));
        let client = client_config(&client, any_of(&[REVIEWS]));
        let (client, _) = connect(client, config.clone()).unwrap();
        peer_certificate(&client).unwrap().serial
    };
    let before = serial(&config);
    assert_eq!(before, source.current().svid.serial());

    source.replace(authority.identity(REVIEWS));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let after = serial(&config);
    assert_ne!(before, after);
    assert_eq!(after, source.current().svid.serial());
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn handshake(
    authority: &TestAuthority,
    expected: ExpectedPeer,
    server_id: &str,
    client_id: Option<&str>,
    client_certificate: ClientCertificate,
) -> io::Result<(ClientConnection, ServerConnection)> {
    let server = IdentitySource::new(authority.identity(server_id));
    let server = server_config(&server, client_certificate);
    let source = IdentitySource::new(authority.identity(client_id.unwrap_or(RATINGS)));
    let client = match client_id {
        Some(_) => client_config(&source, expected),
        None => {
            let verifier = verifier::ServerVerifier::of_source(source, expected);
            tls::anonymous_client_config(Arc::new(verifier))
        }
    };
    connect(client, server)
}

/// Shakes hands in memory; the error is the client's own where it has one, since that side judges the server.
fn connect(
    client: Arc<rustls::ClientConfig>,
    server: Arc<rustls::ServerConfig>,
) -> io::Result<(ClientConnection, ServerConnection)> {
    let name = ServerName::try_from("outbound_.9080_.v1_.reviews.default.svc.cluster.local").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        wire.clear();
        client.write_tls(&mut wire)?;
        feed(&mut wire.as_slice(), &mut server)?;
        wire.clear();
        server.write_tls(&mut wire)?;
        feed(&mut wire.as_slice(), &mut client)?;
    }
    Ok((client, server))
}

fn feed<T>(wire: &mut &[u8], side: &mut rustls::ConnectionCommon<T>) -> io::Result<()> {
    while !wire.is_empty() {
        side.read_tls(wire)?;
        side.process_new_packets().map_err(io::Error::other)?;
    }
    Ok(())
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_the_readers_of_certificates(bytes: Vec<u8>, text: String) {
        let certificate = bytes.as_slice().into();
        let _ = Leaf::parse(&certificate);
        let _ = RootFingerprint::of_certificate(&certificate);
        let _ = SpiffeId::parse(&text);
        let _ = SpiffeId::parse(&format!("spiffe://{text}"));
        let _ = Svid::from_pem(&text, &text);
    }
}
