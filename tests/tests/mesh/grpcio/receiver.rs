//! A gRPC service of any method that says its name, and fails or keeps silent where a call asks for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::request::{CALL, FAILURES, SILENT};

/// An instance that answers with `name`. `failed` counts the failures of each call, wherever it comes.
pub(super) fn receiver(name: &'static str, failed: Arc<Mutex<HashMap<String, u32>>>) -> Router {
    Router::new().fallback(move |request: Request| {
        let failed = Arc::clone(&failed);
        async move {
            if request.uri().path().starts_with(SILENT) {
                std::future::pending::<()>().await;
            }
            if still_fails(request.headers(), &failed) {
                return refusal();
            }
            answer(name)
        }
    })
}

fn still_fails(headers: &HeaderMap, failed: &Mutex<HashMap<String, u32>>) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(wanted) = text(FAILURES).and_then(|count| count.parse::<u32>().ok()) else { return false };
    let call = text(CALL).unwrap_or_default().to_owned();
    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
    let count = failed.entry(call).or_default();
    *count += 1;
    *count <= wanted
}

/// UNAVAILABLE, with nothing before it.
fn refusal() -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-status", HeaderValue::from_static("14"));
    response
}

/// One message, the name as it is, and OK.
fn answer(name: &str) -> Response {
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(u32::try_from(name.len()).expect("names are short"));
    message.put_slice(name.as_bytes());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(message.freeze()), Frame::trailers(trailers)];
    let frames = frames.map(Ok::<Frame<Bytes>, std::convert::Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(stream::iter(frames))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
