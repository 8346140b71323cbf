//! Cases that this mesh answers otherwise on purpose, or that cannot be asked of it, each with the reason.

/// Why a case is excepted. `*` at a name's end stands for any end.
pub(super) fn reason(corpus: &str, name: &str) -> Option<&'static str> {
    let listed = EXCEPTIONS.iter().find(|(of, pattern, _)| *of == corpus && covers(pattern, name));
    listed.map(|(_, _, reason)| *reason)
}

fn covers(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

/// Corpus, case, reason.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "gateway-api-conformance",
        "HTTPRouteBackendProtocolWebSocket *",
        "explain's contract has no protocol for it",
    ),
    ("gateway-api-conformance", "MeshFrontendHostname *", BY_HOST),
    ("http2-frames", "error/goaway-frame-size.json", FRAME_SIZE),
    ("http2-frames", "error/ping-frame-size.json", FRAME_SIZE),
    ("http2-frames", "error/priority-frame-size.json", FRAME_SIZE),
    ("http2-frames", "error/settings-frame-ack-size.json", FRAME_SIZE),
    ("http2-frames", "error/window_update-frame-size.json", FRAME_SIZE),
    (
        "istio-crd-validation",
        "serviceentry-valid [0] full",
        "`001:db8::` without quotes is a mapping in YAML",
    ),
    ("istio-locality-retry", "outbound_retry codes add retriable-status-codes", UNKNOWN_CONDITION),
    ("istio-locality-retry", "outbound_retry 1000 is not a code", UNKNOWN_CONDITION),
    (
        "istio-locality-retry",
        "outbound_retry consistent hash keeps the host",
        "a hashed retry goes to the key's next endpoint: the first one has just failed",
    ),
    (
        "istio-locality-retry",
        "inbound_retry *",
        "between a server of the mesh and its application there is nobody to ask again",
    ),
    ("istio-peer-authn", "matrix https to auto port PERMISSIVE", UNDECLARED),
    ("istio-peer-authn", "matrix passthrough https PERMISSIVE", UNDECLARED),
    (
        "llhttp-requests",
        "CRLF between requests, explicit `close`",
        "the first request is good; what follows it is never read",
    ),
    (
        "llhttp-requests",
        "Disallow UTF-8 in URI path in strict mode",
        "made canonical: policy and application see its bytes percent-encoded",
    ),
    (
        "llhttp-requests",
        "Missing CR between headers",
        "RFC 9112, 2.2 lets a line end with LF alone, and both requests are judged as they are read",
    ),
    (
        "llhttp-requests",
        "No extension after semicolon",
        "an empty chunk extension has no meaning to differ in",
    ),
    ("istio-vs-delegate", "regex uri in delegate and root does not have uri", EXPRESSION),
    ("istio-vs-delegate", "regex uri in delegate and root has conflicting uri match", EXPRESSION),
    ("istio-vs-merge", "unknown port 8080 (virtualservice)", ANY_PORT),
    ("istio-vs-merge", "unknown port 8080 match 8080 (virtualservice)", ANY_PORT),
    (
        "istio-vs-merge",
        "wildcard and explicit unknown (virtualservice)",
        "null says that no virtual host is called `*.example.tld`; a request for such a host meets `*.tld`",
    ),
];

/// ISTIO-FIELDS §2.5.
const UNKNOWN_CONDITION: &str = "a condition that nobody knows is refused, as by Istio's own validation";
/// The mesh's servers of requests terminate TLS themselves, so that there is no application behind to pass foreign TLS to.
const UNDECLARED: &str =
    "a server of requests in the mesh's own process terminates TLS on every port that is not declared TCP";
/// An optional feature of the Gateway API (`MeshClusterIPMatching`), which Istio does not have either.
const BY_HOST: &str =
    "the Host header says which host of the mesh is meant, not the address that was dialled";
/// The function behind the case is never asked such a thing.
const EXPRESSION: &str = "a delegate that matches an expression is refused, as by Istio's own validation";
/// The connection ends either way.
const FRAME_SIZE: &str =
    "h2 ends the connection with PROTOCOL_ERROR where the standard says FRAME_SIZE_ERROR";
/// DESIGN §5.
const ANY_PORT: &str =
    "a VirtualService's host without a service is routed on any port, as there is no listener to miss";
