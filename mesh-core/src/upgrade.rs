//! The one protocol that a connection of HTTP/1.1 may be switched to: WebSocket.
//!
//! Whoever agrees to leave HTTP on a connection reads bytes that nobody judges any more. So both sides let pass what is exactly
//! a WebSocket handshake, and any other `upgrade` (`h2c` above all, by which requests would go past the policy) is as if it
//! had not been written: HTTP lets a server ignore it.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, Version};

/// The protocol's name in `upgrade`.
pub const WEBSOCKET: &str = "websocket";

/// Whether a request is a WebSocket handshake (RFC 6455, 4.1): a GET of HTTP/1.1 that names this protocol and no other, and
/// announces no body, which could be read as the first bytes of the other protocol.
pub fn asks_for_websocket(head: &Parts) -> bool {
    head.version == Version::HTTP_11
        && head.method == Method::GET
        && names_websocket(&head.headers)
        && !head.headers.contains_key(TRANSFER_ENCODING)
        && head.headers.get_all(CONTENT_LENGTH).iter().all(|length| length == "0")
}

/// Whether headers agree on WebSocket alone, in a question or in a 101.
pub fn names_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = headers.get_all(UPGRADE).iter();
    let only = match (protocols.next(), protocols.next()) {
        (Some(protocol), None) => protocol.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()),
        _ => false,
    };
    only && headers.get_all(CONNECTION).iter().any(|named| {
        let mut names = named.as_bytes().split(|byte| *byte == b',');
        names.any(|name| name.trim_ascii().eq_ignore_ascii_case(UPGRADE.as_str().as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[track_caller]
    fn check(request: http::request::Builder, expected: bool) {
        let (head, ()) = request.body(()).expect("the test's request").into_parts();
        assert_eq!(asks_for_websocket(&head), expected, "{head:?}");
    }

    #[test]
    fn a_websocket_handshake_is_known_however_it_is_written() {
        let get = || Request::get("/");
        check(get().header("connection", "Upgrade").header("upgrade", "websocket"), true);
        check(get().header("connection", "keep-alive, upgrade").header("upgrade", "WebSocket"), true);
        let two_lines = get().header("connection", "keep-alive").header("connection", "Upgrade");
        check(two_lines.header("upgrade", "websocket"), true);
    }

    #[test]
    fn whatever_else_asks_for_an_upgrade_is_not_one() {
        let asking = |method: Method, protocol: &'static str| {
            Request::builder().method(method).header("connection", "upgrade").header("upgrade", protocol)
        };
        check(asking(Method::GET, "websocket"), true);
        for protocol in ["h2c", "websocket, h2c", "h2c, websocket", "websocket/13", "", "TLS/1.3"] {
            check(asking(Method::GET, protocol), false);
        }
        check(asking(Method::GET, "websocket").header("upgrade", "h2c"), false);
        check(asking(Method::POST, "websocket"), false);
        check(asking(Method::GET, "websocket").version(Version::HTTP_10), false);
        check(asking(Method::GET, "websocket").version(Version::HTTP_2), false);
        check(Request::get("/").header("upgrade", "websocket"), false);
        check(Request::get("/").header("connection", "x-upgrade").header("upgrade", "websocket"), false);
        check(Request::get("/").header("connection", "upgrade"), false);
        check(asking(Method::GET, "websocket").header("content-length", "0"), true);
        check(asking(Method::GET, "websocket").header("content-length", "5"), false);
        check(asking(Method::GET, "websocket").header("transfer-encoding", "chunked"), false);
    }
}
