//! The public and derived SPIFFE cases in the folder that `MESH_CORPORA` names; they stay out of this repository.

use std::{path::PathBuf, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::Value;

use super::*;

#[test]
fn go_spiffe_agrees_on_ids_and_trust_domains() {
    let Some(cases) = corpus("go-spiffe/spiffe-id-cases.json") else { return };
    for case in rows(&cases, "spiffe_id") {
        let parsed = SpiffeId::parse(text(case, "in"));
        assert_eq!(parsed.is_ok(), case["ok"] == true, "{case}: {parsed:?}");
        if let Ok(id) = parsed {
            assert_eq!((id.trust_domain(), id.path()), (text(case, "trust_domain"), text(case, "path")));
        }
    }
    for case in rows(&cases, "trust_domain") {
        let parsed = trust_domain_of(text(case, "in"));
        assert_eq!(parsed.is_ok(), case["ok"] == true, "{case}: {parsed:?}");
    }
    for case in rows(&cases, "segments") {
        let path: String =
            rows(case, "segments").iter().map(|s| format!("/{}", s.as_str().unwrap())).collect();
        let single = rows(case, "segments").iter().all(|s| !s.as_str().unwrap().contains('/'));
        let parsed = SpiffeId::parse(&format!("spiffe://trust{path}"));
        assert_eq!(parsed.is_ok() && single, case["ok"] == true, "{case}: {parsed:?}");
    }
}

/// go-spiffe reads the trust domain out of a whole ID as well as a bare name.
fn trust_domain_of(text: &str) -> Result<TrustDomain, SpiffeIdError> {
    if text.contains(":/") {
        return TrustDomain::parse(SpiffeId::parse(text)?.trust_domain());
    }
    TrustDomain::parse(text)
}

#[test]
fn derived_svid_verdicts_agree() {
    let Some(cases) = corpus("svid-derived/x509-svid-cases.json") else { return };
    for case in rows(&cases, "cases") {
        let chain = chain(case);
        for role in roles(case) {
            let verdict = verdict(&cases, &chain, role, case);
            match text(case, "expected") {
                "accept" => {
                    assert_eq!(verdict.unwrap().id.as_str(), text(case, "spiffe_id"), "{}", case["id"])
                }
                // `either` is frozen as a refusal: webpki does not evaluate URI name constraints.
                _ => assert!(verdict.is_err(), "{}", case["id"]),
            }
        }
    }
}

/// The case that the flips were made for need not be among the public ones; no flip may survive in any good leaf.
#[test]
fn no_flipped_bit_survives() {
    let Some(cases) = corpus("svid-derived/x509-svid-cases.json") else { return };
    let good: Vec<_> = rows(&cases, "cases").iter().filter(|case| case["expected"] == "accept").collect();
    let mut flipped = 0;
    for case in good {
        for flip in rows(&cases["bit_flips"], "position_and_bit") {
            let (position, bit) = (flip[0].as_u64().unwrap() as usize, flip[1].as_u64().unwrap());
            let mut chain = chain(case);
            let mut leaf = chain[0].to_vec();
            let Some(byte) = leaf.get_mut(position) else { continue };
            *byte ^= 1 << bit;
            chain[0] = leaf.into();
            assert!(
                verdict(&cases, &chain, PeerRole::Server, case).is_err(),
                "{}: bit {bit} of byte {position}",
                case["id"]
            );
            flipped += 1;
        }
    }
    assert!(flipped >= 240, "{flipped}");
    println!("{flipped} flips");
}

/// The verdict under the bundle of `example.org`; that of `other.org` must accept nothing in these cases.
fn verdict(
    cases: &Value,
    chain: &[CertificateDer<'static>],
    role: PeerRole,
    case: &Value,
) -> Result<Leaf, PeerRefusal> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds(text(case, "validation_time"))));
    let verify = |name| verify_svid(&bundle(cases, name), &chain[0], &chain[1..], role, now);
    assert!(verify("other.org").is_err(), "{}", case["id"]);
    verify("example.org")
}

fn seconds(rfc3339: &str) -> u64 {
    let digits = rfc3339.strip_suffix('Z').unwrap().replace(['-', ':', 'T'], "") + "Z";
    let time = x509_parser::der_parser::asn1_rs::GeneralizedTime::from_bytes(digits.as_bytes()).unwrap();
    time.utc_datetime().unwrap().unix_timestamp().try_into().unwrap()
}

fn bundle(cases: &Value, trust_domain: &str) -> TrustBundle {
    let pem: String = rows(&cases["bundles"], trust_domain).iter().map(|pem| pem.as_str().unwrap()).collect();
    TrustBundle::from_pem(TrustDomain::parse(trust_domain).unwrap(), &pem).unwrap()
}

fn chain(case: &Value) -> Vec<CertificateDer<'static>> {
    let der = |text: &Value| BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap().into();
    rows(case, "chain").iter().map(der).collect()
}

fn roles(case: &Value) -> Vec<PeerRole> {
    let named =
        |name: &str| case["roles"].as_array().is_none_or(|roles| roles.iter().any(|role| role == name));
    let both = [("server", PeerRole::Server), ("client", PeerRole::Client)];
    both.into_iter().filter(|(name, _)| named(name)).map(|(_, role)| role).collect()
}

fn rows<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

fn corpus(file: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("MESH_CORPORA") else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "MESH_CORPORA is not set");
        println!("MESH_CORPORA is not set: no case of {file} was run");
        return None;
    };
    let path = PathBuf::from(folder).join("security").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_slice(&bytes).unwrap())
}
