//! The listener for bytes over real sockets: whom policy lets in, and whose TLS ends where.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::Mesh;
use mesh_core::authz::{Action, Condition, Policy, Rule, Stage};
use mesh_core::identity::{ALPN_OPAQUE, ExpectedPeer, IdentitySource, client_config};
use mesh_core::matcher::{HeaderMatcher, HeaderSource};
use mesh_core::resource::MtlsMode;
use rustls::{ClientConnection, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Event, MeshListener, OpaqueListener};
use crate::MeshLayer;
use crate::peer::Transport;
use crate::testing::{TestMesh, deny_all, spiffe_id};

async fn listening(mesh: &TestMesh, mode: MtlsMode, policy: Policy) -> OpaqueListener {
    let listener = OpaqueListener::bind(&mesh.mesh, "127.0.0.1:0").await.unwrap();
    mesh.configure(listener.address(), mode, policy);
    listening_at(listener.address()).await;
    listener
}

async fn listening_at(address: SocketAddr) {
    while let Err(error) = TcpStream::connect(address).await {
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        tokio::task::yield_now().await;
    }
}

/// Connects as `ns/default/sa/NAME`, offering this protocol.
async fn connect(
    address: SocketAddr,
    identity: &Arc<IdentitySource>,
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = client_config(identity, ExpectedPeer::AnyInTrustDomain);
    Arc::make_mut(&mut config).alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from("outbound_.5432_._.db").unwrap();
    TlsConnector::from(config).connect(name, TcpStream::connect(address).await?).await
}

fn allowing(permission: Condition) -> Policy {
    let rule = Rule { name: "rule".into(), at: None, permission, principal: Condition::Any };
    Policy::new(vec![Stage { action: Action::Allow, rules: vec![rule] }])
}

async fn until_counted(listener: &OpaqueListener, event: Event, count: u64) {
    let counted = async {
        while listener.counters().count(event) < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, counted).await.unwrap_or_else(|_| panic!("{event:?} is not counted"));
}

#[tokio::test]
async fn a_member_is_let_in_without_any_layer_and_bytes_go_both_ways() {
    let mesh = TestMesh::new();
    let mut listener = listening(&mesh, MtlsMode::Strict, Policy::default()).await;
    let caller = mesh.authority.identity("caller");
    let mut client = connect(listener.address(), &caller, ALPN_OPAQUE).await.unwrap();
    let mut conn = timeout(WAIT, listener.accept()).await.unwrap().unwrap();
    assert_eq!(conn.peer().spiffe_id(), Some(spiffe_id("caller").as_str()));
    client.write_all(b"question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut read = String::new();
    conn.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "question");
    conn.write_all(b"answer").await.unwrap();
    conn.shutdown().await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "answer");
}

#[tokio::test]
async fn whom_policy_refuses_is_closed_before_the_application_sees_anything() {
    let mesh = TestMesh::new();
    let mut listener = listening(&mesh, MtlsMode::Strict, deny_all()).await;
    let caller = mesh.authority.identity("caller");
    // A condition on requests cannot be told of bytes.
    let by_method = Condition::Header(HeaderMatcher {
        source: HeaderSource::Method,
        value: None,
        invert: false,
        missing_is_empty: false,
    });
    let refusing = [deny_all(), allowing(by_method), allowing(Condition::Port(1..=1))];
    for (count, policy) in refusing.into_iter().enumerate() {
        mesh.configure(listener.address(), MtlsMode::Strict, policy);
        let mut client = connect(listener.address(), &caller, ALPN_OPAQUE).await.unwrap();
        let _ = client.write_all(b"secret").await;
        let mut answer = Vec::new();
        let _ = timeout(WAIT, client.read_to_end(&mut answer)).await.expect("the server closes");
        assert!(answer.is_empty());
        until_counted(&listener, Event::DeniedConnection, count as u64 + 1).await;
    }
    mesh.configure(
        listener.address(),
        MtlsMode::Strict,
        allowing(Condition::Port(u32::from(listener.address().port())..=65535)),
    );
    let good = connect(listener.address(), &mesh.authority.identity("good"), ALPN_OPAQUE).await.unwrap();
    let conn = timeout(WAIT, listener.accept()).await.unwrap().unwrap();
    assert_eq!(
        conn.peer().address(),
        good.get_ref().0.local_addr().unwrap(),
        "the first that is handed over"
    );
    assert_eq!(listener.counters().count(Event::Accepted), 1);
}

#[tokio::test]
async fn requests_and_bytes_are_never_taken_for_each_other() {
    let mesh = TestMesh::new();
    let caller = mesh.authority.identity("caller");
    for mode in [MtlsMode::Strict, MtlsMode::Permissive] {
        let listener = listening(&mesh, mode, Policy::default()).await;
        let refused = connect(listener.address(), &caller, b"h2").await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{mode:?}: {refused}");
        until_counted(&listener, Event::FailedHandshake, 1).await;
    }
    let _layer = MeshLayer::new(&mesh.mesh);
    let requests = MeshListener::bind(&mesh.mesh, "127.0.0.1:0").await.unwrap();
    mesh.configure(requests.address(), MtlsMode::Strict, Policy::default());
    listening_at(requests.address()).await;
    let refused = connect(requests.address(), &caller, ALPN_OPAQUE).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
}

/// What a TLS client of the application's own begins with.
fn foreign_hello() -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(mesh_core::identity::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("db.example.com").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn under_permissive_the_applications_own_tls_passes_and_the_meshs_ends_here() {
    let mesh = TestMesh::new();
    let mut listener = listening(&mesh, MtlsMode::Permissive, Policy::default()).await;
    let caller = mesh.authority.identity("caller");
    let _ours = connect(listener.address(), &caller, ALPN_OPAQUE).await.unwrap();
    let conn = timeout(WAIT, listener.accept()).await.unwrap().unwrap();
    assert_eq!(conn.peer().transport(), Transport::Mtls);

    let hello = foreign_hello();
    for sent in [&hello[..], b"plain bytes", &[0x16, 3, 1, 0, 4, 9, 9, 9, 9]] {
        let mut client = TcpStream::connect(listener.address()).await.unwrap();
        // In two pieces, as a network may deliver it.
        client.write_all(&sent[..5]).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(&sent[5..]).await.unwrap();
        let mut conn = timeout(WAIT, listener.accept()).await.unwrap().unwrap();
        assert_eq!((conn.peer().transport(), conn.peer().principal()), (Transport::Plaintext, None));
        let mut seen = vec![0; sent.len()];
        timeout(WAIT, conn.read_exact(&mut seen)).await.unwrap().unwrap();
        assert_eq!(seen, sent);
        conn.write_all(b"back").await.unwrap();
        let mut back = [0; 4];
        client.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"back");
    }
}

#[tokio::test]
async fn a_greeting_that_never_ends_is_closed_in_time() {
    let mesh = TestMesh::new();
    let builder = MeshListener::builder(&mesh.mesh).handshake_timeout(Duration::from_millis(20));
    let listener = builder.bind_opaque("127.0.0.1:0").await.unwrap();
    mesh.configure(listener.address(), MtlsMode::Permissive, Policy::default());
    listening_at(listener.address()).await;
    let mut client = TcpStream::connect(listener.address()).await.unwrap();
    client.write_all(&foreign_hello()[..20]).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(WAIT, client.read_to_end(&mut answer)).await.expect("the server closes");
    assert!(answer.is_empty());
    until_counted(&listener, Event::TimedOutHandshake, 1).await;
}

#[tokio::test]
async fn without_a_mesh_every_connection_is_let_in() {
    let mut listener = OpaqueListener::bind(&Mesh::off(), "127.0.0.1:0").await.unwrap();
    listening_at(listener.address()).await;
    let conn = timeout(WAIT, listener.accept()).await.unwrap().unwrap();
    assert_eq!(conn.peer().transport(), Transport::Plaintext);
}

const WAIT: Duration = Duration::from_secs(10);
