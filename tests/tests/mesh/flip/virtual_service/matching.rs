//! What a rule matches: where it no longer does, the next one decides.

use super::super::ask::{Ask, get};
use super::super::case::{Case, case};
use super::{ONE, TWO, rules};

pub(super) fn cases() -> Vec<Case> {
    let row = |field: &str, part: &str, ask: Ask| {
        let documents = rules(&format!("http: [{{match: [{{{part}}}], {ONE}}}, {{{TWO}}}]"));
        case(format!("http[].match[].{field}"), documents, ask, "one", "two")
    };
    let a = || get("/").header("x-a", "abc");
    let q = || get("/?q=abc");
    vec![
        row("uri.exact", "uri: {exact: <</a -> /b>>}", get("/a")),
        row("uri.prefix", "uri: {prefix: <</a -> /b>>}", get("/a/x")),
        row("uri.regex", "uri: {regex: '/<<a -> b>>.*'}", get("/a/x")),
        row("ignoreUriCase", "uri: {exact: /A}, ignoreUriCase: <<true -> false>>", get("/a")),
        row("scheme.exact", "scheme: {exact: <<http -> https>>}", get("/")),
        row("scheme.prefix", "scheme: {prefix: <<ht -> ws>>}", get("/")),
        row("scheme.regex", "scheme: {regex: '<<ht -> ws>>.*'}", get("/")),
        row("method.exact", "method: {exact: <<POST -> GET>>}", get("/").method("POST")),
        row("method.prefix", "method: {prefix: <<P -> G>>}", get("/").method("POST")),
        row("method.regex", "method: {regex: '<<P -> G>>.*'}", get("/").method("POST")),
        row("authority.exact", "authority: {exact: '<<one -> two>>:9080'}", get("/")),
        row("authority.prefix", "authority: {prefix: '<<on -> tw>>'}", get("/")),
        row("authority.regex", "authority: {regex: '<<on -> tw>>.*'}", get("/")),
        row("headers{}.exact", "headers: {x-a: {exact: <<abc -> abd>>}}", a()),
        row("headers{}.prefix", "headers: {x-a: {prefix: <<ab -> b>>}}", a()),
        row("headers{}.regex", "headers: {x-a: {regex: '<<a -> b>>.*'}}", a()),
        row("withoutHeaders{}.exact", "withoutHeaders: {x-a: {exact: <<abd -> abc>>}}", a()),
        row("withoutHeaders{}.prefix", "withoutHeaders: {x-a: {prefix: <<b -> ab>>}}", a()),
        row("withoutHeaders{}.regex", "withoutHeaders: {x-a: {regex: '<<b -> a>>.*'}}", a()),
        row("queryParams{}.exact", "queryParams: {q: {exact: <<abc -> abd>>}}", q()),
        row("queryParams{}.prefix", "queryParams: {q: {prefix: <<ab -> b>>}}", q()),
        row("queryParams{}.regex", "queryParams: {q: {regex: '<<a -> b>>.*'}}", q()),
        row("port", "port: <<9080 -> 9090>>", get("/")),
        row("sourceLabels", "sourceLabels: {tier: <<web -> edge>>}", get("/")),
        row("sourceNamespace", "sourceNamespace: <<default -> far>>", get("/")),
        row("gateways", "gateways: [<<mesh -> edge>>]", get("/")),
    ]
}
