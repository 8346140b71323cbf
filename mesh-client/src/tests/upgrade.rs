//! WebSocket handshakes: on a connection of their own, the caller's once it is switched, and nothing else switches one.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Method;
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use mesh_core::identity::{ClientCertificate, IdentitySource, server_config};
use mesh_core::mesh::Parts;
use mesh_core::route::{Fraction, Mirror};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::identity::{Authority, RATINGS, REVIEWS, setup};
use super::*;

/// Speaks either version of HTTP, and echoes the bytes of those who switch.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicU32>,
}

impl Server {
    pub(super) async fn start(source: Option<Arc<IdentitySource>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicU32::new(0));
        let count = connections.clone();
        let acceptor =
            source.map(|source| TlsAcceptor::from(server_config(&source, ClientCertificate::Required)));
        tokio::spawn(async move {
            while let Ok((io, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                match acceptor.clone() {
                    None => drop(tokio::spawn(serve(io))),
                    Some(acceptor) => {
                        drop(tokio::spawn(async move { serve(acceptor.accept(io).await?).await }))
                    }
                }
            }
        });
        Self { address, connections }
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> std::io::Result<()> {
    let builder = auto::Builder::new(TokioExecutor::new());
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(io), service_fn(answer)).await;
    Ok(())
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let asked = request.headers().get("upgrade").map(|protocol| protocol.to_str().unwrap().to_owned());
    let switch = |to: &str| {
        let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
        response.header("connection", "upgrade").header("upgrade", to).body(String::new()).unwrap()
    };
    Ok(match (request.uri().path(), asked) {
        ("/refuse", _) => Response::builder().status(StatusCode::FORBIDDEN).body("no".into()).unwrap(),
        ("/h2c", _) => switch("h2c"),
        ("/unasked", _) => switch("websocket"),
        ("/never", _) => std::future::pending().await,
        (_, Some(asked)) if asked == "websocket" => {
            let upgraded = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded.await.unwrap()));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
            switch("websocket")
        }
        (_, asked) => {
            let connection = request.headers().get("connection");
            Response::new(format!("{:?} upgrade {asked:?} connection {connection:?}", request.version()))
        }
    })
}

fn handshake(path: &str) -> Request<Empty<Bytes>> {
    let mut request = get(path);
    let headers = request.headers_mut();
    headers.insert("connection", "keep-alive, Upgrade".parse().unwrap());
    headers.insert("upgrade", "websocket".parse().unwrap());
    request
}

/// A mesh of one cluster, and the cluster.
fn meshed(parts: Parts) -> (Outbound, Arc<Cluster>) {
    let Some(HostState::Ready(config)) = parts.snapshot.hosts.get(HOST) else { panic!("the host is there") };
    let cluster = config.clusters[0].clone().unwrap();
    (outbound(parts), cluster)
}

fn plaintext(server: &Server, change: impl FnOnce(&mut Setup)) -> (Outbound, Arc<Cluster>) {
    let mut setup = Setup::http2([server.address]);
    setup.protocol = UpstreamProtocol::Http1;
    change(&mut setup);
    let routes = vec![route(RouteMatch::everything(), setup.forward())];
    meshed(Parts { snapshot: snapshot(routes, Some(setup.cluster())), ..Parts::default() })
}

/// Takes the connection over.
async fn switched(response: Response<ResponseBody>) -> TokioIo<Upgraded> {
    assert_eq!(response.status(), 101);
    assert_eq!(response.headers()["upgrade"], "websocket");
    TokioIo::new(hyper::upgrade::on(response).await.unwrap())
}

async fn echoes(stream: &mut TokioIo<Upgraded>) {
    stream.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"ping");
}

fn in_flight(cluster: &Cluster) -> u32 {
    cluster.endpoints.iter().map(|endpoint| endpoint.state.in_flight.load(Ordering::SeqCst)).sum()
}

async fn until_none_in_flight(cluster: &Cluster) {
    while in_flight(cluster) > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn beside_http2_a_handshake_has_a_connection_of_http1_that_is_the_callers() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.source(REVIEWS))).await;
    for protocol in [UpstreamProtocol::Auto, UpstreamProtocol::Http2] {
        let before = server.connections();
        let parts = Parts { identity: Some(authority.source(RATINGS)), ..setup(server.address, protocol) };
        let (outbound, cluster) = meshed(parts);
        let ordinary = async || text(send(&outbound, get("/")).await).await;
        assert!(ordinary().await.starts_with("HTTP/2.0"));
        let mut stream = switched(send(&outbound, handshake("/")).await).await;
        assert_eq!(in_flight(&cluster), 1, "while it lives");
        echoes(&mut stream).await;
        assert!(ordinary().await.starts_with("HTTP/2.0"));
        echoes(&mut stream).await;
        assert_eq!(in_flight(&cluster), 1);
        drop(stream);
        until_none_in_flight(&cluster).await;
        assert_eq!(server.connections() - before, 2, "one of HTTP/2, one switched");
    }
}

#[tokio::test]
async fn in_http1_the_pools_connection_is_left_alone() {
    let server = Server::start(None).await;
    let (outbound, cluster) = plaintext(&server, |_| {});
    let ordinary = async || text(send(&outbound, get("/")).await).await;
    assert_eq!(ordinary().await, "HTTP/1.1 upgrade None connection None");
    let mut stream = switched(send(&outbound, handshake("/")).await).await;
    ordinary().await;
    echoes(&mut stream).await;
    assert_eq!(server.connections(), 2);
    // Nobody takes this one over, so it is closed.
    drop(send(&outbound, handshake("/")).await);
    drop(stream);
    until_none_in_flight(&cluster).await;
    ordinary().await;
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_refusal_is_an_ordinary_response_whose_connection_is_not_kept() {
    let authority = Authority::new();
    let server = Server::start(Some(authority.source(REVIEWS))).await;
    let identity = Some(authority.source(RATINGS));
    let (outbound, cluster) = meshed(Parts { identity, ..setup(server.address, UpstreamProtocol::Auto) });
    let response = send(&outbound, handshake("/refuse")).await;
    assert_eq!(response.status(), 403);
    assert_eq!(in_flight(&cluster), 1, "its body is not read yet");
    assert_eq!(text(response).await, "no");
    assert_eq!(in_flight(&cluster), 0);
    let ordinary = text(send(&outbound, get("/")).await).await;
    assert!(ordinary.starts_with("HTTP/2.0"), "{ordinary}");
}

#[tokio::test]
async fn what_is_no_websocket_handshake_asks_for_nothing() {
    let server = Server::start(None).await;
    let (outbound, _) = plaintext(&server, |_| {});
    let mut h2c = handshake("/");
    h2c.headers_mut().insert("upgrade", "h2c".parse().unwrap());
    let mut two = handshake("/");
    two.headers_mut().append("upgrade", "h2c".parse().unwrap());
    let mut posted = handshake("/");
    *posted.method_mut() = Method::POST;
    for request in [h2c, two, posted] {
        assert_eq!(text(send(&outbound, request).await).await, "HTTP/1.1 upgrade None connection None");
    }
    let with_body = handshake("/").map(|_| Full::new(Bytes::from_static(b"GET /admin HTTP/1.1\r\n\r\n")));
    assert_eq!(text(send(&outbound, with_body).await).await, "HTTP/1.1 upgrade None connection None");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn who_switches_unasked_is_refused_by_name() {
    let server = Server::start(None).await;
    let (outbound, cluster) = plaintext(&server, |_| {});
    for (request, protocol) in
        [(get("/unasked"), "websocket"), (get("/h2c"), "h2c"), (handshake("/h2c"), "h2c")]
    {
        let response = send(&outbound, request).await;
        assert_eq!(response.status(), 502);
        assert!(response.extensions().get::<hyper::upgrade::OnUpgrade>().is_none());
        let ClientError::Switched { endpoint, protocol: named } = error(&response) else {
            panic!("{}", error(&response))
        };
        assert_eq!((&*endpoint, &*named), (&*server.address.to_string(), protocol));
        assert_eq!(in_flight(&cluster), 0);
    }
    assert_eq!(text(send(&outbound, get("/")).await).await, "HTTP/1.1 upgrade None connection None");
}

#[tokio::test]
async fn the_routes_timeout_ends_the_handshake_and_not_what_comes_of_it() {
    let server = Server::start(None).await;
    let (outbound, cluster) = plaintext(&server, |setup| {
        setup.timeout = Some(Duration::from_secs(20));
        setup.per_try_timeout = Some(Duration::from_secs(15));
    });
    let mut stream = switched(send(&outbound, handshake("/")).await).await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3600)).await;
    echoes(&mut stream).await;
    let response = send(&outbound, handshake("/never")).await;
    assert!(matches!(error(&response), ClientError::Deadline));
    drop(stream);
    until_none_in_flight(&cluster).await;
}

#[tokio::test]
async fn a_dead_endpoint_costs_a_handshake_an_attempt() {
    let server = Server::start(None).await;
    let (outbound, _) = plaintext(&server, |setup| setup.addresses.insert(0, deserted()));
    for _ in 0..4 {
        echoes(&mut switched(send(&outbound, handshake("/")).await).await).await;
    }
}

#[tokio::test]
async fn a_handshake_is_not_mirrored() {
    let (server, copies) = (Server::start(None).await, Server::start(None).await);
    let http1 =
        |server: &Server| Setup { protocol: UpstreamProtocol::Http1, ..Setup::http2([server.address]) };
    let RouteAction::Forward(mut forward) = http1(&server).forward() else { panic!("no forward") };
    forward.mirrors = vec![Mirror { cluster: COPIES.into(), cluster_index: 1, fraction: Fraction::ALL }];
    let rule = route(RouteMatch::everything(), RouteAction::Forward(forward));
    let mirror = Setup { name: COPIES, ..http1(&copies) }.cluster();
    let snapshot = snapshot_of(vec![rule], [Some(http1(&server).cluster()), Some(mirror)]);
    let outbound = outbound(Parts { snapshot, ..Parts::default() });
    echoes(&mut switched(send(&outbound, handshake("/")).await).await).await;
    assert_eq!(outbound.state.records.of(&COPIES.into()).unmirrored(), 1);
    assert_eq!(copies.connections(), 0);
}

#[tokio::test]
async fn a_handshake_passes_to_a_host_outside() {
    let server = Server::start(None).await;
    let hosts = [(server.address.to_string().into(), HostState::Absent)].into();
    let snapshot = Snapshot { hosts, ..Snapshot::default() };
    let outbound = outbound(Parts { snapshot, ..Parts::default() });
    let mut request = handshake("/");
    *request.uri_mut() = format!("http://{}/", server.address).parse().unwrap();
    echoes(&mut switched(send(&outbound, request).await).await).await;
}

const COPIES: &str = "outbound|9080|v2|reviews.default.svc.cluster.local";
