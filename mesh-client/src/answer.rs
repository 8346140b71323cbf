//! Responses that the mesh makes itself, in the caller's own protocol.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use mesh_core::status::{grpc_status_of, reply};

use crate::body::{Protocol, ResponseBody};
use crate::error::ClientError;

/// The response that stands for an error, with the error in its extensions.
pub(crate) fn refuse(error: ClientError, protocol: Protocol) -> Response<ResponseBody> {
    let mut response = local(error.status(), error.grpc_status(), error.to_string().into(), protocol);
    response.extensions_mut().insert(error);
    response
}

/// A rule's own response.
pub(crate) fn direct(status: StatusCode, body: Bytes, protocol: Protocol) -> Response<ResponseBody> {
    local(status, grpc_status_of(status), body, protocol)
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

fn local(status: StatusCode, grpc_status: u8, text: Bytes, protocol: Protocol) -> Response<ResponseBody> {
    reply(status, grpc_status, text, protocol == Protocol::Grpc).map(ResponseBody::local)
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
