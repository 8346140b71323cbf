//! gRPC's own health protocol (`grpc.health.v1`), as much of it as one question and one answer need.

use bytes::{BufMut, Bytes};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// The question about a service, behind the five bytes that say its length.
pub fn question(service: &str) -> Bytes {
    let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let mut framed = vec![0];
    // A service's name is never near 4 GiB.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend(message);
    framed.into()
}

/// Whether an answer's body says that the service serves.
pub fn is_serving(body: &[u8]) -> bool {
    let Some((&[0, a, b, c, d], message)) = body.split_first_chunk() else { return false };
    let whole = u32::from_be_bytes([a, b, c, d]) as usize == message.len();
    whole && HealthCheckResponse::decode(message).is_ok_and(|answer| answer.status == SERVING)
}

/// The method that is asked.
pub const GRPC_PATH: &str = "/grpc.health.v1.Health/Check";
const SERVING: i32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_are_those_of_grpc() {
        assert_eq!(&*question(""), [0; 5]);
        assert_eq!(&*question("ab"), [0, 0, 0, 0, 4, 10, 2, b'a', b'b']);
        assert!(is_serving(&[0, 0, 0, 0, 2, 8, 1]));
        for other in
            [&[][..], &[0; 5], &[0, 0, 0, 0, 2, 8, 2], &[0, 0, 0, 0, 3, 8, 1], &[1, 0, 0, 0, 2, 8, 1]]
        {
            assert!(!is_serving(other), "{other:?}");
        }
    }
}
