//! The request as policy and application both see it: one path, one host, no header that only the mesh may set, and no way out
//! of HTTP but WebSocket.

use http::HeaderMap;
use http::header::HeaderName;
use http::request::Parts;
use mesh_core::authz::InboundHttp;
use mesh_core::canonical::{NotCanonical, PathNormalization, canonicalize_uri, inbound_authority};

use crate::upgrade;

/// Makes the head of a request canonical in place and hands out what policy may look at.
///
/// # Errors
/// Where path or host have no one meaning.
pub(crate) fn canonicalize<'a>(
    parts: &'a mut Parts,
    received: &'a http::Uri,
    normalization: PathNormalization,
) -> Result<InboundHttp<'a>, NotCanonical> {
    strip_reserved(&mut parts.headers);
    upgrade::strip(parts);
    let path = canonicalize_uri(&mut parts.uri, normalization)?;
    let authority = inbound_authority(received, &parts.headers)?;
    Ok(InboundHttp { method: &parts.method, authority, path, headers: &parts.headers })
}

/// Removes what a peer could only forge: our own headers, and Envoy's word about the client certificate.
fn strip_reserved(headers: &mut HeaderMap) {
    // One at a time: a header to strip is an attempt or a misconfiguration, and as good as never there.
    while let Some(name) = headers.keys().find(|name| is_reserved(name)).cloned() {
        headers.remove(name);
    }
}

fn is_reserved(name: &HeaderName) -> bool {
    name.as_str().starts_with(RESERVED_PREFIX) || name == FORWARDED_CLIENT_CERTIFICATE
}

const RESERVED_PREFIX: &str = "x-mesh-";
const FORWARDED_CLIENT_CERTIFICATE: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, headers: &[(&str, &str)], expected: Option<(&str, &str)>) {
        let mut request = http::Request::get(uri);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let (mut parts, ()) = request.body(()).expect("the test's request").into_parts();
        let received = parts.uri.clone();
        let seen = canonicalize(&mut parts, &received, PathNormalization::Base).ok();
        assert_eq!(seen.map(|http| (http.authority, http.path.as_str())), expected);
    }

    #[test]
    fn path_and_host_are_what_the_application_sees() {
        check("/a/../b?q=/../", &[("host", "reviews:9080")], Some(("reviews:9080", "/b")));
        check("http://reviews:9080/%61", &[], Some(("reviews:9080", "/a")));
    }

    #[test]
    fn two_meanings_are_refused() {
        check("/", &[], None);
        check("/", &[("host", "a"), ("host", "b")], None);
        check("/%00", &[("host", "a")], None);
    }

    #[test]
    fn reserved_headers_are_stripped() {
        let mut headers = HeaderMap::new();
        for name in ["x-mesh-decision", "x-mesh-peer", "x-forwarded-client-cert", "end-user"] {
            headers.append(name, "value".parse().expect("value"));
        }
        strip_reserved(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("end-user"));
    }
}
