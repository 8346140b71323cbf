//! Responses that the mesh makes itself, in the caller's own protocol.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use mesh_core::ext_authz::Denial;
use mesh_core::resource::Provenance;
use mesh_core::status::{grpc_status_of, reply};

use crate::body::{Protocol, ResponseBody};
use crate::error::{ClientError, Failure};

/// The response that stands for a failure: error and rule are in its text and its extensions.
pub(crate) fn refuse(failure: Failure, protocol: Protocol) -> Response<ResponseBody> {
    let text = failure.to_string();
    let Failure { error, rule } = failure;
    let mut response = local(error.status(), error.grpc_status(), text.into(), protocol);
    tracing::debug!(rule = rule.as_ref().map(tracing::field::display), "request failed: {error}");
    if let ClientError::Overflow { .. } = error {
        response.headers_mut().insert(OVERLOADED, HeaderValue::from_static("true"));
    }
    response.extensions_mut().insert::<ClientError>(error);
    if let Some(rule) = rule {
        response.extensions_mut().insert::<Provenance>(rule);
    }
    response
}

/// The denial of a rule's authorization service, as it worded it. A gRPC caller gets its body as message.
pub(crate) fn denied(
    denial: Denial,
    cluster: Arc<str>,
    rule: Provenance,
    protocol: Protocol,
) -> Response<ResponseBody> {
    let Denial { status, mut headers, body } = denial;
    let error = ClientError::Denied { cluster, status };
    let mut response = local(error.status(), error.grpc_status(), body, protocol);
    tracing::debug!(%rule, "request failed: {error}");
    match protocol {
        Protocol::Grpc => [CONTENT_TYPE, CONTENT_ENCODING].iter().for_each(|name| drop(headers.remove(name))),
        Protocol::Http => drop(response.headers_mut().remove(CONTENT_TYPE)),
    }
    response.headers_mut().extend(headers);
    response.extensions_mut().insert::<ClientError>(error);
    response.extensions_mut().insert::<Provenance>(rule);
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
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The answer to a browser's preflight.
pub(crate) fn preflight(headers: HeaderMap) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::local(Bytes::new()));
    *response.headers_mut() = headers;
    response
}

fn local(status: StatusCode, grpc_status: u8, text: Bytes, protocol: Protocol) -> Response<ResponseBody> {
    reply(status, grpc_status, text, protocol == Protocol::Grpc).map(ResponseBody::local)
}

/// By this callers behind Envoy tell that nobody was asked.
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn an_http_caller_gets_status_text_and_the_error_itself() {
        let host: Arc<str> = "reviews:9080".into();
        let response = refuse(
            ClientError::NoRoute { host, documents: "VirtualService/default/reviews".into() }.into(),
            Protocol::Http,
        );
        assert_eq!(response.status(), 404);
        assert!(matches!(response.extensions().get(), Some(ClientError::NoRoute { .. })));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "reviews:9080: no rule of VirtualService/default/reviews matches the request");
    }

    #[tokio::test]
    async fn the_rule_that_was_followed_is_named() {
        let rule = Provenance {
            document: Some("VirtualService/default/reviews".into()),
            rule: Some("http[1]".into()),
            name: None,
            at: Some("reviews.yaml:14".into()),
        };
        let response =
            refuse(Failure { error: ClientError::Deadline, rule: Some(rule.clone()) }, Protocol::Http);
        assert_eq!(response.extensions().get(), Some(&rule));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            "upstream request timeout, by VirtualService/default/reviews http[1] (reviews.yaml:14)"
        );
    }

    #[test]
    fn a_grpc_caller_gets_trailers_only() {
        let response = refuse(ClientError::Deadline.into(), Protocol::Grpc);
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
