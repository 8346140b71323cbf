//! What the authority issues, read back as a peer would.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::identity::{Leaf, PeerRole, TrustDomain, verify_svid};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::*;

const NOW_SECONDS: u64 = 1_795_392_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_SECONDS)
}

fn unix_now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW_SECONDS))
}

fn domain() -> TrustDomain {
    TrustDomain::parse("cluster.local").unwrap()
}

fn authority() -> Authority {
    Authority::load(&Authority::create(&domain(), now()).unwrap(), &domain()).unwrap()
}

fn requested() -> RequestedKey {
    let mut params = CertificateParams::new(vec!["evil.example".into()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    RequestedKey::parse(&params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap())
        .unwrap()
}

fn reviews() -> Subject {
    Subject::Workload { namespace: "default".into(), service_account: "reviews".into() }
}

fn day() -> LeafLifetime {
    LifetimePolicy::default().choose(0)
}

fn der(issued: &Issued) -> Vec<CertificateDer<'static>> {
    issued.chain.iter().map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).collect()
}

#[test]
fn an_issued_chain_is_an_svid_under_the_bundle() {
    let authority = authority();
    let issued = authority.issue(&requested(), &reviews(), day(), now()).unwrap();
    let chain = der(&issued);
    assert_eq!(chain.len(), 3);
    assert_eq!(chain[2], authority.bundle().roots()[0]);
    for role in [PeerRole::Server, PeerRole::Client] {
        let leaf = verify_svid(authority.bundle(), &chain[0], &chain[1..], role, unix_now()).unwrap();
        assert_eq!(leaf.id.as_str(), "spiffe://cluster.local/ns/default/sa/reviews");
        assert_eq!((leaf.serial, leaf.not_after), (issued.serial.clone(), issued.not_after));
        assert_eq!(leaf.not_before, now() - Duration::from_secs(300));
        assert_eq!(leaf.not_after, now() + Duration::from_secs(86400));
    }
}

#[test]
fn a_leaf_says_what_the_grant_says_and_nothing_of_the_request() {
    let issued = authority().issue(&requested(), &reviews(), day(), now()).unwrap();
    let chain = der(&issued);
    let (_, leaf) = parse_x509_certificate(&chain[0]).unwrap();
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical);
    assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://cluster.local/ns/default/sa/reviews")]);
    assert_eq!(leaf.subject().iter().count(), 0);
    assert!(!leaf.basic_constraints().unwrap().unwrap().value.ca);
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature alone");
}

#[test]
fn each_subject_may_do_what_it_is_for() {
    let authority = authority();
    let check = |subject: Subject, id: &str, server: bool, client: bool| {
        let chain = der(&authority.issue(&requested(), &subject, day(), now()).unwrap());
        assert_eq!(Leaf::parse(&chain[0]).unwrap().id.as_str(), id);
        let may = |role| verify_svid(authority.bundle(), &chain[0], &chain[1..], role, unix_now()).is_ok();
        assert_eq!((may(PeerRole::Server), may(PeerRole::Client)), (server, client), "{id}");
    };
    check(reviews(), "spiffe://cluster.local/ns/default/sa/reviews", true, true);
    let hosts = vec!["mesh.example".into(), "127.0.0.1".into(), "::1".into()];
    check(Subject::ControlPlane { hosts }, "spiffe://cluster.local/control-plane", true, false);
    check(Subject::Admin { name: "root".into() }, "spiffe://cluster.local/admin/root", false, true);
}

#[test]
fn serials_differ_and_names_that_are_no_segments_are_refused() {
    let authority = authority();
    let key = requested();
    let issue = |subject: &Subject| authority.issue(&key, subject, day(), now());
    assert_ne!(issue(&reviews()).unwrap().serial, issue(&reviews()).unwrap().serial);
    for (namespace, service_account) in [("a/b", "c"), ("", "c"), ("a", ".."), ("a", "ä")] {
        let subject =
            Subject::Workload { namespace: namespace.into(), service_account: service_account.into() };
        assert!(matches!(issue(&subject), Err(AuthorityError::Name(_))), "{subject:?}");
    }
}

#[test]
fn no_leaf_outlives_the_authority() {
    let authority = authority();
    let ten_years = Duration::from_secs(10 * 365 * 86400);
    let late = now() + ten_years - Duration::from_secs(60);
    let issued = authority.issue(&requested(), &reviews(), day(), late).unwrap();
    assert_eq!(issued.not_after, now() + ten_years);
    let ended = authority.issue(&requested(), &reviews(), day(), now() + ten_years);
    assert!(matches!(ended, Err(AuthorityError::Ended)));
}

#[test]
fn the_control_planes_own_identity_shows_the_root() {
    let authority = authority();
    let identity = authority.issue_with_key(&Subject::ControlPlane { hosts: vec![] }, day(), now()).unwrap();
    assert_eq!(identity.svid.chain().last(), authority.bundle().roots().first());
    assert!(identity.svid.id().is_control_plane());
}

#[test]
fn parts_of_two_authorities_make_none() {
    let one = Authority::create(&domain(), now()).unwrap();
    let other = Authority::create(&domain(), now()).unwrap();
    let (mine, theirs) = (one.as_str(), other.as_str());
    let middle = |text: &str| text.match_indices("-----BEGIN CERTIFICATE").nth(1).unwrap().0;
    let spliced = format!("{}{}", &mine[..middle(mine)], &theirs[middle(theirs)..]);
    let refused = |pem: String| Authority::load(&AuthorityPem::new(pem), &domain()).err().unwrap();
    assert!(matches!(refused(spliced), AuthorityError::Intermediate));
    assert!(matches!(refused(mine[..middle(mine)].into()), AuthorityError::Pem));
    assert!(matches!(refused(String::new()), AuthorityError::Pem));
}
