//! Server and clients without the mesh, on the mesh's own certificates and TLS settings.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mesh_core::Mesh;
use mesh_core::identity::{ClientCertificate, ExpectedPeer, client_config, server_config};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tonic::service::Routes;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tonic::transport::{Channel, Endpoint, Server};

/// Serves `routes` by tonic's own server as the member `mesh`.
pub(super) async fn serve(mesh: &Mesh, routes: Routes) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("its address");
    let identity = mesh.identity().expect("a member has an identity");
    let acceptor = TlsAcceptor::from(server_config(identity, ClientCertificate::Required));
    let connections = futures_util::stream::unfold(listener, move |listener| {
        let acceptor = acceptor.clone();
        async move { Some((accept(&listener, &acceptor).await, listener)) }
    });
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(connections));
    address
}

/// tonic's client.
pub(super) async fn tonic_client(mesh: &Mesh, address: SocketAddr) -> Channel {
    let mesh = mesh.clone();
    let connector = tower::service_fn(move |_: http::Uri| {
        let mesh = mesh.clone();
        async move { connect(&mesh, address).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_static("http://echo:9080");
    endpoint.connect_with_connector(connector).await.expect("tonic connects")
}

/// hyper's.
pub(super) async fn hyper_client(mesh: &Mesh, address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let io = TokioIo::new(connect(mesh, address).await.expect("hyper connects"));
    let greeted = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await;
    let (sender, driver) = greeted.expect("hyper's greeting is answered");
    tokio::spawn(driver);
    sender
}

async fn connect(mesh: &Mesh, address: SocketAddr) -> io::Result<client::TlsStream<TcpStream>> {
    let identity = mesh.identity().expect("a member has an identity");
    let config = client_config(identity, ExpectedPeer::AnyInTrustDomain);
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("echo").expect("a name");
    TlsConnector::from(config).connect(name, tcp).await
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> io::Result<Accepted> {
    let (tcp, remote) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    let info = TcpConnectInfo { local_addr: tcp.local_addr().ok(), remote_addr: Some(remote) };
    Ok(Accepted { tls: acceptor.accept(tcp).await?, info })
}

/// tokio-rustls's stream as tonic's server wants it: handlers are told the caller's address, as they are in the mesh.
struct Accepted {
    tls: server::TlsStream<TcpStream>,
    info: TcpConnectInfo,
}

impl Connected for Accepted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tls).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tls.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tls).poll_shutdown(cx)
    }
}
