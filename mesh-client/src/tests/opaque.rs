//! Connections of bytes, against servers in this process.

use std::sync::atomic::{AtomicU32, Ordering};

use mesh_core::context::RequestContext;
use mesh_core::identity::{
    ALPN_HTTP1, ALPN_HTTP2, ALPN_OPAQUE, ClientCertificate, IdentitySource, server_config,
};
use mesh_core::mesh::{OutboundTrafficPolicy, Settings};
use mesh_core::resource::{OutsideTls, ServerVerification};
use mesh_core::route::{OpaqueRule, OpaqueTable};
use mesh_core::snapshot::OpaqueConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::identity::Authority;
use super::*;
use crate::connection::ConnectErrorKind;
use crate::error::Failure;
use crate::{MeshConnector, MeshStream};

const DATABASE: &str = "spiffe://cluster.local/ns/default/sa/db";
const CALLER: &str = "spiffe://cluster.local/ns/default/sa/caller";

/// A server that sends back what it reads, once it has read all of it.
async fn echo() -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut io, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut read = Vec::new();
                let _ = io.read_to_end(&mut read).await;
                let _ = io.write_all(&read).await;
            });
        }
    });
    (address, connections)
}

/// The same under mTLS, taking these protocols.
async fn echo_tls(source: Arc<IdentitySource>, protocols: &[&[u8]]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = server_config(&source, ClientCertificate::Required);
    Arc::make_mut(&mut config).alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(config);
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(io).await else { return };
                let mut read = Vec::new();
                let _ = tls.read_to_end(&mut read).await;
                let _ = tls.write_all(&read).await;
                let _ = tls.shutdown().await;
            });
        }
    });
    address
}

fn rule(server_names: &[&str], weights: &[u32]) -> OpaqueRule {
    let destination = |(at, weight): (usize, &u32)| WeightedDestination {
        cluster: CLUSTER.into(),
        cluster_index: at,
        weight: *weight,
        authority: None,
        request_headers: HeaderOperations::default(),
        response_headers: HeaderOperations::default(),
    };
    OpaqueRule {
        provenance: Provenance {
            document: Some("VirtualService/default/db".into()),
            rule: Some("tcp[0]".into()),
            ..Provenance::default()
        },
        server_names: server_names.iter().map(|name| Box::from(*name)).collect(),
        split: Split::new(weights.iter().enumerate().map(destination).collect()),
        connects_max: 3,
    }
}

fn snapshot_with(rules: Vec<OpaqueRule>, clusters: Vec<Arc<Cluster>>) -> Snapshot {
    let config = HostConfig {
        name: HOST.into(),
        host: "reviews.default.svc.cluster.local".into(),
        path_normalization: PathNormalization::default(),
        routes: None,
        clusters: Box::default(),
        opaque: Some(OpaqueConfig {
            rules: Arc::new(OpaqueTable::new(rules).unwrap()),
            clusters: clusters.into_iter().map(Some).collect(),
        }),
    };
    Snapshot { hosts: [(HOST.into(), HostState::Ready(Arc::new(config)))].into(), ..Snapshot::default() }
}

fn connector(parts: Parts) -> MeshConnector {
    MeshConnector::new(&Mesh::from_parts(parts).0)
}

/// A connector by one rule to one cluster of these endpoints.
fn to(addresses: &[SocketAddr]) -> MeshConnector {
    connector_to(Setup::http2(addresses.iter().copied()).cluster())
}

/// A connector by one rule to that cluster.
pub(super) fn connector_to(cluster: Arc<Cluster>) -> MeshConnector {
    connector(Parts { snapshot: snapshot_with(vec![rule(&[], &[1])], vec![cluster]), ..Parts::default() })
}

/// A connector to an endpoint that must be the database.
fn to_tls(address: SocketAddr, identity: Option<Arc<IdentitySource>>) -> MeshConnector {
    let sni = "outbound_.9080_._.reviews.default.svc.cluster.local".into();
    let tls = UpstreamTls::MeshMtls { identities: [DATABASE.into()].into(), sni };
    let cluster = Setup { tls, ..Setup::http2([address]) }.cluster();
    let snapshot = snapshot_with(vec![rule(&[], &[1])], vec![cluster]);
    connector(Parts { snapshot, identity, ..Parts::default() })
}

/// What comes back once our side has said its end.
async fn told(mut stream: MeshStream) -> String {
    stream.write_all(b"hello").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

fn refused(result: Result<MeshStream, Failure>) -> Failure {
    result.map(|stream| stream.endpoint()).unwrap_err()
}

#[tokio::test]
async fn each_direction_ends_by_itself_and_the_rule_is_told() {
    let (address, _) = echo().await;
    let stream = to(&[address]).connect(HOST).await.unwrap();
    assert_eq!((stream.endpoint(), stream.peer_id()), (Some(address), None));
    assert_eq!(stream.rule().unwrap().to_string(), "VirtualService/default/db tcp[0]");
    assert_eq!(told(stream).await, "hello");
}

#[tokio::test]
async fn mtls_proves_the_peer_and_says_that_bytes_follow() {
    let authority = Authority::new();
    let address = echo_tls(authority.source(DATABASE), &[ALPN_OPAQUE]).await;
    let stream = to_tls(address, Some(authority.source(CALLER))).connect(HOST).await.unwrap();
    assert_eq!(stream.peer_id(), Some(DATABASE));
    assert_eq!(told(stream).await, "hello");
}

#[tokio::test]
async fn who_is_somebody_else_or_speaks_http_is_refused_by_name() {
    let authority = Authority::new();
    let connect = async |server: &str, protocols: &[&[u8]], identity| {
        let address = echo_tls(authority.source(server), protocols).await;
        refused(to_tls(address, identity).connect(HOST).await)
    };
    let ours = || Some(authority.source(CALLER));
    let kind = |failure: &Failure| match &failure.error {
        ClientError::Connect(error) => format!("{:?}", error.kind),
        other => panic!("{other}"),
    };
    let other = connect(CALLER, &[ALPN_OPAQUE], ours()).await;
    assert!(kind(&other).starts_with("Refused"), "{other}");
    let http = connect(DATABASE, &[ALPN_HTTP2, ALPN_HTTP1], ours()).await;
    assert!(kind(&http).starts_with("Protocol") && http.to_string().contains("MeshClient"), "{http}");
    assert!(http.to_string().ends_with("by VirtualService/default/db tcp[0]"), "{http}");
    let nobody = connect(DATABASE, &[ALPN_OPAQUE], None).await;
    assert!(
        matches!(&nobody.error, ClientError::Connect(error) if matches!(error.kind, ConnectErrorKind::NoIdentity))
    );
}

#[tokio::test]
async fn a_connect_that_fails_is_tried_at_another_endpoint() {
    let (address, connections) = echo().await;
    let connector = to(&[deserted(), address, deserted()]);
    for _ in 0..6 {
        let stream = connector.connect(HOST).await.unwrap();
        assert_eq!(stream.endpoint(), Some(address));
        // Accepted, by now.
        told(stream).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 6);
    let failure = refused(to(&[deserted()]).connect(HOST).await);
    assert!(matches!(failure.error, ClientError::Connect(_)), "{failure}");
    assert_eq!(failure.error.flag().map(|flag| flag.as_str()), Some("UF"));
    let nobody = refused(to(&[]).connect(HOST).await);
    assert!(matches!(nobody.error, ClientError::NoHealthyEndpoint { .. }), "{nobody}");
}

#[tokio::test]
async fn weights_hold_for_connections() {
    let [(one, first), (other, second)] = [echo().await, echo().await];
    let clusters = [one, other].map(|address| Setup::http2([address]).cluster()).into();
    let snapshot = snapshot_with(vec![rule(&[], &[3, 1])], clusters);
    let connector = connector(Parts { snapshot, ..Parts::default() });
    let mut rng = fastrand::Rng::with_seed(11);
    for _ in 0..400 {
        told(connector.connect_with(HOST, None, &mut rng).await.unwrap()).await;
    }
    let counts = [first, second].map(|count| count.load(Ordering::SeqCst));
    // Three standard deviations of 400 draws at 1 in 4 are 26.
    assert_eq!(counts[0] + counts[1], 400);
    assert!(counts[1].abs_diff(100) <= 26, "{counts:?}");
}

#[tokio::test]
async fn an_open_connection_counts_at_its_endpoint_until_it_is_dropped() {
    let (address, _) = echo().await;
    let cluster = Setup::http2([address]).cluster();
    let in_flight = {
        let state = cluster.endpoints[0].state.clone();
        move || state.in_flight.load(Ordering::Relaxed)
    };
    let snapshot = snapshot_with(vec![rule(&[], &[1])], vec![cluster]);
    let connector = connector(Parts { snapshot, ..Parts::default() });
    let streams = [connector.connect(HOST).await.unwrap(), connector.connect(HOST).await.unwrap()];
    assert_eq!(in_flight(), 2);
    drop(streams);
    assert_eq!(in_flight(), 0);
}

#[tokio::test]
async fn the_server_name_chooses_and_without_a_rule_for_it_there_is_no_connection() {
    let (address, connections) = echo().await;
    let cluster = || vec![Setup::http2([address]).cluster()];
    let snapshot = snapshot_with(vec![rule(&["db.example.com", "*.b.com"], &[1])], cluster());
    let connector = connector(Parts { snapshot, ..Parts::default() });
    for name in ["db.example.com", "DB.example.com.", "a.b.com"] {
        assert_eq!(told(connector.connect_tls(HOST, name).await.unwrap()).await, "hello");
    }
    let other = refused(connector.connect_tls(HOST, "elsewhere.com").await);
    assert!(
        other.to_string().contains("VirtualService/default/db")
            && other.to_string().contains("elsewhere.com")
    );
    let none = refused(connector.connect(HOST).await);
    assert!(none.to_string().contains("connect_tls"), "{none}");
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_port_is_used_as_it_is_meant() {
    let (address, connections) = echo().await;
    let setup = Setup::http2([address]);
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    let http = connector(Parts { snapshot: snapshot(routes, Some(setup.cluster())), ..Parts::default() });
    let failure = refused(http.connect(HOST).await);
    assert!(matches!(failure.error, ClientError::NotOpaque { .. }), "{failure}");
    assert!(failure.to_string().contains("tcp-"), "{failure}");
    let opaque = snapshot_with(vec![rule(&[], &[1])], vec![setup.cluster()]);
    let response = send(&outbound(Parts { snapshot: opaque, ..Parts::default() }), get("/")).await;
    assert_eq!(response.status(), 400);
    assert!(matches!(error(&response), ClientError::Opaque { .. }));
    assert!(error(&response).to_string().contains("http-"), "{}", error(&response));
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn hosts_outside_are_reached_as_they_are_or_refused() {
    let (address, connections) = echo().await;
    let absent = |settings| {
        let hosts = [(address.to_string().into(), HostState::Absent)].into();
        connector(Parts { snapshot: Snapshot { hosts, ..Snapshot::default() }, settings, ..Parts::default() })
    };
    let stream = absent(Settings::default()).connect(address.to_string()).await.unwrap();
    assert!(stream.endpoint().is_none() && stream.rule().is_none());
    assert_eq!(told(stream).await, "hello");
    let registry = OutboundTrafficPolicy::RegistryOnly;
    let settings = Settings { outbound_traffic_policy: registry, ..Settings::default() };
    let failure = refused(absent(settings).connect(address.to_string()).await);
    assert!(matches!(failure.error, ClientError::OutsideRefused { .. }), "{failure}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    for wrong in ["db", "db:0", "", "a b:1"] {
        let failure = refused(absent(Settings::default()).connect(wrong).await);
        assert!(matches!(failure.error, ClientError::Host(_)), "{wrong}: {failure}");
    }
}

#[tokio::test]
async fn who_was_never_told_of_a_host_connects_nowhere() {
    let settings = Settings { resolve_wait: Duration::from_millis(20), ..Settings::default() };
    let failure = refused(connector(Parts { settings, ..Parts::default() }).connect(HOST).await);
    assert!(matches!(failure.error, ClientError::Resolve(_)), "{failure}");
}

/// A server that takes the socket and never answers the handshake; tells when the caller has gone.
async fn mute() -> (SocketAddr, tokio::sync::oneshot::Receiver<()>, tokio::sync::oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (came, has_come) = tokio::sync::oneshot::channel();
    let (gone, has_gone) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut io, _) = listener.accept().await.unwrap();
        let _ = came.send(());
        let mut read = Vec::new();
        let _ = io.read_to_end(&mut read).await;
        let _ = gone.send(());
    });
    (address, has_come, has_gone)
}

#[tokio::test]
async fn a_connect_that_is_dropped_or_late_is_given_up() {
    let authority = Authority::new();
    let (address, has_come, has_gone) = mute().await;
    let connector = to_tls(address, Some(authority.source(CALLER)));
    tokio::select! {
        _ = connector.connect(HOST) => panic!("nobody answered the handshake"),
        _ = has_come => {}
    }
    has_gone.await.unwrap();

    let (address, _has_come, has_gone) = mute().await;
    let connector = to_tls(address, Some(authority.source(CALLER)));
    let deadline = Some(std::time::Instant::now() + Duration::from_millis(50));
    let context = Arc::new(RequestContext { deadline, ..RequestContext::default() });
    let failure = refused(context.scope(async { connector.connect(HOST).await }).await);
    assert!(matches!(failure.error, ClientError::Deadline), "{failure}");
    has_gone.await.unwrap();
}

#[tokio::test]
async fn tls_that_is_not_the_meshs_is_spoken_beneath_bytes_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let outside = OutsideTls {
        sni: "db.example.com".into(),
        certificate: None,
        verification: ServerVerification::Skipped,
    };
    let tls = UpstreamTls::Outside(outside.into());
    let cluster = Setup { tls, ..Setup::http2([listener.local_addr().unwrap()]) }.cluster();
    let mut endpoints = cluster.endpoints.to_vec();
    // As snapshots have it: the mesh's own TLS is not spoken there.
    endpoints.iter_mut().for_each(|endpoint| endpoint.spec.mesh_mtls = false);
    let cluster = Cluster::new(cluster.spec.clone(), endpoints, Arc::default());
    let snapshot = snapshot_with(vec![rule(&[], &[1])], vec![cluster.into()]);
    let connector = connector(Parts { snapshot, ..Parts::default() });
    let connecting = tokio::spawn(async move {
        let mut stream = connector.connect(HOST).await.unwrap();
        stream.write_all(b"in the open").await.unwrap();
    });
    let (mut io, _) = listener.accept().await.unwrap();
    assert_eq!(io.read_u8().await.unwrap(), TLS_HANDSHAKE);
    connecting.abort();
}

/// The first byte of a TLS connection.
const TLS_HANDSHAKE: u8 = 0x16;
