//! Servers outside the mesh, such as anybody runs: in plaintext, in TLS with and without the caller's certificate, and one
//! that never takes a connection.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::teller::{Facts, Teller};

/// The name in the certificate of the servers of TLS.
const NAME: &str = "api.example";
/// Who has a certificate to show: `first.example` and `second.example`.
const CALLERS: [&str; 2] = ["first", "second"];
/// A connect on loopback that takes longer finds the queue full.
const FULL: Duration = Duration::from_millis(100);

/// Where they listen.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    /// Asks for the caller's certificate and tells its name.
    pub(super) mutual: SocketAddr,
    pub(super) silent: SocketAddr,
    /// The silent one, and those that fill its queue.
    _silence: (TcpListener, Vec<TcpStream>),
}

impl Outside {
    /// Starts them; files for those who call go to `folder`.
    pub(super) async fn start(folder: &Path, teller: impl Fn(&str) -> Teller) -> Self {
        let authority = authority();
        write_files(folder, &authority);
        let silence = silent().await;
        Self {
            plain: serve(teller("plain"), None).await,
            tls: serve(teller("tls"), Some(acceptor(&authority, false))).await,
            mutual: serve(teller("mutual"), Some(acceptor(&authority, true))).await,
            silent: silence.0.local_addr().expect("an address"),
            _silence: silence,
        }
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "an authority outside the mesh");
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

/// A certificate of `name`, which is also its serial number, and its key.
fn certified(authority: &CertifiedIssuer<'static, KeyPair>, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.serial_number = Some(SerialNumber::from(name.as_bytes().to_vec()));
    (params.signed_by(&key, authority).expect("a certificate"), key)
}

/// Roots, right and wrong; the callers' certificates and keys; lists by which the servers are revoked, and by which they are not.
fn write_files(folder: &Path, authority: &CertifiedIssuer<'static, KeyPair>) {
    let write = |file: &str, text: String| {
        std::fs::write(folder.join(file), text).expect("the temporary directory can be written");
    };
    write("roots.pem", authority.pem());
    write("other-roots.pem", self::authority().pem());
    for name in CALLERS {
        let (certificate, key) = certified(authority, &format!("{name}.example"));
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
    for (file, serial) in [("revoked.pem", NAME), ("none.pem", "another")] {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(serial.as_bytes().to_vec()),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2099, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        write(file, list.signed_by(authority).expect("a list").pem().expect("PEM"));
    }
}

fn acceptor(authority: &CertifiedIssuer<'static, KeyPair>, mutual: bool) -> TlsAcceptor {
    let provider = mesh_core::identity::provider();
    let (certificate, key) = certified(authority, NAME);
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has both versions");
    let builder = if mutual {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).expect("a root");
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().expect("roots"))
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(vec![certificate.into()], key.into()).expect("a good certificate");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(teller: Teller, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let (tls, teller) = (tls.clone(), teller.clone());
            tokio::spawn(async move {
                let Some(tls) = tls else { return answer(io, teller, Facts::default()).await };
                // A client that does not like the certificate goes away.
                if let Ok(io) = tls.accept(io).await {
                    let facts = Facts { principal: shown(&io), server_name: named(&io), connection: None };
                    answer(io, teller, facts).await;
                }
            });
        }
    });
    address
}

fn named(io: &tokio_rustls::server::TlsStream<TcpStream>) -> Option<String> {
    io.get_ref().1.server_name().map(str::to_owned)
}

/// Whose certificate the caller showed: its name stands in it as it is.
fn shown(io: &tokio_rustls::server::TlsStream<TcpStream>) -> Option<String> {
    let certificate = io.get_ref().1.peer_certificates()?.first()?;
    let holds = |name: &&&str| {
        let name = format!("{name}.example");
        certificate.windows(name.len()).any(|bytes| bytes == name.as_bytes())
    };
    CALLERS.iter().find(holds).map(ToString::to_string)
}

async fn answer(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, teller: Teller, facts: Facts) {
    let service = hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let (teller, facts) = (teller.clone(), facts.clone());
        async move { Ok::<_, std::convert::Infallible>(teller.answer(request, facts).await) }
    });
    // It ends with its client.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service).await;
}

/// A listener that nobody accepts at and whose queue is full, so that a connect is never answered.
async fn silent() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let listener = socket.listen(1).expect("a listener");
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(FULL, TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    (listener, waiting)
}
