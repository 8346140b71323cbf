//! The listener over real sockets: who is let in, and that nobody holds up anybody else.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::Mesh;
use mesh_core::authz::Policy;
use mesh_core::resource::MtlsMode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Event, ListenerBuilder, MeshListener};
use crate::MeshLayer;
use crate::peer::Transport;
use crate::testing::{Authority, TestMesh, connect, spiffe_id};

async fn listening(mesh: &TestMesh, mode: MtlsMode) -> MeshListener {
    listening_with(mesh, mode, |builder| builder).await
}

async fn listening_with(
    mesh: &TestMesh,
    mode: MtlsMode,
    change: impl FnOnce(ListenerBuilder) -> ListenerBuilder,
) -> MeshListener {
    let _layer = MeshLayer::new(&mesh.mesh);
    let listener = change(MeshListener::builder(&mesh.mesh)).bind("127.0.0.1:0").await.unwrap();
    mesh.configure(listener.address(), mode, Policy::default());
    listening_at(listener.address()).await;
    listener
}

/// Waits for `listen`, which follows the configuration in another task.
async fn listening_at(address: SocketAddr) {
    while let Err(error) = TcpStream::connect(address).await {
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        tokio::task::yield_now().await;
    }
}

/// What a peer gets that sends `bytes`, until the server closes.
async fn answer_to(address: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // A reset is a close as well.
    let _ = timeout(WAIT, stream.read_to_end(&mut answer)).await.expect("the server closes");
    answer
}

async fn until_counted(listener: &MeshListener, event: Event, count: u64) {
    let counted = async {
        while listener.counters().count(event) < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(WAIT, counted).await.unwrap_or_else(|_| panic!("{event:?} is not counted"));
}

#[tokio::test]
async fn without_configuration_the_kernel_refuses() {
    let mesh = TestMesh::new();
    let listener = MeshListener::bind(&mesh.mesh, "127.0.0.1:0").await.unwrap();
    let refused = TcpStream::connect(listener.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert!(listener.registration().is_none());

    let _layer = MeshLayer::new(&mesh.mesh);
    mesh.configure(listener.address(), MtlsMode::Permissive, Policy::default());
    listening_at(listener.address()).await;
    assert!(listener.registration().is_some());
}

#[tokio::test]
async fn without_a_layer_the_kernel_refuses() {
    let mesh = TestMesh::new();
    let listener = MeshListener::bind(&mesh.mesh, "127.0.0.1:0").await.unwrap();
    mesh.configure(listener.address(), MtlsMode::Permissive, Policy::default());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    let refused = TcpStream::connect(listener.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let _layer = MeshLayer::new(&mesh.mesh);
    listening_at(listener.address()).await;
}

#[tokio::test]
async fn a_peer_is_known_by_its_certificate() {
    let mesh = TestMesh::new();
    let mut listener = listening(&mesh, MtlsMode::Strict).await;
    let client = mesh.connect(listener.address(), "productpage").await;
    let conn = listener.next().await.unwrap();
    assert_eq!(conn.peer().spiffe_id(), Some(spiffe_id("productpage").as_str()));
    assert_eq!(conn.peer().principal(), Some("cluster.local/ns/default/sa/productpage"));
    assert_eq!(conn.peer().transport(), Transport::Mtls);
    assert_eq!(conn.peer().address(), client.get_ref().0.local_addr().unwrap());
}

#[tokio::test]
async fn idle_peers_block_nobody() {
    let mesh = TestMesh::new();
    let mut listener = listening(&mesh, MtlsMode::Permissive).await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(listener.address()).await.unwrap());
    }
    // One of them in the middle of a handshake.
    idle[0].write_all(&[0x16, 0x03, 0x01]).await.unwrap();
    let _client = mesh.connect(listener.address(), "productpage").await;
    let conn = timeout(WAIT, listener.next()).await.expect("accepted beside idle peers").unwrap();
    assert_eq!(conn.peer().transport(), Transport::Mtls);
}

#[tokio::test]
async fn the_handshake_waiting_longest_makes_room() {
    let mesh = TestMesh::new();
    let mut listener = listening_with(&mesh, MtlsMode::Strict, |builder| builder.handshakes_max(2)).await;
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(TcpStream::connect(listener.address()).await.unwrap());
    }
    let _client = mesh.connect(listener.address(), "productpage").await;
    timeout(WAIT, listener.next()).await.expect("accepted in a full house").unwrap();
    assert!(listener.counters().count(Event::DisplacedHandshake) >= 3);
    assert_eq!(idle[0].read(&mut [0; 1]).await.unwrap_or(0), 0, "the oldest was closed");
}

#[tokio::test]
async fn a_silent_peer_is_closed_in_time() {
    let mesh = TestMesh::new();
    let quick = |builder: ListenerBuilder| builder.handshake_timeout(Duration::from_millis(20));
    let listener = listening_with(&mesh, MtlsMode::Permissive, quick).await;
    assert_eq!(answer_to(listener.address(), b"").await, b"");
    until_counted(&listener, Event::TimedOutHandshake, 1).await;
}

#[tokio::test]
async fn plaintext_under_strict_is_closed_without_a_word() {
    let mesh = TestMesh::new();
    let listener = listening(&mesh, MtlsMode::Strict).await;
    assert_eq!(answer_to(listener.address(), REQUEST).await, b"");
    until_counted(&listener, Event::RefusedPlaintext, 1).await;
}

#[tokio::test]
async fn permissive_lets_plaintext_in_without_an_identity() {
    let mesh = TestMesh::new();
    let mut listener = listening(&mesh, MtlsMode::Permissive).await;
    let mut client = TcpStream::connect(listener.address()).await.unwrap();
    client.write_all(REQUEST).await.unwrap();
    let mut conn = timeout(WAIT, listener.next()).await.unwrap().unwrap();
    assert_eq!(conn.peer().transport(), Transport::Plaintext);
    assert_eq!(conn.peer().spiffe_id(), None);
    // Looking at the first byte took nothing away.
    let mut seen = vec![0; REQUEST.len()];
    conn.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, REQUEST);
}

#[tokio::test]
async fn disable_passes_tls_to_the_application() {
    let mesh = TestMesh::new();
    let mut listener = listening(&mesh, MtlsMode::Disable).await;
    // The connection by which `listening` looked was let in as well.
    let _ = listener.next().await.unwrap();
    let mut client = TcpStream::connect(listener.address()).await.unwrap();
    client.write_all(CLIENT_HELLO).await.unwrap();
    let mut conn = timeout(WAIT, listener.next()).await.unwrap().unwrap();
    let mut seen = vec![0; CLIENT_HELLO.len()];
    conn.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, CLIENT_HELLO);
}

#[tokio::test]
async fn a_peer_of_another_authority_is_refused() {
    let mesh = TestMesh::new();
    let listener = listening(&mesh, MtlsMode::Permissive).await;
    // The stranger even has our names; what it lacks is a root that we trust.
    let stranger = Authority::new().identity("productpage");
    connect(listener.address(), &stranger).await.unwrap_err();
    until_counted(&listener, Event::FailedHandshake, 1).await;
    assert_eq!(listener.counters().count(Event::Accepted), 0);
}

#[tokio::test]
async fn a_new_mode_meets_the_next_connection() {
    let mesh = TestMesh::new();
    let listener = listening(&mesh, MtlsMode::Permissive).await;
    mesh.configure(listener.address(), MtlsMode::Strict, Policy::default());
    assert_eq!(answer_to(listener.address(), REQUEST).await, b"");
    mesh.withdraw();
    assert_eq!(answer_to(listener.address(), CLIENT_HELLO).await, b"");
    until_counted(&listener, Event::RefusedConnection, 1).await;
}

#[tokio::test]
async fn one_connection_too_many_is_closed() {
    let mesh = TestMesh::new();
    // The connection by which this looks takes the one place, and nobody takes it out of the listener.
    let listener = listening_with(&mesh, MtlsMode::Disable, |builder| builder.connections_max(1)).await;
    until_counted(&listener, Event::Accepted, 1).await;
    assert_eq!(answer_to(listener.address(), REQUEST).await, b"");
    assert_eq!(listener.counters().count(Event::RefusedConnection), 1);
}

#[tokio::test]
async fn without_a_mesh_everything_is_let_in() {
    let mesh = Mesh::off();
    let _layer = MeshLayer::new(&mesh);
    let mut listener = MeshListener::bind(&mesh, "127.0.0.1:0").await.unwrap();
    listening_at(listener.address()).await;
    let conn = timeout(WAIT, listener.next()).await.unwrap().unwrap();
    assert_eq!(conn.peer().transport(), Transport::Plaintext);
}

#[tokio::test]
async fn a_service_is_named_with_its_port() {
    for wrong in ["reviews", ":9080", "reviews:http", "reviews:70000"] {
        let refused = MeshListener::builder(&Mesh::off()).service(wrong).bind("127.0.0.1:0").await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidInput, "{wrong}");
    }
}

const WAIT: Duration = Duration::from_secs(10);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: reviews\r\n\r\n";
const CLIENT_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x00, 0x05, 0x01];
