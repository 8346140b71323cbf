//! The mesh for code that speaks [`reqwest`]: requests are written as before, and sent through a [`MeshClient`].
//!
//! ```no_run
//! use mesh_client::{MeshClient, SendThrough};
//!
//! # async fn example(mesh: mesh_core::Mesh, http: reqwest::Client) -> reqwest::Result<()> {
//! let mesh = MeshClient::new(&mesh);
//! let answer = http
//!     .post("http://reviews:9080/reviews")
//!     .bearer_auth("token")
//!     .body("five stars")
//!     .send_through(&mesh) // instead of .send()
//!     .await?
//!     .error_for_status()?;
//! println!("{}", answer.text().await?);
//! # Ok(())
//! # }
//! ```
//! What the request itself says holds: method, URL, headers, body, authentication, query, [`version`](reqwest::RequestBuilder::version). Bodies are streams in both
//! directions. Its [`timeout`](reqwest::RequestBuilder::timeout) is a deadline of the caller's for head and body, beside the
//! route's, and is told to the next hop. [`Response::upgrade`](reqwest::Response::upgrade) works for WebSockets.
//!
//! # Limits
//!
//! The [`reqwest::Client`] only writes the request; what it would do on the way belongs to the mesh or is not done:
//!
//! * its connections, proxies, TLS, name look-up and `https_only` play no part; `https://` is refused as everywhere in the mesh;
//! * its default headers are not added, neither `user_agent` nor reqwest's own `accept: */*`; a client does not show them to others;
//! * its `timeout` and `read_timeout` do not hold; the request's own does, and the route's;
//! * redirects are answers, as with `redirect::Policy::none()`; routes of the mesh retry, `retry` policies of the client do not;
//! * its cookie store is neither asked nor told, and nothing is decompressed, nor asked for;
//! * failures are responses (503, 504 …), with the [`ClientError`](crate::ClientError) in [`Response::extensions`](reqwest::Response::extensions), as for every
//!   `MeshClient`; `Err` is a request that could not be built. A body that misses the deadline is an error with
//!   [`is_timeout`](reqwest::Error::is_timeout);
//! * trailers cannot be seen, and [`Response::remote_addr`](reqwest::Response::remote_addr) is `None`.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use http_body_util::BodyExt;
use mesh_core::context::RequestContext;
use reqwest::ResponseBuilderExt;
use tower::Service;

use crate::body::{BodyError, BoxError, ResponseBody};
use crate::client::MeshClient;

/// Sends reqwest's requests through the mesh; see the [module](self) for what holds of them.
pub trait SendThrough {
    /// Sends the request, and waits for the head of the response.
    ///
    /// # Errors
    /// Where the request cannot be built. What goes wrong on the way is a response.
    fn send_through(
        self,
        mesh: &MeshClient,
    ) -> impl Future<Output = reqwest::Result<reqwest::Response>> + Send;
}

impl SendThrough for reqwest::RequestBuilder {
    async fn send_through(self, mesh: &MeshClient) -> reqwest::Result<reqwest::Response> {
        self.build()?.send_through(mesh).await
    }
}

impl SendThrough for reqwest::Request {
    async fn send_through(self, mesh: &MeshClient) -> reqwest::Result<reqwest::Response> {
        let (url, timeout) = (self.url().clone(), self.timeout().copied());
        let request = http::Request::<reqwest::Body>::try_from(self)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let calling = async { mesh.clone().call(request).await };
        let answer = match deadline {
            None => calling.await,
            Some(deadline) => within(deadline).scope(calling).await,
        };
        let response = answer.unwrap_or_else(|never: Infallible| match never {});
        Ok(as_reqwest(response, url))
    }
}

/// The context of the task, which the request inherits, with this deadline at the latest.
fn within(deadline: Instant) -> Arc<RequestContext> {
    let mut context = RequestContext::current().map(Arc::unwrap_or_clone).unwrap_or_default();
    context.deadline = context.deadline.into_iter().chain([deadline]).min();
    Arc::new(context)
}

fn as_reqwest(response: http::Response<ResponseBody>, url: reqwest::Url) -> reqwest::Response {
    let mut response = response.map(|body| reqwest::Body::wrap(body.map_err(told)));
    // reqwest keeps a response's URL in an extension that only its builder can make.
    let with_url = http::Response::builder().url(url).body(()).map(|it| it.into_parts().0.extensions);
    response.extensions_mut().extend(with_url.unwrap_or_default());
    response.into()
}

/// As reqwest knows a timeout again.
fn told(error: BodyError) -> BoxError {
    match error {
        BodyError::Deadline => io::Error::new(io::ErrorKind::TimedOut, error).into(),
        error => error.into(),
    }
}
