//! A peer that keeps none of our rules: it takes any server, shows whatever it likes, and reports what it was told.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::identity::{ALPN_HTTP1, ALPN_HTTP2, ALPN_OPAQUE, IdentitySource, provider};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a server may take to turn a stranger away.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a stranger shows.
#[derive(Debug)]
pub enum Stranger {
    /// It speaks no TLS.
    Plaintext,
    /// TLS, and no certificate.
    Nameless,
    /// TLS with this chain and key.
    Showing(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

/// What a stranger was told.
#[derive(Debug)]
pub struct Told {
    /// Where it called from.
    pub address: SocketAddr,
    /// Bytes of an answer.
    pub answer: Vec<u8>,
    /// How it ended, unless it was closed without a word.
    pub error: Option<io::Error>,
}

impl Stranger {
    /// Somebody with a valid SVID of whatever mesh.
    pub fn of(source: &IdentitySource) -> Self {
        let identity = source.current();
        Self::Showing(identity.svid.chain().to_vec(), identity.svid.private_key().clone_key())
    }

    /// Somebody whose certificate has the right name and was signed by nobody but itself.
    ///
    /// # Panics
    /// Where `id` is no URI.
    pub fn self_made(id: &str) -> Self {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().expect("a SPIFFE ID is ASCII"))];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let leaf = params.self_signed(&key).expect("a certificate");
        Self::Showing(vec![leaf.into()], key.into())
    }

    /// Connects, sends `request` and listens to the end.
    ///
    /// # Panics
    /// Where nobody listens there, or does not come to an end.
    pub async fn call(&self, server: SocketAddr, request: &[u8]) -> Told {
        let protocol = if request.starts_with(b"PRI ") { ALPN_HTTP2 } else { ALPN_HTTP1 };
        let told = self.talk(server, request, Some(protocol), Ending::TheServers).await;
        told.expect("a stranger is turned away in time")
    }

    /// Connects, sends `bytes` and their end, and listens to the end; none where it does not come.
    ///
    /// # Panics
    /// Where nobody listens there.
    pub async fn exchange(&self, server: SocketAddr, bytes: &[u8]) -> Option<Told> {
        self.talk(server, bytes, self.protocol_of_bytes(), Ending::Ours).await
    }

    /// With what it begins a connection of bytes: nothing, or the first record of TLS.
    ///
    /// # Panics
    /// Never: a greeting is written to memory.
    pub fn greeting(&self) -> Vec<u8> {
        let mut greeting = Vec::new();
        if let Some(config) = self.config(self.protocol_of_bytes()) {
            let mut tls = ClientConnection::new(Arc::new(config), name()).expect("a good configuration");
            tls.write_tls(&mut greeting).expect("memory takes everything");
        }
        greeting
    }

    /// Only a member knows what the mesh calls its bytes.
    fn protocol_of_bytes(&self) -> Option<&'static [u8]> {
        matches!(self, Self::Showing(..)).then_some(ALPN_OPAQUE)
    }

    async fn talk(
        &self,
        server: SocketAddr,
        said: &[u8],
        protocol: Option<&[u8]>,
        ending: Ending,
    ) -> Option<Told> {
        let socket = TcpStream::connect(server).await.expect("somebody listens");
        let address = socket.local_addr().expect("a connected socket has an address");
        let mut answer = Vec::new();
        let talk = async {
            match self.config(protocol) {
                None => converse(socket, said, ending, &mut answer).await,
                Some(config) => {
                    let tls = TlsConnector::from(Arc::new(config)).connect(name(), socket).await?;
                    converse(tls, said, ending, &mut answer).await
                }
            }
        };
        let end = tokio::time::timeout(PATIENCE, talk).await.ok()?;
        Some(Told { address, answer, error: end.err() })
    }

    fn config(&self, protocol: Option<&[u8]>) -> Option<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer));
        let mut config = match self {
            Self::Plaintext => return None,
            Self::Nameless => builder.with_no_client_auth(),
            Self::Showing(chain, key) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .expect("the key belongs to the certificate"),
        };
        config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
        Some(config)
    }
}

/// Whose end of what is said ends a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    TheServers,
    /// The server answers when it has read all.
    Ours,
}

fn name() -> ServerName<'static> {
    ServerName::try_from("echo").expect("a DNS name")
}

/// In TLS 1.3 a client is done before the server has looked at its certificate, so the refusal comes with the first read.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    said: &[u8],
    ending: Ending,
    answer: &mut Vec<u8>,
) -> io::Result<()> {
    stream.write_all(said).await?;
    stream.flush().await?;
    if ending == Ending::Ours {
        stream.shutdown().await?;
    }
    stream.read_to_end(answer).await.map(|_| ())
}

/// Takes every server for the one it wants.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
