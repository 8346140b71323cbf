//! TLS that is not the mesh's own as rustls wants it, made of files of this host.
//!
//! The files are read at each connect, which costs little beside a handshake: what has changed on disk holds for the next
//! connection, and nobody has to watch anything. A file that cannot be used is a connect that failed.

#[cfg(test)]
mod limbo_tests;
mod verifier;

use std::sync::Arc;

use mesh_core::identity::provider;
use mesh_core::resource::{CertificateFiles, OutsideTls, Roots, ServerVerification};
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, TrustAnchor,
};
use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncReadExt;
use tokio_rustls::TlsConnector;
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::ConnectErrorKind;
use super::Spoken;
use super::tls::http_alpn;
pub use verifier::Untrusted;
use verifier::{Trust, Verifier};

/// A connector that believes whom the cluster says, and the name to send.
pub(super) async fn connector(
    tls: &OutsideTls,
    spoken: Spoken,
) -> Result<(TlsConnector, ServerName<'static>), ConnectErrorKind> {
    let name = match &*tls.sni {
        // rustls sends no name for an address, and whom the server may be is the verifier's to say.
        "" => ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()),
        sni => ServerName::try_from(sni.to_owned())
            .map_err(|error| ConnectErrorKind::Configuration(format!("SNI `{sni}`: {error}")))?,
    };
    let trust = match &tls.verification {
        ServerVerification::Skipped => None,
        ServerVerification::Named { roots, revocations, names } => Some(Trust {
            anchors: anchors(roots).await?,
            revocations: match revocations {
                Some(path) => self::revocations(path).await?,
                None => Vec::new(),
            },
            names: Arc::clone(names),
        }),
    };
    // Outside the mesh there are servers that know nothing newer than 1.2.
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has cipher suites of both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(trust)));
    let mut config = match &tls.certificate {
        None => config.with_no_client_auth(),
        Some(CertificateFiles { chain, key }) => {
            let (shown, secret) = (certificates(chain).await?, private_key(key).await?);
            config.with_client_auth_cert(shown, secret).map_err(|error| unusable(key, error))?
        }
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match spoken {
        Spoken::Http(protocol) => http_alpn(protocol),
        // Which bytes they are, only the application knows.
        Spoken::Bytes => Vec::new(),
    };
    Ok((Arc::new(config).into(), name))
}

async fn anchors(roots: &Roots) -> Result<Vec<TrustAnchor<'static>>, ConnectErrorKind> {
    let (certificates, place) = match roots {
        Roots::File(path) => (certificates(path).await?, Arc::clone(path)),
        Roots::System => (system_roots().await?, Arc::from(SYSTEM)),
    };
    let anchor = |certificate: &CertificateDer<'_>| {
        webpki::anchor_from_trusted_cert(certificate).map(|anchor| anchor.to_owned())
    };
    let anchors: Result<Vec<_>, _> = certificates.iter().map(anchor).collect();
    match (anchors, roots) {
        // A system's collection may hold what is no root any more; a file of one's own is meant as it is.
        (_, Roots::System) => Ok(certificates.iter().filter_map(|one| anchor(one).ok()).collect()),
        (Ok(anchors), Roots::File(_)) => Ok(anchors),
        (Err(error), Roots::File(_)) => Err(unusable(&place, error)),
    }
}

/// Whom this system trusts: some hundred files, read off the async threads.
async fn system_roots() -> Result<Vec<CertificateDer<'static>>, ConnectErrorKind> {
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    let loaded = loaded.map_err(|error| unusable(SYSTEM, error))?;
    match (loaded.certs.is_empty(), loaded.errors.first()) {
        (false, _) => Ok(loaded.certs),
        (true, Some(error)) => Err(unusable(SYSTEM, error)),
        (true, None) => Err(unusable(SYSTEM, "there are none; name `caCertificates`")),
    }
}

async fn certificates(path: &Arc<str>) -> Result<Vec<CertificateDer<'static>>, ConnectErrorKind> {
    let pem = read(path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path, "holds no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path, error)),
    }
}

async fn private_key(path: &Arc<str>) -> Result<PrivateKeyDer<'static>, ConnectErrorKind> {
    PrivateKeyDer::from_pem_slice(&read(path).await?).map_err(|error| unusable(path, error))
}

async fn revocations(path: &Arc<str>) -> Result<Vec<CertRevocationList<'static>>, ConnectErrorKind> {
    let pem = read(path).await?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    let lists = lists.map_err(|error| unusable(path, error))?;
    if lists.is_empty() {
        return Err(unusable(path, "holds no revocation list in PEM"));
    }
    let list = |der: &CertificateRevocationListDer<'_>| {
        OwnedCertRevocationList::from_der(der).map(CertRevocationList::from)
    };
    lists.iter().map(list).collect::<Result<_, _>>().map_err(|error| unusable(path, error))
}

async fn read(path: &Arc<str>) -> Result<Vec<u8>, ConnectErrorKind> {
    let file = tokio::fs::File::open(&**path).await.map_err(|error| unusable(path, error))?;
    let mut content = Vec::new();
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).await;
    match read.map_err(|error| unusable(path, error))? as u64 {
        0..=FILE_BYTES_MAX => Ok(content),
        _ => Err(unusable(path, format_args!("is longer than {FILE_BYTES_MAX} bytes"))),
    }
}

fn unusable(path: &str, reason: impl std::fmt::Display) -> ConnectErrorKind {
    ConnectErrorKind::File { path: path.into(), reason: reason.to_string() }
}

const SYSTEM: &str = "(the system's roots)";
/// Certificates and lists are far smaller; what is not is some other file.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
