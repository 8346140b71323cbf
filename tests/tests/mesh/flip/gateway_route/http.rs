//! What only an HTTPRoute has.

use super::super::ask::{Ask, See, get, grpc};
use super::super::case::{Case, case};
use super::super::teller::{FAIL, WAIT};
use super::filter::twice;
use super::{HTTP, ONE};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = matches();
    cases.extend(redirects());
    cases.extend(rewrites());
    cases.extend(cors());
    cases.extend(authorization());
    cases.extend(patience());
    cases
}

fn matches() -> Vec<Case> {
    let row = |field: &str, part: &str, ask: Ask| {
        case(format!("rules[].matches[].{field}"), HTTP.matching(part), ask, "one", "two")
    };
    let q = || get("/?q=abc");
    vec![
        row("path.type", "path: {type: <<PathPrefix -> Exact>>, value: /a}", get("/a/x")),
        row("path.value", "path: {value: <</a -> /b>>}", get("/a/x")),
        row(
            "queryParams[].type",
            "queryParams: [{type: <<RegularExpression -> Exact>>, name: q, value: a.*}]",
            q(),
        ),
        row("queryParams[].name", "queryParams: [{name: <<q -> r>>, value: abc}]", q()),
        row("queryParams[].value", "queryParams: [{name: q, value: <<abc -> abd>>}]", q()),
        row("method", "method: <<POST -> GET>>", get("/").method("POST")),
    ]
}

fn redirects() -> Vec<Case> {
    let row = |field: &str, part: &str, base: &str, flipped: &str| {
        let filter = format!("filters: [{{type: RequestRedirect, requestRedirect: {{{part}}}}}]");
        let documents = HTTP.rule(&format!("matches: [{{path: {{value: /a}}}}], {filter}"));
        let see = if field == "statusCode" { See::Status } else { See::Header("location") };
        case(
            format!("rules[].filters[].requestRedirect.{field}"),
            documents,
            get("/a/x").see(see),
            base,
            flipped,
        )
    };
    let path = |kind: &str, part: &str| format!("hostname: b.example, path: {{type: {kind}, {part}}}");
    let full = path("ReplaceFullPath", "replaceFullPath: <</b -> /c>>");
    let prefix = path("ReplacePrefixMatch", "replacePrefixMatch: <</b -> /c>>");
    vec![
        row(
            "scheme",
            "hostname: b.example, scheme: <<https -> http>>",
            "https://b.example/a/x",
            "http://b.example/a/x",
        ),
        row(
            "hostname",
            "hostname: <<b -> c>>.example",
            "http://b.example:9080/a/x",
            "http://c.example:9080/a/x",
        ),
        row("path.replaceFullPath", &full, "http://b.example:9080/b", "http://b.example:9080/c"),
        row("path.replacePrefixMatch", &prefix, "http://b.example:9080/b/x", "http://b.example:9080/c/x"),
        row(
            "port",
            "hostname: b.example, port: <<81 -> 82>>",
            "http://b.example:81/a/x",
            "http://b.example:82/a/x",
        ),
        row("statusCode", "hostname: b.example, statusCode: <<302 -> 307>>", "302", "307"),
    ]
}

fn rewrites() -> Vec<Case> {
    let row = |field: &str, part: &str, see: See, base: &str, flipped: &str| {
        let filter = format!("type: URLRewrite, urlRewrite: {{{part}}}");
        twice(HTTP, &format!("urlRewrite.{field}"), &filter, see, base, flipped)
    };
    let full = "path: {type: ReplaceFullPath, replaceFullPath: <</b -> /c>>}";
    let prefix = "path: {type: ReplacePrefixMatch, replacePrefixMatch: <</b -> /c>>}";
    let rows = [
        row("hostname", "hostname: <<b -> c>>.example", See::Host, "b.example", "c.example"),
        row("path.replaceFullPath", full, See::Path, "/b", "/c"),
        row("path.replacePrefixMatch", prefix, See::Path, "/b/", "/c/"),
    ];
    rows.into_iter().flatten().collect()
}

fn cors() -> Vec<Case> {
    let row = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
        let documents = HTTP.rule(&format!("filters: [{{type: CORS, cors: {{{part}}}}}], {ONE}"));
        case(format!("rules[].filters[].cors.{field}"), documents, ask, base, flipped)
    };
    let told = |name| get("/").header("origin", "https://a").see(See::Header(name));
    let first = |name| told(name).method("OPTIONS").header("access-control-request-method", "PUT");
    let with = |part: &str| format!("allowOrigins: ['https://a'], {part}");
    let origin = told("access-control-allow-origin");
    let credentials = told("access-control-allow-credentials");
    let exposed = told("access-control-expose-headers");
    let (methods, headers) = (first("access-control-allow-methods"), first("access-control-allow-headers"));
    vec![
        row("allowOrigins", "allowOrigins: ['https://<<a -> b>>']", origin, "https://a", "-"),
        row("allowMethods", &with("allowMethods: [<<PUT -> GET>>]"), methods, "PUT", "GET"),
        row("allowHeaders", &with("allowHeaders: [<<x-a -> x-b>>]"), headers, "x-a", "x-b"),
        row("exposeHeaders", &with("exposeHeaders: [<<x-a -> x-b>>]"), exposed, "x-a", "x-b"),
        row("maxAge", &with("maxAge: <<60 -> 120>>"), first("access-control-max-age"), "60", "120"),
        row("allowCredentials", &with("allowCredentials: <<true -> false>>"), credentials, "true", "-"),
    ]
}

/// The mirrors' member authorizes here: it says yes, names itself, and is seen where it is told the call.
fn authorization() -> Vec<Case> {
    let row = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
        let filter = format!("filters: [{{type: ExternalAuth, externalAuth: {{{part}}}}}]");
        let documents = format!("{}{}", HTTP.rule(&format!("{filter}, {ONE}")), HTTP.grant());
        case(format!("rules[].filters[].externalAuth.{field}"), documents, ask, base, flipped)
    };
    let asks = |backend: &str| {
        format!("protocol: HTTP, http: {{allowedHeaders: [x-call]}}, backendRef: {{{backend}}}")
    };
    let with =
        |part: &str| format!("protocol: HTTP, backendRef: {{name: copy, port: 9080}}, http: {{{part}}}");
    let asked = || get("/a").see(See::Asked);
    let denied = || get("/a").header(FAIL, "401").see(See::Path);
    let far = asks("name: far, namespace: <<far -> default>>, port: 9080");
    let path = with("path: <</b -> /c>>, allowedHeaders: [x-call, x-fail]");
    let told = "protocol: GRPC, backendRef: {name: copy, port: 9080}, \
                grpc: {allowedHeaders: [x-call, x-fail, <<x-a -> x-b>>]}";
    let cut = "protocol: HTTP, backendRef: {name: copy, port: 9080}, \
               http: {allowedHeaders: [x-call, x-fail]}, forwardBody: {maxSize: <<2 -> 4>>}";
    let to_copy = "protocol: <<HTTP -> GRPC>>, backendRef: {name: copy, port: 9080}";
    vec![
        row("protocol", to_copy, get("/").see(See::Got("x-who")), "copy", "-"),
        row("grpc.allowedHeaders", told, denied().header("x-a", "1").see(See::Got("x-a")), "1", "-"),
        row(
            "forwardBody.maxSize",
            cut,
            grpc("/a").header(FAIL, "401").see(See::Got("content-length")),
            "2",
            "4",
        ),
        row("backendRef.name", &asks("name: <<copy -> two>>, port: 9080"), asked(), "copy,one", "one,two"),
        row("backendRef.namespace", &far, get("/"), "one", "403"),
        row(
            "backendRef.port",
            &asks("name: copy, port: <<9080 -> 9090>>"),
            asked(),
            "copy,one",
            "copy:9090,one",
        ),
        row("http.path", &path, denied(), "/b/a", "/c/a"),
        row("http.allowedHeaders", &with("allowedHeaders: [<<x-call -> x-b>>]"), asked(), "copy,one", "one"),
        row(
            "http.allowedResponseHeaders",
            &with("allowedResponseHeaders: [<<x-who -> x-b>>]"),
            get("/").see(See::Got("x-who")),
            "copy",
            "-",
        ),
    ]
}

fn patience() -> Vec<Case> {
    let row = |field: &str, part: &str, ask: Ask, base: &str, flipped: &str| {
        case(format!("rules[].{field}"), HTTP.rule(&format!("{part}, {ONE}")), ask, base, flipped)
    };
    let fails = || get("/").header(FAIL, "503").see(See::Asked);
    let waits = || get("/").header(WAIT, "300");
    let backoff = "retry: {codes: [503], attempts: 1, backoff: <<800ms -> 1ms>>}";
    vec![
        row("timeouts.request", "timeouts: {request: <<100ms -> 5s>>}", waits(), "504", "one"),
        row("timeouts.backendRequest", "timeouts: {backendRequest: <<100ms -> 5s>>}", waits(), "504", "one"),
        row("retry.codes", "retry: {attempts: 1, codes: [<<503 -> 504>>]}", fails(), "one,one", "one"),
        row(
            "retry.attempts",
            "retry: {codes: [503], attempts: <<2 -> 1>>}",
            fails(),
            "one,one,one",
            "one,one",
        ),
        row("retry.backoff", backoff, fails().see(See::Time), "slow", "quick"),
    ]
}
