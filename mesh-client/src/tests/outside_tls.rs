//! TLS that is not the mesh's own, with files as an operator would put them there.

use std::path::{Path, PathBuf};

use mesh_core::identity::{certificates_pem, provider};
use mesh_core::resource::{CertificateFiles, OutsideTls, PeerName, Roots, ServerVerification};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

/// An authority outside the mesh, whose files lie in a folder of their own.
struct Outside {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Outside {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let outside = Self { issuer, folder: tempfile::tempdir().unwrap() };
        outside.write("ca.pem", &certificates_pem([outside.issuer.der()]));
        outside
    }

    fn write(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn path(&self, name: &str) -> Arc<str> {
        let path: PathBuf = self.folder.path().join(name);
        Path::to_str(&path).unwrap().into()
    }

    fn certificate(&self, names: &[&str], serial: u64) -> (rcgen::Certificate, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    /// A server for `names` that answers with the HTTP version; `clients`: only those whom this authority vouches for.
    async fn serve(
        &self,
        names: &[&str],
        version: &'static SupportedProtocolVersion,
        clients: bool,
    ) -> SocketAddr {
        let (leaf, key) = self.certificate(names, SERIAL);
        let config =
            ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
        let config = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(self.issuer.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let mut config = config.with_single_cert(vec![leaf.into()], key.into()).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        answer(TlsAcceptor::from(Arc::new(config))).await
    }

    /// Verified by this authority, under that name.
    fn named(&self, name: &str) -> OutsideTls {
        OutsideTls {
            sni: "api.example.com".into(),
            certificate: None,
            verification: ServerVerification::Named {
                roots: Roots::File(self.path("ca.pem")),
                revocations: None,
                names: [PeerName::Dns(name.into())].into(),
            },
        }
    }
}

async fn answer(acceptor: TlsAcceptor) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(io).await else { return };
                let sni = tls.get_ref().1.server_name().unwrap_or("none").to_owned();
                let service = hyper::service::service_fn(move |_: Request<hyper::body::Incoming>| {
                    let response = Response::new(sni.clone());
                    async { Ok::<_, std::convert::Infallible>(response) }
                });
                let executor = hyper_util::rt::TokioExecutor::new();
                let _ = hyper_util::server::conn::auto::Builder::new(executor)
                    .serve_connection(hyper_util::rt::TokioIo::new(tls), service)
                    .await;
            });
        }
    });
    address
}

/// What a call to the server is answered, or why it was not.
async fn call(address: SocketAddr, tls: &OutsideTls) -> Result<String, String> {
    let tls = UpstreamTls::Outside(Arc::new(tls.clone()));
    let setup = Setup { tls, protocol: UpstreamProtocol::Auto, retries: 0, ..Setup::http2([address]) };
    let response = send(&setup.outbound(), get("/")).await;
    match response.status() {
        StatusCode::OK => Ok(text(response).await),
        _ => Err(error(&response).to_string()),
    }
}

#[track_caller]
fn check_refused(answer: Result<String, String>, reason: &str) {
    assert!(answer.as_ref().is_err_and(|said| said.contains(reason)), "{answer:?} is not `{reason}`");
}

#[tokio::test]
async fn a_server_is_believed_under_its_name_in_both_versions_of_tls() {
    let outside = Outside::new();
    for version in [&TLS12, &TLS13] {
        let address = outside.serve(&["api.example.com", "*.example.org"], version, false).await;
        for name in ["api.example.com", "a.example.org", "*.example.org"] {
            assert_eq!(call(address, &outside.named(name)).await.as_deref(), Ok("api.example.com"));
        }
        check_refused(
            call(address, &outside.named("other.example.com")).await,
            "for none of other.example.com",
        );
        let stranger = Outside::new();
        check_refused(call(address, &stranger.named("api.example.com")).await, "not vouched for");
        let mut system = outside.named("api.example.com");
        let ServerVerification::Named { roots, .. } = &mut system.verification else { panic!("named") };
        *roots = Roots::System;
        let refused = call(address, &system).await.expect_err("no system trusts it");
        let without_any = refused.contains("(the system's roots)");
        assert!(without_any || refused.contains("not vouched for"), "{refused}");
        let anybody = OutsideTls { verification: ServerVerification::Skipped, ..stranger.named("") };
        assert!(call(address, &anybody).await.is_ok());
        let unnamed = OutsideTls { sni: "".into(), ..outside.named("api.example.com") };
        assert_eq!(call(address, &unnamed).await.as_deref(), Ok("none"), "no name is sent");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_a_connect_that_failed_until_it_can() {
    let outside = Outside::new();
    let address = outside.serve(&["api.example.com"], &TLS13, true).await;
    let certificate = CertificateFiles { chain: outside.path("chain.pem"), key: outside.path("key.pem") };
    let shown = OutsideTls { certificate: Some(certificate), ..outside.named("api.example.com") };
    check_refused(call(address, &shown).await, "chain.pem: No such file");
    outside.write("chain.pem", "nothing");
    check_refused(call(address, &shown).await, "chain.pem: holds no certificate");
    let (leaf, key) = outside.certificate(&["client"], 2);
    outside.write("chain.pem", &leaf.pem());
    outside.write("key.pem", &KeyPair::generate().unwrap().serialize_pem());
    check_refused(call(address, &shown).await, "key.pem: ");
    outside.write("key.pem", &key.serialize_pem());
    assert!(call(address, &shown).await.is_ok(), "files are read at each connect");
    check_refused(call(address, &outside.named("api.example.com")).await, "endpoint");
}

#[tokio::test]
async fn a_revoked_server_is_refused() {
    let outside = Outside::new();
    let address = outside.serve(&["api.example.com"], &TLS13, false).await;
    let mut tls = outside.named("api.example.com");
    let ServerVerification::Named { revocations, .. } = &mut tls.verification else { panic!("named") };
    *revocations = Some(outside.path("crl.pem"));
    let list = |serials: &[u64]| {
        let now = rcgen::date_time_ymd(2026, 1, 1);
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now,
            next_update: rcgen::date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        outside.write("crl.pem", &params.signed_by(&outside.issuer).unwrap().pem().unwrap());
    };
    list(&[SERIAL + 1]);
    assert!(call(address, &tls).await.is_ok());
    list(&[SERIAL]);
    check_refused(call(address, &tls).await, "Revoked");
}

const SERIAL: u64 = 7;
