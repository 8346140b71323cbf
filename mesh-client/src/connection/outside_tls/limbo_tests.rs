//! x509-limbo's cases of path building, asked of the verifier of servers outside the mesh. They stay in the folder that
//! `MESH_CORPORA` names, as do the differences that webpki's own authors list.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use mesh_core::resource::PeerName;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use serde_json::Value;
use webpki::OwnedCertRevocationList;
use x509_parser::der_parser::asn1_rs::GeneralizedTime;

use super::*;

/// What cannot be asked of this verifier, by the beginning of the case's name.
const NOT_ASKED: &[(&str, &str)] = &[
    ("pathlen::max-chain-depth-", "nobody configures a depth: webpki's own limit of six authorities holds"),
    (
        "rfc5280::nc::nc-permits-email-",
        "a client's certificate under a mail address: clients are SPIFFE IDs, servers are not mail addresses",
    ),
];

#[test]
fn every_path_is_judged_as_limbo_says_or_as_is_listed() {
    let (Some(limbo), Some(exceptions)) =
        (corpus("limbo-core.json"), corpus("rustls-webpki-exceptions.json"))
    else {
        return;
    };
    let (mut agreed, mut excepted, mut not_asked, mut wrong) = (0, Vec::new(), BTreeMap::new(), Vec::new());
    for case in limbo["testcases"].as_array().expect("cases") {
        let (id, expected) = (text(case, "id"), text(case, "expected_result"));
        if let Some((_, reason)) = NOT_ASKED.iter().find(|(name, _)| id.starts_with(name)) {
            *not_asked.entry(*reason).or_insert(0) += 1;
            continue;
        }
        let judged = judge(case);
        let actual = if judged.is_ok() { "SUCCESS" } else { "FAILURE" };
        let exception = &exceptions[id];
        if actual == expected {
            agreed += 1;
        } else if exception["actual"] == actual && exception["expected"] == expected {
            excepted.push(format!("{id}: {}", text(exception, "reason")));
        } else {
            wrong.push(format!("{id}: {actual}, not {expected} ({judged:?})"));
        }
    }
    println!("x509-limbo: {agreed} agree; {} as webpki's authors list:", excepted.len());
    excepted.iter().for_each(|line| println!("  {line}"));
    not_asked.iter().for_each(|(reason, count)| println!("not asked ({count}): {reason}"));
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(agreed >= AGREED_MIN, "only {agreed} cases agree");
}

/// As many as agree of the public half.
const AGREED_MIN: usize = 67;

/// The case's verdict; a certificate that is no certificate is a refusal as well.
fn judge(case: &Value) -> Result<(), String> {
    let roots = certificates(&case["trusted_certs"])?;
    let anchors: Result<Vec<_>, _> = roots
        .iter()
        .map(|root| webpki::anchor_from_trusted_cert(root).map(|anchor| anchor.to_owned()))
        .collect();
    let lists: Result<Vec<_>, String> = pems(&case["crls"]).map(revocation_list).collect();
    let trust = Trust {
        anchors: anchors.map_err(|error| error.to_string())?,
        revocations: lists?,
        names: [peer_name(&case["expected_peer_name"])].into(),
    };
    let leaf = certificate(text(case, "peer_certificate"))?;
    let intermediates = certificates(&case["untrusted_intermediates"])?;
    let now = case["validation_time"].as_str().map_or_else(UnixTime::now, at);
    Verifier::new(Some(trust)).judge(&leaf, &intermediates, now).map_err(|refusal| refusal.to_string())
}

fn peer_name(name: &Value) -> PeerName {
    let value = text(name, "value");
    match text(name, "kind") {
        "DNS" => PeerName::Dns(value.into()),
        "IP" => PeerName::Ip(value.parse::<IpAddr>().expect("an address")),
        other => panic!("a name of kind {other}"),
    }
}

fn revocation_list(pem: &str) -> Result<CertRevocationList<'static>, String> {
    let der =
        CertificateRevocationListDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    let list = OwnedCertRevocationList::from_der(&der).map_err(|error| error.to_string())?;
    Ok(list.into())
}

fn certificates(list: &Value) -> Result<Vec<CertificateDer<'static>>, String> {
    pems(list).map(certificate).collect()
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())
}

fn pems(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// RFC 3339 in UTC, as limbo writes it.
fn at(time: &str) -> UnixTime {
    let digits: String =
        time.chars().take_while(|c| *c != '+' && *c != 'Z').filter(char::is_ascii_digit).collect();
    let time = GeneralizedTime::from_bytes(format!("{digits}Z").as_bytes()).expect("a time");
    let seconds = time.utc_datetime().expect("UTC").unix_timestamp();
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().expect("after 1970")))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn corpus(file: &str) -> Option<Value> {
    let Some(folder) = std::env::var_os("MESH_CORPORA") else {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "CI=true and MESH_CORPORA is not set");
        println!("MESH_CORPORA is not set: no case of {file} was run");
        return None;
    };
    let path = PathBuf::from(folder).join("security/x509-limbo").join(file);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}
