//! What an outbound request inherits from the inbound one that it serves: trace context and propagated headers.

use http::{HeaderMap, HeaderValue, header};
use mesh_core::context::RequestContext;
use mesh_core::upgrade::WEBSOCKET;

use crate::connection::Outgoing;
use crate::upgrade::Upgrade;

/// Adds the context's headers; what the caller set itself stays. A trace goes over whole or not at all, since `tracestate` means
/// nothing beside another `traceparent`.
pub(crate) fn inherit(context: &RequestContext, headers: &mut HeaderMap) {
    if !context.trace.is_empty() && !context.trace.keys().any(|name| headers.contains_key(name)) {
        extend(headers, &context.trace);
    }
    for name in context.propagated.keys() {
        if !headers.contains_key(name) {
            for value in context.propagated.get_all(name) {
                headers.append(name, value.clone());
            }
        }
    }
}

fn extend(headers: &mut HeaderMap, inherited: &HeaderMap) {
    for (name, value) in inherited {
        headers.append(name, value.clone());
    }
}

/// Removes what concerns one hop alone (RFC 9110, 7.6.1), so that it neither misleads the next hop nor breaks HTTP/2's rules. What
/// asks for an upgrade that passes stays, in the one way of writing it that rules may match.
pub(crate) fn strip_hop_by_hop(request: &mut Outgoing) {
    // One look over what there is, since hardly any request has any of them.
    if !request.head.headers.iter().any(|(name, value)| is_of_one_hop(name.as_str(), value)) {
        return;
    }
    request.upgrade = Upgrade::of(request);
    let headers = &mut request.head.headers;
    strip(headers);
    if request.upgrade == Upgrade::WebSocket {
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static(WEBSOCKET));
    }
}

fn strip(headers: &mut HeaderMap) {
    if let Some(named) = headers.remove(header::CONNECTION)
        && let Ok(named) = named.to_str()
    {
        for name in named.split(',') {
            headers.remove(name.trim());
        }
    }
    for name in OF_ONE_HOP {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|value| value != "trailers") {
        headers.remove(header::TE);
    }
}

fn is_of_one_hop(name: &str, value: &HeaderValue) -> bool {
    match name {
        "te" => value != "trailers",
        name => name == "connection" || OF_ONE_HOP.contains(&name),
    }
}

const OF_ONE_HOP: [&str; 4] = ["keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::RequestBody;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_the_caller_set_wins_over_what_is_inherited() {
        let context = RequestContext {
            trace: headers(&[("traceparent", "inbound"), ("tracestate", "a=1")]),
            propagated: headers(&[("baggage", "k=1"), ("baggage", "l=2")]),
            ..RequestContext::default()
        };
        let check = |own: &[(&'static str, &'static str)], expected: &[(&'static str, &'static str)]| {
            let mut outbound = headers(own);
            inherit(&context, &mut outbound);
            assert_eq!(outbound, headers(expected));
        };
        check(
            &[],
            &[("traceparent", "inbound"), ("tracestate", "a=1"), ("baggage", "k=1"), ("baggage", "l=2")],
        );
        check(&[("traceparent", "own")], &[("traceparent", "own"), ("baggage", "k=1"), ("baggage", "l=2")]);
        check(
            &[("baggage", "own")],
            &[("baggage", "own"), ("traceparent", "inbound"), ("tracestate", "a=1")],
        );
    }

    #[test]
    fn headers_of_one_hop_do_not_travel() {
        let stripped = |pairs: &[(&'static str, &'static str)]| {
            let (mut head, ()) = http::Request::get("/").body(()).unwrap().into_parts();
            head.headers = headers(pairs);
            let mut request = Outgoing::new(head, RequestBody::Empty);
            strip_hop_by_hop(&mut request);
            (request.head.headers, request.upgrade)
        };
        let ordinary = stripped(&[
            ("connection", "x-hop, keep-alive"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("x-end", "2"),
        ]);
        assert_eq!(ordinary, (headers(&[("x-end", "2")]), Upgrade::Nothing));
        let grpc = stripped(&[("te", "trailers")]);
        assert_eq!(grpc, (headers(&[("te", "trailers")]), Upgrade::Nothing));
        let http2 = stripped(&[
            ("connection", "upgrade, http2-settings"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
        ]);
        assert_eq!(http2, (HeaderMap::new(), Upgrade::Nothing));
        let websocket = stripped(&[
            ("connection", "keep-alive, upgrade, x-hop"),
            ("upgrade", "WebSocket"),
            ("x-hop", "1"),
            ("sec-websocket-version", "13"),
        ]);
        let kept =
            headers(&[("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "13")]);
        assert_eq!(websocket, (kept, Upgrade::WebSocket));
    }
}
