//! One HTTP call to another service: by name, through the mesh, answered in JSON.

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use mesh_client::MeshClient;
use serde::de::DeserializeOwned;
use tower::ServiceExt;

/// Why there is no answer that could be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("{url} answered {status}: {body}")]
    Status { url: String, status: StatusCode, body: String },
    #[error("{url}: the answer broke off: {source}")]
    Body { url: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{url}: the answer is not what was asked for: {source}")]
    Json { url: String, source: serde_json::Error },
    #[error("{url} is no URL that can be asked: {source}")]
    Request { url: String, source: http::Error },
}

/// Asks `url` on behalf of `end_user`, whose name goes along as policies and routes know it, for JSON.
pub(crate) async fn get<T: DeserializeOwned>(
    client: &MeshClient,
    url: &str,
    end_user: Option<&str>,
) -> Result<T, CallError> {
    let body = bytes(client, url, end_user).await?;
    serde_json::from_slice(&body).map_err(|source| CallError::Json { url: url.to_owned(), source })
}

/// The same, whatever the answer is made of.
pub(crate) async fn bytes(
    client: &MeshClient,
    url: &str,
    end_user: Option<&str>,
) -> Result<Bytes, CallError> {
    let mut request = Request::get(url);
    if let Some(end_user) = end_user {
        request = request.header(END_USER, end_user);
    }
    let url = url.to_owned();
    let request = match request.body(Empty::<Bytes>::new()) {
        Ok(request) => request,
        Err(source) => return Err(CallError::Request { url, source }),
    };
    let Ok(response) = client.clone().oneshot(request).await;
    let status = response.status();
    let body = match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(source) => return Err(CallError::Body { url, source }),
    };
    match status {
        StatusCode::OK => Ok(body),
        _ => Err(CallError::Status { url, status, body: String::from_utf8_lossy(&body).into_owned() }),
    }
}

/// Carries the name of the user who is logged in from service to service.
pub(crate) const END_USER: &str = "end-user";
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
