//! Hosts outside the mesh, and HTTP/1.1, which most of them speak.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mesh_core::mesh::{OutboundTrafficPolicy, Settings};
use tokio::net::TcpListener;

use super::*;

/// An HTTP/1.1 server that answers with the `host` header and the body, and closes a connection after `requests_max` requests
/// without having said so.
pub(super) async fn http1(requests_max: usize) -> (SocketAddr, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicU32::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let served = Arc::new(tokio::sync::Semaphore::new(0));
            let done = served.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let served = served.clone();
                async move {
                    let host = request.headers()["host"].to_str().unwrap().to_owned();
                    let path = request.uri().to_string();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    served.add_permits(1);
                    let told = format!("{host} {path} {}", String::from_utf8_lossy(&body));
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(told))))
                }
            });
            tokio::spawn(async move {
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(io), service);
                let enough = async {
                    let _ = done.acquire_many(u32::try_from(requests_max).unwrap()).await;
                    // The last answer shall go out before the connection is closed.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                };
                tokio::select! {
                    _ = connection => {}
                    () = enough => {}
                }
            });
        }
    });
    (address, connections)
}

fn absent(address: SocketAddr, settings: Settings) -> Outbound {
    let hosts = [(address.to_string().into(), HostState::Absent)].into();
    outbound(Parts { snapshot: Snapshot { hosts, ..Snapshot::default() }, settings, ..Parts::default() })
}

#[tokio::test]
async fn a_mesh_that_lets_nothing_out_refuses_a_host_outside() {
    let (address, connections) = http1(1).await;
    let hosts = [(address.to_string().into(), HostState::Refused)].into();
    let outbound =
        outbound(Parts { snapshot: Snapshot { hosts, ..Snapshot::default() }, ..Parts::default() });
    let response = send(&outbound, to(address, "a")).await;
    assert_eq!(response.status(), 502);
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

fn to(address: SocketAddr, body: &'static str) -> Request<Full<Bytes>> {
    Request::post(format!("http://{address}/p?q"))
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

#[tokio::test]
async fn a_host_outside_is_called_as_it_is_on_a_connection_that_is_kept() {
    let (address, connections) = http1(1000).await;
    let outbound = absent(address, Settings::default());
    for body in ["a", "", "c"] {
        let response = send(&outbound, to(address, body)).await;
        assert_eq!(text(response).await, format!("{address} /p?q {body}"));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_fails_no_request() {
    let (address, connections) = http1(1).await;
    let outbound = absent(address, Settings::default());
    for body in ["a", "b", "c"] {
        let response = send(&outbound, to(address, body)).await;
        assert_eq!(response.status(), 200);
        text(response).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn requests_at_one_time_each_have_a_connection_of_their_own() {
    let (address, connections) = http1(1000).await;
    let setup = Setup { protocol: UpstreamProtocol::Http1, ..Setup::http2([address]) };
    let outbound = setup.outbound();
    let responses = futures_util::future::join_all((0..10).map(|_| send(&outbound, get("/")))).await;
    assert!(responses.iter().all(|response| response.status() == 200));
    let held = connections.load(Ordering::SeqCst);
    assert!((1..=10).contains(&held), "{held}");
}

#[tokio::test]
async fn registry_only_and_no_mesh_differ() {
    let (address, _) = http1(1000).await;
    let settings =
        Settings { outbound_traffic_policy: OutboundTrafficPolicy::RegistryOnly, ..Settings::default() };
    let response = send(&absent(address, settings), to(address, "")).await;
    assert_eq!(response.status(), 502);
    assert!(matches!(error(&response), ClientError::OutsideRefused { .. }));
    let response = send(&Outbound::new(&Mesh::off()), to(address, "")).await;
    assert_eq!(response.status(), 200);
}
