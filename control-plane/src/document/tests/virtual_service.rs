//! VirtualService: what each field takes.

use super::*;

/// Checks a document whose one rule is this, with a route to `b` unless it has an action of its own.
#[track_caller]
fn rule(rule: &str, wanted: &[(Code, &str)]) {
    let wanted: Vec<(Code, String)> = wanted
        .iter()
        .map(|(code, field)| (*code, format!("http[0]{}{field}", if field.is_empty() { "" } else { "." })))
        .collect();
    let wanted: Vec<(Code, &str)> = wanted.iter().map(|(code, field)| (*code, field.as_str())).collect();
    let acts = ["route:", "redirect:", "directResponse:"].iter().any(|action| rule.contains(action));
    let route = if acts { "" } else { ", route: [{destination: {host: b}}]" };
    spec(&format!("{{hosts: [a], http: [{{{rule}{route}}}]}}"), &wanted);
}

#[track_caller]
fn spec(spec: &str, wanted: &[(Code, &str)]) {
    check(&document("networking.istio.io/v1", "VirtualService", spec), wanted);
}

#[test]
fn matches() {
    rule("match: [{uri: {exact: /a}, method: {exact: GET}, port: 80, ignoreUriCase: true}]", &[]);
    rule("match: [{ignore_uri_case: true, uri: {prefix: /a}}]", &[]);
    rule("match: [{headers: {':method': {exact: GET}, end-user: {}}, withoutHeaders: {x: {}}}]", &[]);
    rule("match: [{queryParams: {v: {regex: '\\d+$'}}, sourceLabels: {app: x}, sourceNamespace: n}]", &[]);
    rule("match: [{headers: {'b d': {exact: x}}}]", &[(Code::InvalidValue, "match[0].headers[b d]")]);
    rule("match: [{headers: {x: null}}]", &[(Code::InvalidValue, "match[0].headers[x]")]);
    rule("match: [{uri: {exact: /a, prefix: /b}}]", &[(Code::Conflict, "match[0].uri.prefix")]);
    rule("match: [{uri: {prefix: ''}}]", &[(Code::InvalidValue, "match[0].uri.prefix")]);
    rule("match: [{uri: {exat: /a}}]", &[(Code::UnknownField, "match[0].uri.exat")]);
    rule("match: [{port: 70000}]", &[(Code::InvalidValue, "match[0].port")]);
    rule("match: [{port: '80'}]", &[(Code::WrongType, "match[0].port")]);
    rule("match: [{statPrefix: x}]", &[(Code::NoEffect, "match[0].statPrefix")]);
    rule("match: {uri: {exact: /a}}", &[(Code::WrongType, "match")]);
    rule(
        "match: [{headers: {'@request.auth.claims.foo': {exact: x}}}]",
        &[(Code::InvalidValue, "match[0].headers[@request.auth.claims.foo]")],
    );
}

#[test]
fn expressions_that_two_engines_read_differently_are_refused() {
    for good in ["a|b", "(?i)x", "[a-z]{2,3}", "(?P<n>a)", "\\bx\\b", "^/a(/.*)?$", ".*"] {
        rule(&format!("match: [{{uri: {{regex: '{good}'}}}}]"), &[]);
    }
    let long = "a".repeat(REGEX_BYTES_MAX + 1);
    let bad = [
        "",
        "a(b",
        "[a&&b]",
        "[[a]b]",
        "(?x)a b",
        "a**",
        "a{1001}",
        "a{,5}",
        "\\b{start}a",
        "(?=a)",
        "(a)\\1",
        &long,
    ];
    for bad in bad {
        rule(&format!("match: [{{uri: {{regex: '{bad}'}}}}]"), &[(Code::InvalidValue, "match[0].uri.regex")]);
    }
}

#[test]
fn destinations() {
    rule("route: [{destination: {host: b, subset: v1, port: {number: 80}}, weight: 9}]", &[]);
    rule("route: [{destination: {host: b}, weight: 0}]", &[]);
    rule("route: []", &[(Code::InvalidValue, "route")]);
    rule("route: [{weight: 1}]", &[(Code::MissingField, "route[0].destination")]);
    rule("route: [{destination: {subset: v1}}]", &[(Code::MissingField, "route[0].destination.host")]);
    rule("route: [{destination: {host: '*'}}]", &[(Code::InvalidValue, "route[0].destination.host")]);
    rule(
        "route: [{destination: {host: b, port: {}}}]",
        &[(Code::MissingField, "route[0].destination.port.number")],
    );
    rule("route: [{destination: {host: b}, weight: -1}]", &[(Code::InvalidValue, "route[0].weight")]);
    rule(
        "route: [{destination: {host: b}, weight: 0}, {destination: {host: c}}]",
        &[(Code::InvalidValue, "route")],
    );
    rule("route: [{destination: {host: 'b!'}}]", &[(Code::InvalidValue, "route[0].destination.host")]);
}

#[test]
fn actions_exclude_each_other() {
    rule("redirect: {uri: /x, authority: b}", &[]);
    rule("redirect: {prefixRewrite: /x, redirectCode: 308, derivePort: FROM_REQUEST_PORT}", &[]);
    rule("directResponse: {status: 503, body: {string: x}}", &[]);
    rule("directResponse: {status: 200, body: {bytes: aGVsbG8=}}", &[]);
    spec("{hosts: [a], http: [{name: x}]}", &[(Code::MissingField, "http[0]")]);
    rule(
        "redirect: {uri: /x, authority: b}, directResponse: {status: 200}",
        &[(Code::Conflict, "directResponse")],
    );
    rule("redirect: {uri: /x, authority: b}, rewrite: {uri: /y}", &[(Code::Conflict, "rewrite")]);
    rule("redirect: {redirectCode: 302}", &[(Code::MissingField, "redirect")]);
    rule(
        "redirect: {uri: /x, authority: b, redirectCode: 200}",
        &[(Code::InvalidValue, "redirect.redirectCode")],
    );
    rule(
        "redirect: {uri: /x, authority: b, redirectCode: 305}",
        &[(Code::UnsupportedField, "redirect.redirectCode")],
    );
    rule("redirect: {uri: /x, authority: b, scheme: ftp}", &[(Code::InvalidValue, "redirect.scheme")]);
    rule(
        "redirect: {uri: /x, authority: b, port: 80, derivePort: 1}",
        &[(Code::Conflict, "redirect.derivePort")],
    );
    rule("directResponse: {status: 199}", &[(Code::InvalidValue, "directResponse.status")]);
    rule(
        "directResponse: {status: 200, body: {bytes: '%'}}",
        &[(Code::InvalidValue, "directResponse.body.bytes")],
    );
}

#[test]
fn rewrites_headers_and_timeouts() {
    rule("rewrite: {uri: /x, authority: b}, timeout: 1m30s", &[]);
    rule("rewrite: {uriRegexRewrite: {match: '/a/(.*)', rewrite: '/\\1'}}, timeout: 0s", &[]);
    rule("headers: {request: {set: {':authority': b}, add: {x: 100%%}, remove: [y]}}", &[]);
    rule("rewrite: {}", &[(Code::MissingField, "rewrite")]);
    rule(
        "rewrite: {uri: /x, uriRegexRewrite: {match: a, rewrite: b}}",
        &[(Code::Conflict, "rewrite.uriRegexRewrite")],
    );
    rule("rewrite: {authority: b}, headers: {request: {set: {host: c}}}", &[(Code::Conflict, "headers")]);
    rule("headers: {request: {remove: [':path']}}", &[(Code::InvalidValue, "headers.request.remove[0]")]);
    rule("headers: {response: {set: {x: 'a%b'}}}", &[(Code::InvalidValue, "headers.response.set[x]")]);
    rule(
        "headers: {response: {set: {x: '%PROTOCOL%'}}}",
        &[(Code::UnsupportedField, "headers.response.set[x]")],
    );
    for bad in ["5", "1.5", "1d", "-1s", "0.0000005s", "1s 2ms", "{}", "99999999999999999999h"] {
        let code = if bad == "{}" { Code::WrongType } else { Code::InvalidValue };
        rule(&format!("timeout: {bad}"), &[(code, "timeout")]);
    }
}

#[test]
fn faults() {
    rule("fault: {delay: {fixedDelay: 7s, percentage: {value: 0.0001}}}", &[]);
    rule("fault: {delay: {fixedDelay: 7s, percent: 10}}", &[(Code::Deprecated, "fault.delay.percent")]);
    rule("fault: {abort: {httpStatus: 500, percentage: {value: 0.5}}}", &[]);
    rule("fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}", &[]);
    rule("fault: {}", &[(Code::MissingField, "fault")]);
    rule("fault: {abort: {}}", &[(Code::Suspicious, "fault.abort")]);
    rule("fault: {delay: {fixedDelay: 0s}}", &[(Code::InvalidValue, "fault.delay.fixedDelay")]);
    for (bad, field) in [
        ("delay: {fixedDelay: 3s, percentage: {value: 101}}", "delay.percentage.value"),
        ("delay: {fixedDelay: 3s, percentage: {value: 0.00001}}", "delay.percentage"),
        ("abort: {httpStatus: 199}", "abort.httpStatus"),
        ("abort: {grpcStatus: NOPE}", "abort.grpcStatus"),
    ] {
        rule(&format!("fault: {{{bad}}}"), &[(Code::InvalidValue, &format!("fault.{field}"))]);
    }
    for (never, field) in [
        ("delay: {exponentialDelay: 3s}", "delay.exponentialDelay"),
        ("abort: {http2Error: REFUSED_STREAM}", "abort.http2Error"),
    ] {
        let field = format!("fault.{field}");
        rule(&format!("fault: {{{never}}}"), &[(Code::InvalidValue, &field)]);
    }
    rule(
        "redirect: {uri: /x, authority: b}, fault: {abort: {httpStatus: 500}}",
        &[(Code::Conflict, "fault")],
    );
}

#[test]
fn delegates() {
    spec("{hosts: [a], http: [{delegate: {name: b, namespace: n}}]}", &[]);
    spec("{hosts: [a], http: [{delegate: {}}]}", &[(Code::MissingField, "http[0].delegate.name")]);
    rule("delegate: {name: b}", &[(Code::Conflict, "route")]);
    spec("{http: [{delegate: {name: b}}]}", &[(Code::Conflict, "http[0].delegate")]);
    let narrow = "match: [{uri: {regex: 'a.*'}}], route: [{destination: {host: b}}]";
    spec(&format!("{{http: [{{{narrow}}}]}}"), &[(Code::InvalidValue, "http[0].match[0]")]);
    // Which requests the other document takes, a root does not show.
    spec("{hosts: [a], http: [{delegate: {name: b}}, {route: [{destination: {host: b}}]}]}", &[]);
}

#[test]
fn mirrors() {
    rule("mirror: {host: c, subset: v2}, mirrorPercentage: {value: 0.5}", &[]);
    rule("mirrors: [{destination: {host: c}, percentage: {value: 10}}, {destination: {host: d}}]", &[]);
    rule("mirror: {host: c}, mirrorPercent: 10", &[(Code::Deprecated, "mirrorPercent")]);
    rule("mirror: {host: b}", &[(Code::Suspicious, "mirror")]);
    rule("mirrorPercentage: {value: 10}", &[(Code::Suspicious, "mirrorPercentage")]);
    rule("mirror: {host: c}, mirrors: [{destination: {host: d}}]", &[(Code::Conflict, "mirrors")]);
    rule("mirrors: [{}]", &[(Code::MissingField, "mirrors[0].destination")]);
    rule(
        "mirror: {host: c}, mirrorPercentage: {value: 101}",
        &[(Code::InvalidValue, "mirrorPercentage.value")],
    );
}

#[test]
fn cors_policies() {
    rule(
        "corsPolicy: {allowOrigins: [{exact: x}, {regex: 'a.*'}], allowMethods: [GET], allowHeaders: ['*'], exposeHeaders: [x-a], maxAge: 24h, allowCredentials: true, unmatchedPreflights: IGNORE}",
        &[],
    );
    rule("corsPolicy: {allowOrigin: ['*']}", &[(Code::Deprecated, "corsPolicy.allowOrigin")]);
    rule("corsPolicy: {allowOrigins: [{}]}", &[(Code::InvalidValue, "corsPolicy.allowOrigins[0]")]);
    rule("corsPolicy: {allowMethods: [get]}", &[(Code::InvalidValue, "corsPolicy.allowMethods[0]")]);
    rule("corsPolicy: {maxAge: 1500ms}", &[(Code::InvalidValue, "corsPolicy.maxAge")]);
}

#[test]
fn retries() {
    let full = "{attempts: 3, perTryTimeout: 2s, retryOn: '5xx, 503,', backoff: 1s, retryIgnorePreviousHosts: false}";
    rule(&format!("retries: {full}"), &[]);
    rule("retries: {attempts: 0}", &[]);
    rule("retries: {attempts: 1, retryOn: nonsense}", &[(Code::InvalidValue, "retries.retryOn")]);
    rule("retries: {attempts: 1, retryOn: '600'}", &[(Code::InvalidValue, "retries.retryOn")]);
    rule(
        "retries: {attempts: 1, retryOn: envoy-ratelimited}",
        &[(Code::UnsupportedField, "retries.retryOn")],
    );
    rule("retries: {retryOn: 5xx}", &[(Code::Conflict, "retries.retryOn")]);
    rule(
        "retries: {attempts: 1, retryRemoteLocalities: true}",
        &[(Code::NoEffect, "retries.retryRemoteLocalities")],
    );
    rule("timeout: 1s, retries: {attempts: 1, perTryTimeout: 2s}", &[(Code::Suspicious, "retries")]);
}

#[test]
fn hosts_and_gateways() {
    let http = "http: [{route: [{destination: {host: b}}]}]";
    spec(&format!("{{hosts: ['*.a.com', b, 10.0.0.1], exportTo: [., other], {http}}}"), &[]);
    spec(&format!("{{hosts: ['*'], {http}}}"), &[(Code::InvalidValue, "hosts")]);
    spec(&format!("{{hosts: ['a.*.com'], {http}}}"), &[(Code::InvalidValue, "hosts[0]")]);
    spec(&format!("{{hosts: ['*.com', '*.a.com'], {http}}}"), &[(Code::Duplicate, "hosts")]);
    spec(&format!("{{hosts: [a], exportTo: [n, n], {http}}}"), &[(Code::Duplicate, "exportTo")]);
    spec(&format!("{{hosts: [a], gateways: [mesh, n/g], {http}}}"), &[(Code::Inert, "gateways")]);
    spec(
        &format!("{{hosts: [a], gateways: ['n/*'], {http}}}"),
        &[(Code::Inert, ""), (Code::InvalidValue, "gateways[0]")],
    );
    spec("{hosts: [a]}", &[(Code::MissingField, "spec")]);
    spec(&format!("{{{http}}}"), &[]);
}

#[test]
fn one_bound_to_gateways_only_is_kept_inert() {
    let text = document(
        "networking.istio.io/v1alpha3",
        "VirtualService",
        "{hosts: ['*'], gateways: [g], http: [{fault: {abort: {httpStatus: 500}}, route: [{destination: {host: b}}]}]}",
    );
    check(&text, &[(Code::Inert, "")]);
    assert_eq!(read(&text).documents.len(), 1);
}

#[test]
fn a_rule_that_never_acts_is_a_warning() {
    let to = "route: [{destination: {host: b}}]";
    spec(
        &format!("{{hosts: [a], http: [{{{to}}}, {{match: [{{uri: {{exact: /}}}}], {to}}}]}}"),
        &[(Code::Suspicious, "http[1]")],
    );
    spec(
        &format!(
            "{{hosts: [a], http: [{{match: [{{uri: {{prefix: /a}}}}, {{uri: {{prefix: /ab}}}}], {to}}}]}}"
        ),
        &[(Code::Suspicious, "http[0].match[1]")],
    );
    spec(
        &format!(
            "{{hosts: [a], http: [{{match: [{{uri: {{prefix: /a}}, port: 80}}, {{uri: {{prefix: /ab}}}}], {to}}}]}}"
        ),
        &[],
    );
}

#[test]
fn one_mistake_is_one_error() {
    rule(
        "headers: {request: {set: {'b d': \"x\\ny\"}}}",
        &[(Code::InvalidValue, "headers.request.set[b d]")],
    );
    rule("headers: {request: {set: {b: '%'}}}", &[(Code::InvalidValue, "headers.request.set[b]")]);
    rule("fault: {}", &[(Code::MissingField, "fault")]);
    let policy = document(
        "networking.istio.io/v1",
        "DestinationRule",
        "{host: a, trafficPolicy: {connectionPool: {}, outlierDetection: {interval: soon}}}",
    );
    let wanted = [
        (Code::MissingField, "trafficPolicy.connectionPool"),
        (Code::InvalidValue, "trafficPolicy.outlierDetection.interval"),
    ];
    check(&policy, &wanted);
}

proptest::proptest! {
    #[test]
    fn a_prefix_is_unreachable_where_an_earlier_one_covers_it(
        prefixes in proptest::collection::vec("/[ab]{1,4}", 1..12),
    ) {
        let rules = prefixes.iter().map(|prefix| {
            format!("{{match: [{{uri: {{prefix: {prefix}}}}}], route: [{{destination: {{host: b}}}}]}}")
        });
        let rules = rules.collect::<Vec<_>>().join(", ");
        let covered = |place: usize| {
            prefixes[..place].iter().any(|earlier| {
                prefixes[place] != *earlier && prefixes[place].starts_with(earlier.as_str())
            })
        };
        let fields: Vec<String> = (0..prefixes.len())
            .filter(|place| covered(*place))
            .map(|place| format!("http[{place}].match[0]"))
            .collect();
        let wanted: Vec<(Code, &str)> = fields.iter().map(|field| (Code::Suspicious, field.as_str())).collect();
        spec(&format!("{{hosts: [a], http: [{rules}]}}"), &wanted);
    }
}

#[test]
fn a_redirect_that_leads_back_to_itself_is_named() {
    let to = "route: [{destination: {host: b}}]";
    let redirect = |from: &str, to: &str| format!("{{match: [{{uri: {from}}}], redirect: {to}}}");
    let check = |rules: &[String], looping: &[&str]| {
        let wanted: Vec<_> = looping.iter().map(|field| (Code::Suspicious, *field)).collect();
        spec(&format!("{{hosts: [a], http: [{}]}}", rules.join(", ")), &wanted);
    };
    let first = ["http[0].redirect"];
    check(&["{redirect: {uri: /a}}".to_owned()], &first);
    check(&[redirect("{exact: /a}", "{uri: /a}")], &first);
    check(&[redirect("{prefix: /a}", "{prefixRewrite: /a/b}")], &first);
    check(&[redirect("{prefix: /a}", "{uri: /a, derivePort: FROM_REQUEST_PORT}")], &first);
    let (there, back) = (redirect("{exact: /a}", "{uri: /b}"), redirect("{exact: /b}", "{uri: /a}"));
    check(&[there.clone(), back.clone()], &["http[0].redirect", "http[1].redirect"]);
    // Another host or port, a path of another rule, or an expression that may take it: it arrives, or nobody knows.
    check(&[there.clone(), format!("{{{to}}}")], &[]);
    check(&["{redirect: {uri: /a, authority: b}}".to_owned()], &[]);
    check(&["{redirect: {scheme: https}}".to_owned()], &[]);
    check(&["{redirect: {uri: /a, port: 81}}".to_owned()], &[]);
    let slash = format!("{{match: [{{uri: {{exact: /a/}}}}], {to}}}");
    check(&[slash, redirect("{prefix: /a}", "{uri: /a/}")], &[]);
    let regex = format!("{{match: [{{uri: {{regex: '/b.*'}}}}], {to}}}");
    check(&[regex, there, back], &[]);
    let header = format!("{{match: [{{headers: {{x: {{exact: y}}}}}}], {to}}}");
    check(&[header, redirect("{exact: /a}", "{uri: /a}")], &[]);
}
