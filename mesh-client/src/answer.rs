//! Responses that the mesh makes itself, in the caller's own protocol.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::body::{Protocol, ResponseBody};
use crate::error::{ClientError, grpc_status_of};

/// The response that stands for an error, with the error in its extensions.
pub(crate) fn refuse(error: ClientError, protocol: Protocol) -> Response<ResponseBody> {
    let text = error.to_string();
    let mut response = match protocol {
        Protocol::Http => plain(error.status(), text.into()),
        Protocol::Grpc => trailers_only(error.grpc_status(), &text),
    };
    response.extensions_mut().insert(error);
    response
}

/// A rule's own response.
pub(crate) fn direct(status: StatusCode, body: Bytes, protocol: Protocol) -> Response<ResponseBody> {
    match protocol {
        Protocol::Http => plain(status, body),
        Protocol::Grpc => trailers_only(grpc_status_of(status), &String::from_utf8_lossy(&body)),
    }
}

/// A rule's redirection.
pub(crate) fn redirect(status: StatusCode, location: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::local(Bytes::new()));
    *response.status_mut() = status;
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn plain(status: StatusCode, body: Bytes) -> Response<ResponseBody> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(ResponseBody::local(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_LENGTH, length);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// gRPC's shape of a failure without a message: everything in one block of headers.
fn trailers_only(grpc_status: u16, message: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::local(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(grpc_status));
    headers.insert("grpc-message", grpc_message(message));
    response
}

/// Percent-encoded as gRPC wants it: all but printable ASCII, and `%` itself.
fn grpc_message(message: &str) -> HeaderValue {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b'%' => encoded.push_str("%25"),
            b' '..=b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    HeaderValue::try_from(encoded).expect("printable ASCII is a header value")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_http_caller_gets_status_text_and_the_error_itself() {
        let host: Arc<str> = "reviews:9080".into();
        let response = refuse(ClientError::NoRoute { host }, Protocol::Http);
        assert_eq!(response.status(), 404);
        assert!(matches!(response.extensions().get(), Some(ClientError::NoRoute { .. })));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "reviews:9080: no route matches the request");
    }

    #[test]
    fn a_grpc_caller_gets_trailers_only() {
        let response = refuse(ClientError::Deadline, Protocol::Grpc);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "4");
        assert!(http_body::Body::is_end_stream(response.body()));
        let response = direct(
            StatusCode::SERVICE_UNAVAILABLE,
            Bytes::from_static("zu 100 % voll – später".as_bytes()),
            Protocol::Grpc,
        );
        assert_eq!(response.headers()["grpc-status"], "14");
        assert_eq!(response.headers()["grpc-message"], "zu 100 %25 voll %E2%80%93 sp%C3%A4ter");
    }
}
