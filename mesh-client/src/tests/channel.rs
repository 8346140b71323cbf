//! A generated tonic client over a channel of the mesh, against tonic's own server.

use mesh_core::proto::ca::istio_certificate_service_client::IstioCertificateServiceClient;
use mesh_core::proto::ca::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use mesh_core::proto::ca::{IstioCertificateRequest, IstioCertificateResponse};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;

use super::*;
use crate::MeshChannel;

struct Echo;

#[tonic::async_trait]
impl IstioCertificateService for Echo {
    async fn create_certificate(
        &self,
        request: tonic::Request<IstioCertificateRequest>,
    ) -> Result<tonic::Response<IstioCertificateResponse>, tonic::Status> {
        match request.into_inner().csr {
            csr if csr.is_empty() => Err(tonic::Status::invalid_argument("no CSR")),
            csr => Ok(tonic::Response::new(IstioCertificateResponse { cert_chain: vec![csr] })),
        }
    }
}

async fn server() -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = IstioCertificateServiceServer::new(Echo);
    let serving = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(serving.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn request(csr: &str) -> IstioCertificateRequest {
    IstioCertificateRequest { csr: csr.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_generated_client_calls_through_it() {
    let outbound = Setup::http2([server().await]).outbound();
    let mut client = IstioCertificateServiceClient::new(MeshChannel::new(&outbound.mesh, "Reviews:9080"));
    let response = client.create_certificate(request("a csr")).await.unwrap();
    assert_eq!(response.into_inner().cert_chain, ["a csr"]);
    let status = client.create_certificate(request("")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "no CSR"));
}

#[tokio::test]
async fn a_failure_of_the_mesh_is_a_status_that_says_why() {
    let outbound = Setup::http2([deserted()]).outbound();
    let check = async |host: &str, code: Code, says: &str| {
        let mut client = IstioCertificateServiceClient::new(MeshChannel::new(&outbound.mesh, host));
        let status = client.create_certificate(request("a csr")).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(says), "{status}");
    };
    check(HOST, Code::Unavailable, "cannot connect").await;
    check("two words", Code::Internal, "two words").await;
}

#[tokio::test]
async fn a_host_outside_the_mesh_is_called_in_plaintext_http2() {
    let address = server().await;
    let channel = MeshChannel::new(&Mesh::off(), address.to_string());
    let response = IstioCertificateServiceClient::new(channel).create_certificate(request("a csr")).await;
    assert_eq!(response.unwrap().into_inner().cert_chain, ["a csr"]);
}

#[test]
fn a_call_is_a_small_future() {
    let outbound = Setup::http2([deserted()]).outbound();
    let call = outbound.call(None, post(http_body_util::Full::new(Bytes::new())));
    // It is copied once, into its box. A future that takes a request by value holds it twice, and so does each one around it:
    // that made 12 KiB of it, and a fifth of a call's instructions.
    assert!(size_of_val(&call) <= 2560, "{} bytes", size_of_val(&call));
}
