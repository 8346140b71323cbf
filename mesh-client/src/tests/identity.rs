//! mTLS: the server is one of the cluster's identities, or there is no connection.

use mesh_core::identity::{
    ClientCertificate, Identity, IdentitySource, Svid, TrustBundle, TrustDomain, server_config,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

pub(super) const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";
pub(super) const RATINGS: &str = "spiffe://cluster.local/ns/default/sa/ratings";

pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn source(&self, id: &str) -> Arc<IdentitySource> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        let svid = Svid::new(vec![leaf.into()], key.into()).unwrap();
        let trust_domain = TrustDomain::parse("cluster.local").unwrap();
        let bundle = TrustBundle::new(trust_domain, [self.0.der().clone()]).unwrap();
        IdentitySource::new(Identity { svid, bundle })
    }
}

/// A server under the identity `id` that answers 200 over whatever was negotiated.
pub(super) async fn serve(source: Arc<IdentitySource>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(server_config(&source, ClientCertificate::Required));
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(io).await else { return };
                let service = hyper::service::service_fn(async |request: Request<hyper::body::Incoming>| {
                    let version = format!("{:?}", request.version());
                    Ok::<_, std::convert::Infallible>(Response::new(version))
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

pub(super) fn setup(address: SocketAddr, protocol: UpstreamProtocol) -> Parts {
    let sni = "outbound_.9080_._.reviews.default.svc.cluster.local".into();
    let tls = UpstreamTls::MeshMtls { identities: [REVIEWS.into()].into(), sni };
    let setup = Setup { tls, protocol, ..Setup::http2([address]) };
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    Parts { snapshot: snapshot(routes, Some(setup.cluster())), ..Parts::default() }
}

#[tokio::test]
async fn what_tls_negotiates_or_the_cluster_says_is_spoken() {
    let authority = Authority::new();
    let address = serve(authority.source(REVIEWS)).await;
    for (protocol, expected) in [
        (UpstreamProtocol::Auto, "HTTP/2.0"),
        (UpstreamProtocol::Http2, "HTTP/2.0"),
        (UpstreamProtocol::Http1, "HTTP/1.1"),
    ] {
        let identity = Some(authority.source(RATINGS));
        let outbound = outbound(Parts { identity, ..setup(address, protocol) });
        assert_eq!(text(send(&outbound, get("/")).await).await, expected);
    }
}

#[tokio::test]
async fn a_valid_svid_of_another_service_is_refused_by_name() {
    let authority = Authority::new();
    let address = serve(authority.source(RATINGS)).await;
    let identity = Some(authority.source(RATINGS));
    let outbound = outbound(Parts { identity, ..setup(address, UpstreamProtocol::Auto) });
    let response = send(&outbound, get("/")).await;
    assert_eq!(response.status(), 503);
    let error = error(&response).to_string();
    assert!(error.contains(REVIEWS) && error.contains(RATINGS), "{error}");
}

#[tokio::test]
async fn without_an_identity_there_is_no_connection_to_the_mesh() {
    let authority = Authority::new();
    let address = serve(authority.source(REVIEWS)).await;
    let response = send(&outbound(setup(address, UpstreamProtocol::Auto)), get("/")).await;
    assert_eq!(response.status(), 503);
    assert!(error(&response).to_string().contains("no identity"), "{}", error(&response));
}
