//! What a rule does with a request: where it is sent, and as what; redirects and answers of the mesh's own.

use super::super::ask::{Ask, See, get};
use super::super::case::{Case, case};
use super::{ONE, rule, subsets};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = destinations();
    cases.extend(headers());
    cases.extend(redirects());
    cases.extend(answers());
    cases.extend(rewrites());
    cases
}

fn destinations() -> Vec<Case> {
    let row = |field: &str, routes: &str, ask: Ask, base: &str, flipped: &str| {
        let documents = rule(&format!("route: [{routes}]"));
        case(format!("http[].route[].{field}"), documents, ask, base, flipped)
    };
    let pair = format!("{}{}", rule("route: [{destination: {host: pair, subset: <<v1 -> v2>>}}]"), subsets());
    let port = "{destination: {host: one, port: {number: <<9080 -> 9090>>}}}";
    let weights = "{destination: {host: one}, weight: <<1 -> 0>>}, {destination: {host: two}, weight: 1}";
    let many = get("/").times(40).see(See::Tally);
    vec![
        row("destination.host", "{destination: {host: <<one -> two>>}}", get("/"), "one", "two"),
        case("http[].route[].destination.subset", pair, get("/"), "v1", "v2"),
        row("destination.port.number", port, get("/"), "one", "one:9090"),
        row("weight", weights, many, "one,two", "two"),
    ]
}

/// Of a rule, and of one of its destinations.
fn headers() -> Vec<Case> {
    let row = |name: &str, part: &str, see: See, base: &str, flipped: &str| {
        let ask = get("/").header("x-a", "a").see(see);
        let of_rule = rule(&format!("headers: {{{part}}}, {ONE}"));
        let of_route = rule(&format!("route: [{{destination: {{host: one}}, headers: {{{part}}}}}]"));
        [
            case(format!("http[].headers.{name}"), of_rule, ask.clone(), base, flipped),
            case(format!("http[].route[].headers.{name}"), of_route, ask, base, flipped),
        ]
    };
    let (got, told) = (See::Got("x-a"), See::Header("x-who"));
    let rows = [
        row("request.set", "request: {set: {x-a: <<b -> c>>}}", got, "b", "c"),
        row("request.add", "request: {add: {x-a: <<b -> c>>}}", got, "a,b", "a,c"),
        row("request.remove", "request: {remove: [<<x-a -> x-b>>]}", got, "-", "a"),
        row("response.set", "response: {set: {x-who: <<b -> c>>}}", told, "b", "c"),
        row("response.add", "response: {add: {x-who: <<b -> c>>}}", told, "one,b", "one,c"),
        row("response.remove", "response: {remove: [<<x-who -> x-b>>]}", told, "-", "one"),
    ];
    rows.into_iter().flatten().collect()
}

fn redirects() -> Vec<Case> {
    let row = |field: &str, part: &str, base: &str, flipped: &str| {
        let documents = rule(&format!("match: [{{uri: {{prefix: /a}}}}], redirect: {{{part}}}"));
        let ask = get("/a/x").see(See::Header("location"));
        case(format!("http[].redirect.{field}"), documents, ask, base, flipped)
    };
    let code = rule("redirect: {authority: b.example, redirectCode: <<302 -> 307>>}");
    let derived = "authority: b.example, derivePort: <<FROM_PROTOCOL_DEFAULT -> FROM_REQUEST_PORT>>";
    vec![
        row("uri", "authority: b.example, uri: <</b -> /c>>", "http://b.example/b", "http://b.example/c"),
        row(
            "prefixRewrite",
            "authority: b.example, prefixRewrite: <</b -> /c>>",
            "http://b.example/b/x",
            "http://b.example/c/x",
        ),
        row(
            "port",
            "authority: b.example, port: <<81 -> 82>>",
            "http://b.example:81/a/x",
            "http://b.example:82/a/x",
        ),
        row("derivePort", derived, "http://b.example/a/x", "http://b.example:9080/a/x"),
        row("authority", "authority: <<b -> c>>.example", "http://b.example/a/x", "http://c.example/a/x"),
        row(
            "scheme",
            "authority: b.example, scheme: <<https -> http>>",
            "https://b.example/a/x",
            "http://b.example/a/x",
        ),
        case("http[].redirect.redirectCode", code, get("/").see(See::Status), "302", "307"),
    ]
}

fn answers() -> Vec<Case> {
    let row = |field: &str, part: &str, see: See, base: &str, flipped: &str| {
        let documents = rule(&format!("directResponse: {{{part}}}"));
        case(format!("http[].directResponse.{field}"), documents, get("/").see(see), base, flipped)
    };
    vec![
        row("status", "status: <<418 -> 404>>", See::Status, "418", "404"),
        row("body.string", "status: 200, body: {string: <<tea -> milk>>}", See::Body, "tea", "milk"),
        row("body.bytes", "status: 200, body: {bytes: <<dGVh -> bWlsaw==>>}", See::Body, "tea", "milk"),
    ]
}

fn rewrites() -> Vec<Case> {
    let row = |field: &str, part: &str, see: See, base: &str, flipped: &str| {
        let documents = rule(&format!("match: [{{uri: {{prefix: /a}}}}], rewrite: {{{part}}}, {ONE}"));
        case(format!("http[].rewrite.{field}"), documents, get("/a/x").see(see), base, flipped)
    };
    let pattern = r"uriRegexRewrite: {match: '/<<a -> b>>/(.*)', rewrite: '/c/\1'}";
    let replacement = r"uriRegexRewrite: {match: '/a/(.*)', rewrite: '/<<b -> c>>/\1'}";
    vec![
        row("uri", "uri: <</b -> /c>>", See::Path, "/b/x", "/c/x"),
        row("authority", "authority: <<b -> c>>.example", See::Host, "b.example", "c.example"),
        row("uriRegexRewrite.match", pattern, See::Path, "/c/x", "/a/x"),
        row("uriRegexRewrite.rewrite", replacement, See::Path, "/b/x", "/c/x"),
    ]
}
