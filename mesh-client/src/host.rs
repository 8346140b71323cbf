//! Which host a request is for, and what the mesh knows of it.
//!
//! What is dialled decides, unless the `host` header names a host of the mesh on the dialled port: behind a sidecar the header
//! is all that routing sees, and programs written for one rely on it.

use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, header};
use mesh_core::Mesh;
use mesh_core::canonical::{HostPort, NotAHost};
use mesh_core::mesh::OutboundTrafficPolicy;
use mesh_core::snapshot::{HostConfig, HostState};
use tokio::time::Instant;

use crate::error::ClientError;

/// Where a request is to be routed.
#[derive(Debug)]
pub(crate) enum Destination {
    /// By the rules of a host of the mesh.
    Mesh(Arc<HostConfig>),
    /// Out of the mesh, as it is.
    Outside(HostPort),
}

/// The host that the request dials: its URI's, else, as in a request that came over HTTP/1.1, its `host` header's.
pub(crate) fn dialled(uri: &Uri, headers: &HeaderMap) -> Result<HostPort, ClientError> {
    let port = if is_https(uri) { 443 } else { 80 };
    let said = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match uri.authority().map(Authority::as_str).or_else(said) {
        Some(authority) => Ok(HostPort::parse(authority, port)?),
        None => Err(NotAHost { text: uri.to_string(), reason: "the request names no host" }.into()),
    }
}

pub(crate) fn is_https(uri: &Uri) -> bool {
    uri.scheme() == Some(&http::uri::Scheme::HTTPS)
}

/// The rules of a mesh host that the URI writes as the mesh does: the usual case, which costs no allocation.
pub(crate) fn known(mesh: &Mesh, uri: &Uri, headers: &HeaderMap) -> Option<Arc<HostConfig>> {
    if is_https(uri) || headers.contains_key(header::HOST) {
        return None;
    }
    match mesh.host_as_written(uri.authority()?.as_str())? {
        HostState::Ready(config) => Some(config),
        HostState::Absent | HostState::Refused => None,
    }
}

/// The destination: known at once, but for the first call to a host, which waits at most `wait` for its configuration.
pub(crate) async fn find(
    mesh: &Mesh,
    dialled: HostPort,
    headers: &HeaderMap,
    wait: Duration,
) -> Result<Destination, ClientError> {
    let end = Instant::now() + wait;
    if let Some(said) = said_on_port(headers, &dialled)
        && let HostState::Ready(config) = mesh.resolve(&said, wait).await?
    {
        return Ok(Destination::Mesh(config));
    }
    // Both names share the one wait.
    match mesh.resolve(&dialled, end.saturating_duration_since(Instant::now())).await? {
        HostState::Ready(config) => Ok(Destination::Mesh(config)),
        HostState::Absent if mesh.settings().outbound_traffic_policy == OutboundTrafficPolicy::AllowAny => {
            Ok(Destination::Outside(dialled))
        }
        HostState::Absent | HostState::Refused => {
            Err(ClientError::OutsideRefused { host: dialled.as_str().into() })
        }
    }
}

/// The `host` header's host on the dialled port, where it is another one than the dialled.
fn said_on_port(headers: &HeaderMap, dialled: &HostPort) -> Option<HostPort> {
    let said = headers.get(header::HOST)?.to_str().ok()?;
    if said == dialled.as_str() {
        return None;
    }
    let mut said = HostPort::parse(said, dialled.port()).ok()?;
    if said.port() != dialled.port() {
        said = HostPort::parse(&format!("{}:{}", said.host(), dialled.port()), dialled.port()).ok()?;
    }
    (said != *dialled).then_some(said)
}

/// Makes the URI say what the request calls its host: the `host` header, else the authority. From here on there is one place
/// that says it, which connections write as their protocol wants.
pub(crate) fn settle_authority(
    head: &mut http::request::Parts,
    dialled: Option<&Authority>,
) -> Result<(), ClientError> {
    let authority = match (head.headers.remove(header::HOST), dialled) {
        (Some(said), _) => authority_of(&said)?,
        (None, Some(dialled)) => dialled.clone(),
        (None, None) if head.uri.scheme().is_some() => return Ok(()),
        (None, None) => return Err(ClientError::Unsendable("it names no host".into())),
    };
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.scheme = Some(http::uri::Scheme::HTTP);
    parts.authority = Some(authority);
    parts.path_and_query.get_or_insert_with(|| http::uri::PathAndQuery::from_static("/"));
    head.uri =
        Uri::from_parts(parts).map_err(|_| ClientError::Unsendable("its URI cannot be written".into()))?;
    Ok(())
}

fn authority_of(value: &HeaderValue) -> Result<Authority, ClientError> {
    Authority::try_from(value.as_bytes())
        .map_err(|_| ClientError::Unsendable("its `host` header is no host".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, host: Option<&'static str>) -> http::request::Parts {
        let mut request = http::Request::get(uri);
        if let Some(host) = host {
            request = request.header(header::HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_uri_says_what_is_dialled_and_the_header_where_it_says_nothing() {
        let check = |uri: &str, host, expected: Option<&str>| {
            let head = head(uri, host);
            let dialled = dialled(&head.uri, &head.headers).ok();
            assert_eq!(dialled.as_ref().map(HostPort::as_str), expected, "{uri}");
        };
        check("http://Reviews:9080/a", None, Some("reviews:9080"));
        check("http://reviews/a", Some("ratings"), Some("reviews:80"));
        check("https://reviews/a", None, Some("reviews:443"));
        check("/a", Some("reviews:9080"), Some("reviews:9080"));
        check("/a", None, None);
    }

    #[test]
    fn the_host_header_counts_on_the_dialled_port_only() {
        let check = |host, expected: Option<&str>| {
            let dialled = HostPort::parse("reviews:9080", 80).unwrap();
            let said = said_on_port(&head("/", host).headers, &dialled);
            assert_eq!(said.as_ref().map(HostPort::as_str), expected, "{host:?}");
        };
        check(None, None);
        check(Some("reviews"), None);
        check(Some("reviews:9080"), None);
        check(Some("REVIEWS"), None);
        check(Some("ratings"), Some("ratings:9080"));
        check(Some("ratings:1"), Some("ratings:9080"));
    }

    #[test]
    fn the_authority_that_is_sent_stands_in_the_uri() {
        let authority = Authority::from_static("channel:1");
        let check = |uri: &str, host, channel, expected: &str| {
            let mut head = head(uri, host);
            settle_authority(&mut head, channel).unwrap();
            assert_eq!(head.uri.to_string(), expected);
            assert!(head.headers.is_empty());
        };
        check("http://reviews:9080/a?b", None, None, "http://reviews:9080/a?b");
        check("http://reviews:9080/a", Some("ratings"), None, "http://ratings/a");
        check("/a", None, Some(&authority), "http://channel:1/a");
        check("/a", Some("ratings:2"), Some(&authority), "http://ratings:2/a");
    }
}
