//! The three that are compared, each with its one connection.

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::SendRequest;
use mesh_client::MeshChannel;
use mesh_tests::echo::proto::Message;
use mesh_tests::echo::proto::echo_client::EchoClient;
use prost::Message as _;
use tonic::transport::Channel;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mesh,
    Tonic,
    Hyper,
}

impl Kind {
    /// The mesh first: the ratios are its.
    pub(super) const ALL: [Self; 3] = [Self::Mesh, Self::Tonic, Self::Hyper];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mesh => "mesh",
            Self::Tonic => "tonic",
            Self::Hyper => "hyper",
        }
    }
}

/// One that can call.
#[derive(Clone)]
pub(super) enum Contender {
    Mesh(EchoClient<MeshChannel>),
    Tonic(EchoClient<Channel>),
    Hyper(SendRequest<Full<Bytes>>),
}

impl Contender {
    /// Makes calls one after the other.
    pub(super) async fn calls(&mut self, count: usize) {
        for _ in 0..count {
            match self {
                Self::Mesh(client) => drop(client.unary(message()).await.expect("a call through the mesh")),
                Self::Tonic(client) => drop(client.unary(message()).await.expect("a call by tonic")),
                Self::Hyper(sender) => drop(call(sender).await),
            }
        }
    }
}

/// What a unary gRPC call is on the wire, with nothing around it.
async fn call(sender: &mut SendRequest<Full<Bytes>>) -> Message {
    let message = message();
    let mut body = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.encoded_len());
    body.put_u8(0);
    body.put_u32(u32::try_from(message.encoded_len()).expect("a short message"));
    message.encode(&mut body).expect("room in the buffer");
    let request = http::Request::post("http://echo:9080/echo.v1.Echo/Unary")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body.freeze()))
        .expect("a request");
    let response = sender.send_request(request).await.expect("a call by hyper");
    let body = response.into_body().collect().await.expect("a whole answer");
    let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
    assert_eq!(status.map(AsRef::as_ref), Some(&b"0"[..]));
    Message::decode(&body.to_bytes()[FRAME_HEAD_BYTES..]).expect("a message")
}

fn message() -> Message {
    Message { text: "a request as small as most are".to_owned() }
}

/// Compression flag and length.
const FRAME_HEAD_BYTES: usize = 5;
