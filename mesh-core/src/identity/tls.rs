//! TLS as the mesh speaks it, set down once: TLS 1.3 alone, post-quantum key exchange first, no resumption, no early data.
//!
//! The provider is named explicitly, so that neither another crate's default provider nor its features can change any of
//! it. A resumed session would carry a peer past the verifier, and with it past a rotated root or a changed set of
//! expected identities; hence none.

use std::sync::{Arc, LazyLock};

use rustls::{
    ClientConfig, ConfigBuilder, ServerConfig, SignatureScheme,
    client::{ResolvesClientCert, Resumption, WantsClientCert, danger::ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::TLS13,
};

use super::{
    source::IdentitySource,
    verifier::{ClientCertificate, ExpectedPeer, ServerVerifier, SpiffeClientVerifier},
};

/// The cryptography of every handshake and signature in the mesh.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};

        Arc::new(CryptoProvider {
            kx_groups: vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
            ..aws_lc_rs::default_provider()
        })
    });
    PROVIDER.clone()
}

/// The client's side of mesh TLS: shows our SVID and accepts `expected` alone.
///
/// The configuration follows renewals by itself; keep it for as long as the expectation holds.
pub fn client_config(source: &Arc<IdentitySource>, expected: ExpectedPeer) -> Arc<ClientConfig> {
    let verifier = Arc::new(ServerVerifier::of_source(source.clone(), expected));
    let config = tls13_client(verifier).with_client_cert_resolver(Arc::new(CurrentSvid(source.clone())));
    closed_client(config)
}

/// A client that shows no certificate, because it has none yet, and leaves the judgement to `verifier`.
pub(crate) fn anonymous_client_config(verifier: Arc<dyn ServerCertVerifier>) -> Arc<ClientConfig> {
    closed_client(tls13_client(verifier).with_no_client_auth())
}

/// The server's side of mesh TLS: shows our SVID and verifies the client's.
pub fn server_config(source: &Arc<IdentitySource>, client: ClientCertificate) -> Arc<ServerConfig> {
    let verifier = Arc::new(SpiffeClientVerifier::new(source.clone(), client));
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 cipher suites")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(CurrentSvid(source.clone())));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    Arc::new(config)
}

fn tls13_client(verifier: Arc<dyn ServerCertVerifier>) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3 cipher suites")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
}

/// Closes what rustls leaves open by default.
fn closed_client(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    Arc::new(config)
}

/// HTTP/2 in TLS' application protocol negotiation.
pub const ALPN_HTTP2: &[u8] = b"h2";
/// HTTP/1.1 in TLS' application protocol negotiation.
pub const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Bytes that are no HTTP, by Istio's own name. Whoever serves requests does not take it, nor the other way round, so that
/// neither is ever read as the other.
pub const ALPN_OPAQUE: &[u8] = b"istio";

/// Shows whatever the source holds at the time of the handshake.
#[derive(Debug)]
struct CurrentSvid(Arc<IdentitySource>);

impl ResolvesClientCert for CurrentSvid {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().svid.certified_key())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl ResolvesServerCert for CurrentSvid {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current().svid.certified_key())
    }
}
