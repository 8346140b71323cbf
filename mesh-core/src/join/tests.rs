//! Joining and renewing against a control plane in this process, over real sockets.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use rcgen::CertificateSigningRequestParams;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, service::Routes};

use super::*;
use crate::{
    identity::{
        ClientCertificate, ExpectedPeer, IdentitySource, PeerRefusal, RootFingerprint,
        authority_for_tests::{TestAuthority, leaf_params},
        certificates_pem, server_config,
    },
    proto::ca::{
        IstioCertificateRequest, IstioCertificateResponse,
        istio_certificate_service_client::IstioCertificateServiceClient,
        istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
    },
    saved::{SavedState, StateLocation},
};

const CONTROL_PLANE: &str = "spiffe://cluster.local/control-plane";
const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";
const PATIENCE: Duration = Duration::from_secs(20);

/// A request as it came.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    authorization: Option<String>,
    csr: String,
}

/// What the next requests are answered with, last first; an empty list issues certificates.
type Script = Vec<Status>;

struct ControlPlane {
    authority: Arc<TestAuthority>,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    address: ControlPlaneAddress,
    server: JoinHandle<()>,
}

impl ControlPlane {
    async fn start(id: &str) -> Self {
        let authority = Arc::new(TestAuthority::new("cluster.local"));
        let (script, seen) = (Arc::default(), Arc::default());
        let service =
            Issuing { authority: authority.clone(), script: Arc::clone(&script), seen: Arc::clone(&seen) };
        let (mut chain, key) = authority.leaf(id, |_| {});
        chain.push(authority.root.der().clone());
        let svid = crate::identity::Svid::new(chain, key).unwrap();
        let source = IdentitySource::new(crate::identity::Identity { svid, bundle: authority.bundle() });
        let acceptor = TlsAcceptor::from(server_config(&source, ClientCertificate::Optional));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = ControlPlaneAddress::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let server = tokio::spawn(async move {
            let routes = Routes::new(IstioCertificateServiceServer::new(service));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, routes) = (acceptor.clone(), routes.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = TowerToHyperService::new(routes);
                    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = connection.await;
                });
            }
        });
        Self { authority, script, seen, address, server }
    }

    fn join_string(&self) -> JoinString {
        JoinString {
            addresses: vec![self.address.clone()],
            root: self.authority.bundle().fingerprints().next().unwrap(),
            trust_domain: self.authority.trust_domain.clone(),
            token: JoinToken { id: TokenId::parse("t-1").unwrap(), secret: TokenSecret([7; SECRET_BYTES]) },
        }
    }

    fn answer_with(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Issuing {
    authority: Arc<TestAuthority>,
    script: Arc<Mutex<Script>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

#[tonic::async_trait]
impl IstioCertificateService for Issuing {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let authorization =
            request.metadata().get("authorization").map(|value| value.to_str().unwrap().to_owned());
        let csr = request.into_inner().csr;
        self.seen.lock().unwrap().push(Seen { authorization, csr: csr.clone() });
        if let Some(status) = self.script.lock().unwrap().pop() {
            return Err(status);
        }
        let csr = CertificateSigningRequestParams::from_pem(&csr).unwrap();
        let leaf = leaf_params(REVIEWS).signed_by(&csr.public_key, &self.authority.intermediate).unwrap();
        let chain = [leaf.der(), self.authority.intermediate.der(), self.authority.root.der()];
        let cert_chain = chain.map(|der| certificates_pem([der])).to_vec();
        Ok(Response::new(IstioCertificateResponse { cert_chain }))
    }
}

#[tokio::test]
async fn a_token_is_exchanged_for_an_identity() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let join_string = control_plane.join_string();
    let identity = join(&join_string, PATIENCE).await.unwrap();
    assert_eq!(identity.svid.id().as_str(), REVIEWS);
    assert_eq!(identity.bundle, control_plane.authority.bundle());
    let seen = control_plane.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].authorization, Some(format!("Bearer {}", join_string.token.bearer())));
}

#[tokio::test]
async fn a_refused_token_is_not_tried_again() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    control_plane.answer_with(vec![Status::unauthenticated("token refused")]);
    let error = join(&control_plane.join_string(), PATIENCE).await.unwrap_err();
    assert!(matches!(&error, JoinError::Refused { .. }) && error.is_permanent(), "{error}");
    assert!(error.to_string().contains("mesh token create"), "{error}");
    assert_eq!(control_plane.seen().len(), 1);
}

#[tokio::test]
async fn a_passing_failure_is_tried_again_with_the_same_key() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    control_plane.answer_with(vec![Status::unavailable("starting"), Status::internal("store")]);
    join(&control_plane.join_string(), PATIENCE).await.unwrap();
    let seen = control_plane.seen();
    assert!(seen.len() == 3 && seen.iter().all(|request| *request == seen[0]));
}

#[tokio::test]
async fn another_root_is_named_and_final_and_gets_no_token() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let join_string = JoinString { root: RootFingerprint([1; 32]), ..control_plane.join_string() };
    let error = join(&join_string, PATIENCE).await.unwrap_err();
    let JoinError::WrongControlPlane(PeerRefusal::Fingerprint { .. }) = &error else { panic!("{error}") };
    assert!(error.is_permanent() && control_plane.seen().is_empty());
}

#[tokio::test]
async fn a_workload_cannot_play_the_control_plane() {
    let impostor = ControlPlane::start(REVIEWS).await;
    let error = join(&impostor.join_string(), PATIENCE).await.unwrap_err();
    assert!(error.to_string().contains("expected the control plane, got"), "{error}");
    assert!(impostor.seen().is_empty());
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_names_the_address() {
    let closed = closed_address().await;
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let join_string = JoinString { addresses: vec![closed.clone()], ..control_plane.join_string() };
    let error = join(&join_string, Duration::ZERO).await.unwrap_err();
    assert!(!error.is_permanent());
    let told = error.to_string();
    let expected = format!("no certificate from the control plane: {closed}: ");
    assert!(told.starts_with(&expected), "the addresses, each with why not, and nothing before them: {told}");
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_passed_over() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let addresses = vec![closed_address().await, control_plane.address.clone()];
    let join_string = JoinString { addresses, ..control_plane.join_string() };
    for _ in 0..3 {
        join(&join_string, Duration::ZERO).await.unwrap();
    }
}

#[tokio::test]
async fn renewal_shows_the_certificate_instead_of_the_token() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let source = IdentitySource::new(join(&control_plane.join_string(), PATIENCE).await.unwrap());
    let connector = ControlPlaneConnector::new([control_plane.address.clone()], &source).unwrap();
    let renewed = renew(connector.channel(), &source).await.unwrap();
    assert_eq!(renewed.svid.id(), source.current().svid.id());
    assert_ne!(renewed.svid.serial(), source.current().svid.serial());
    let seen = control_plane.seen();
    assert_eq!(seen[1].authorization, None);
    assert_ne!(seen[1].csr, seen[0].csr, "a renewal makes a new key");
}

#[tokio::test]
async fn a_member_insists_on_the_control_planes_identity() {
    let impostor = ControlPlane::start(REVIEWS).await;
    let source = IdentitySource::new(impostor.authority.identity(REVIEWS));
    let connector = ControlPlaneConnector::new([impostor.address.clone()], &source).unwrap();
    let error = connector.connect().await.unwrap_err();
    let Some(PeerRefusal::UnexpectedIdentity { expected, .. }) = PeerRefusal::find(&error) else {
        panic!("{error}")
    };
    assert_eq!(*expected, ExpectedPeer::ControlPlane);
    assert_eq!(ControlPlaneConnector::new([], &source).unwrap_err(), NoAddress);
}

#[tokio::test]
async fn a_restart_comes_up_without_the_control_plane() {
    let scratch = tempfile::tempdir().unwrap();
    let location = StateLocation::Directory(scratch.path().join("state"));
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let join_string = control_plane.join_string();

    let first = Member::start(join_string.clone(), &location, PATIENCE).await.unwrap();
    let serial = first.identity.current().svid.serial().to_owned();
    assert_eq!(first.origin, Origin::Joined);
    first.control_plane.connect().await.unwrap();
    drop((control_plane, first));
    let second = Member::start(join_string, &location, Duration::ZERO).await.unwrap();
    assert_eq!(second.origin, Origin::Saved);
    assert_eq!(second.identity.current().svid.serial(), serial);
}

#[tokio::test]
async fn a_saved_identity_that_cannot_serve_is_replaced() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let join_string = control_plane.join_string();
    let expired = expired_identity(&control_plane.authority, REVIEWS);
    for content in [crate::saved::encode_identity(&expired), b"no identity".to_vec()] {
        let scratch = tempfile::tempdir().unwrap();
        let location = StateLocation::Directory(scratch.path().join("state"));
        let saved = SavedState::open(&location, &join_string.fingerprint()).unwrap();
        saved.store(crate::saved::SavedItem::Identity, &content).unwrap();
        drop(saved);
        let member = Member::start(join_string.clone(), &location, PATIENCE).await.unwrap();
        assert_eq!(member.origin, Origin::Joined);
        assert!(member.identity.current().svid.not_after() > SystemTime::now());
    }
}

#[tokio::test]
async fn state_that_cannot_be_used_is_done_without() {
    let scratch = tempfile::NamedTempFile::new().unwrap();
    let location = StateLocation::Directory(scratch.path().join("below a file"));
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let member = Member::start(control_plane.join_string(), &location, PATIENCE).await.unwrap();
    assert_eq!((member.origin, member.saved.directory()), (Origin::Joined, None));
}

#[tokio::test]
async fn an_identity_that_ran_out_is_had_again_with_the_token() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let source = IdentitySource::new(expired_identity(&control_plane.authority, REVIEWS));
    let mut replaced = source.subscribe();
    let renewal =
        Renewal::start(control_plane.join_string(), source.clone(), &Arc::new(SavedState::off())).unwrap();
    replaced.changed().await.unwrap();
    assert!(source.current().svid.not_after() > SystemTime::now());
    assert!(control_plane.seen()[0].authorization.is_some());
    drop(renewal);
}

#[tokio::test]
async fn a_failed_renewal_keeps_the_old_certificate_and_is_tried_again() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    control_plane.answer_with(vec![Status::unauthenticated("no")]);
    let old = expired_identity(&control_plane.authority, REVIEWS);
    let serial = old.svid.serial().to_owned();
    let source = IdentitySource::new(old);
    let mut replaced = source.subscribe();
    let saved = Arc::new(SavedState::off());
    let _renewal = Renewal::start(control_plane.join_string(), source.clone(), &saved).unwrap();
    while control_plane.seen().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(source.current().svid.serial(), serial);
    replaced.changed().await.unwrap();
    assert_eq!(control_plane.seen().len(), 2);
    assert_ne!(source.current().svid.serial(), serial);
}

#[tokio::test]
async fn a_control_plane_that_falls_silent_is_noticed_in_time() {
    let authority = TestAuthority::new("cluster.local");
    let acceptor =
        server_config(&IdentitySource::new(authority.identity(CONTROL_PLANE)), ClientCertificate::Required);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ControlPlaneAddress::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let source = IdentitySource::new(authority.identity(REVIEWS));
    let channel = ControlPlaneConnector::new([address], &source).unwrap().channel();

    // A bare client: it has no timeout of its own, like the configuration stream.
    let request = tokio::spawn(async move {
        IstioCertificateServiceClient::new(channel)
            .create_certificate(IstioCertificateRequest::default())
            .await
    });
    let (stream, _) = listener.accept().await.unwrap();
    let silent = TlsAcceptor::from(acceptor).accept(stream).await.unwrap();
    tokio::time::pause();
    let connected = tokio::time::Instant::now();
    let noticed = tokio::time::timeout(Duration::from_secs(60), request).await;
    noticed.expect("silence is noticed").unwrap().unwrap_err();
    assert!(connected.elapsed() <= Duration::from_secs(15), "{:?}", connected.elapsed());
    drop(silent);
}

#[tokio::test]
async fn an_answer_for_another_identity_never_replaces_ours() {
    let control_plane = ControlPlane::start(CONTROL_PLANE).await;
    let ratings = control_plane.authority.identity("spiffe://cluster.local/ns/default/sa/ratings");
    let source = IdentitySource::new(ratings);
    let connector = ControlPlaneConnector::new([control_plane.address.clone()], &source).unwrap();
    let error = renew(connector.channel(), &source).await.unwrap_err();
    assert!(matches!(error, JoinError::Answer(AnswerError::OtherIdentity { .. })), "{error}");
    assert!(std::error::Error::source(&error).is_none(), "a chain of causes would tell it twice");
}

fn expired_identity(authority: &TestAuthority, id: &str) -> crate::identity::Identity {
    let past = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let (chain, key) = authority.leaf(id, past);
    let svid = crate::identity::Svid::new(chain, key).unwrap();
    crate::identity::Identity { svid, bundle: authority.bundle() }
}

async fn closed_address() -> ControlPlaneAddress {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ControlPlaneAddress::parse(&listener.local_addr().unwrap().to_string()).unwrap()
}
