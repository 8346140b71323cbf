//! HTTPRoutes, GRPCRoutes and ReferenceGrants.

use std::collections::BTreeSet;

use super::*;

const GATEWAY_API: &str = "gateway.networking.k8s.io/v1";
const PARENT: &str = "parentRefs: [{group: '', kind: Service, name: a, port: 80}]";

/// One rule of a route of a Service.
#[track_caller]
fn rule(kind: &str, rule: &str, wanted: &[(Code, &str)]) {
    let text = document(GATEWAY_API, kind, &format!("{{{PARENT}, rules: [{{{rule}}}]}}"));
    let found = found(&text);
    let found: Vec<(Code, &str)> =
        found.iter().map(|(code, field)| (*code, field.trim_start_matches("rules[0]."))).collect();
    assert_eq!(found, wanted, "in\n{text}");
}

#[track_caller]
fn http(rule_text: &str, wanted: &[(Code, &str)]) {
    rule("HTTPRoute", rule_text, wanted);
}

#[test]
fn matches_and_backends() {
    http(
        "matches: [{path: {type: PathPrefix, value: /a}, method: GET, headers: [{name: x, value: y}]}], \
         backendRefs: [{name: b, port: 80, weight: 9}]",
        &[],
    );
    http("backendRefs: [{name: b}]", &[(Code::MissingField, "backendRefs[0].port")]);
    let hostname = "kind: Hostname, group: networking.istio.io, name: b.com, port: 80";
    http(&format!("backendRefs: [{{{hostname}}}]"), &[]);
    http(
        &format!("backendRefs: [{{{hostname}, namespace: x}}]"),
        &[(Code::Conflict, "backendRefs[0].namespace")],
    );
    http("backendRefs: [{kind: Pod, name: b, port: 80}]", &[(Code::UnsupportedField, "backendRefs[0].kind")]);
    http("matches: [{path: {value: a}}]", &[(Code::InvalidValue, "matches[0].path.value")]);
    let route =
        |spec: &str, wanted: &[(Code, &str)]| check(&document(GATEWAY_API, "HTTPRoute", spec), wanted);
    route(&format!("{{{PARENT}, hostnames: [a.com]}}"), &[(Code::NoEffect, "hostnames")]);
    route("{parentRefs: [{name: gateway}], rules: [{retry: {attempts: 1}}]}", &[(Code::Inert, "")]);
    let matches = vec!["{method: GET}"; 64].join(", ");
    let rules = vec![format!("{{matches: [{matches}]}}"); 2].join(", ");
    route(&format!("{{{PARENT}, rules: [{rules}]}}"), &[(Code::InvalidValue, "rules")]);
}

#[test]
fn header_filters() {
    let both =
        "requestHeaderModifier: {set: [{name: x, value: '50%'}], add: [{name: host, value: b}], remove: [y]}";
    http(&format!("filters: [{{type: RequestHeaderModifier, {both}}}]"), &[]);
    let response = |block: &str, wanted: &[(Code, &str)]| {
        let filter = format!("{{type: ResponseHeaderModifier, responseHeaderModifier: {block}}}");
        http(&format!("filters: [{filter}]"), wanted);
        let wanted: Vec<(Code, String)> =
            wanted.iter().map(|(code, field)| (*code, format!("backendRefs[0].{field}"))).collect();
        let wanted: Vec<(Code, &str)> = wanted.iter().map(|(code, field)| (*code, field.as_str())).collect();
        http(&format!("backendRefs: [{{name: b, port: 80, filters: [{filter}]}}]"), &wanted);
    };
    response("{add: [{name: x, value: y}]}", &[]);
    response(
        "{set: [{name: host, value: b}]}",
        &[(Code::InvalidValue, "filters[0].responseHeaderModifier.set[0].name")],
    );
    response(
        "{set: [{name: 'a b', value: b}]}",
        &[(Code::InvalidValue, "filters[0].responseHeaderModifier.set[0].name")],
    );
    response(
        "{set: [{name: a, value: \"b\\u0001\"}]}",
        &[(Code::InvalidValue, "filters[0].responseHeaderModifier.set[0].value")],
    );
    response("{remove: [host]}", &[(Code::InvalidValue, "filters[0].responseHeaderModifier.remove[0]")]);
}

#[test]
fn filters_are_what_their_type_says_and_once() {
    http("filters: [{type: URLRewrite}]", &[(Code::MissingField, "filters[0].urlRewrite")]);
    http("filters: [{type: Magic}]", &[(Code::InvalidValue, "filters[0].type")]);
    http(
        "filters: [{type: URLRewrite, urlRewrite: {hostname: b}, requestRedirect: {port: 1}}]",
        &[(Code::Conflict, "filters[0].requestRedirect")],
    );
    let hostname = "{type: URLRewrite, urlRewrite: {hostname: b}}";
    http(&format!("filters: [{hostname}, {hostname}]"), &[(Code::InvalidValue, "filters")]);
    let redirect = "{type: RequestRedirect, requestRedirect: {port: 81}}";
    http(&format!("filters: [{hostname}, {redirect}]"), &[(Code::InvalidValue, "filters")]);
    http(
        &format!("filters: [{redirect}], backendRefs: [{{name: b, port: 80}}]"),
        &[(Code::Conflict, "backendRefs")],
    );
    http(
        &format!("backendRefs: [{{name: b, port: 80, filters: [{redirect}]}}]"),
        &[(Code::UnsupportedField, "backendRefs")],
    );
    http("filters: [{type: CORS, cors: {allowOrigins: ['https://*.a.com', '*'], maxAge: 1}}]", &[]);
    http(
        "filters: [{type: CORS, cors: {allowOrigins: [a.com]}}]",
        &[(Code::InvalidValue, "filters[0].cors.allowOrigins[0]")],
    );
    let mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}, fraction: {numerator: 1, denominator: 8}}}";
    http(&format!("filters: [{mirror}, {mirror}]"), &[]);
    http(
        &format!("backendRefs: [{{name: b, port: 80, filters: [{mirror}]}}]"),
        &[(Code::UnsupportedField, "backendRefs")],
    );
    http(
        "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: b, port: 80}, fraction: {numerator: 101}}}]",
        &[(Code::InvalidValue, "filters[0].requestMirror.fraction.numerator")],
    );
}

#[test]
fn redirects_and_rewrites() {
    let redirect = |block: &str, wanted: &[(Code, &str)]| {
        http(&format!("filters: [{{type: RequestRedirect, requestRedirect: {block}}}]"), wanted);
    };
    redirect("{scheme: https, hostname: b.com, port: 8443, statusCode: 308}", &[]);
    redirect("{statusCode: 200}", &[(Code::InvalidValue, "filters[0].requestRedirect.statusCode")]);
    redirect("{hostname: '*.b'}", &[(Code::InvalidValue, "filters[0].requestRedirect.hostname")]);
    redirect("{hostname: '::1'}", &[(Code::InvalidValue, "filters[0].requestRedirect.hostname")]);
    redirect(
        "{path: {type: ReplaceFullPath, replaceFullPath: '/a?b'}}",
        &[(Code::InvalidValue, "filters[0].requestRedirect.path.replaceFullPath")],
    );
    redirect(
        "{path: {type: ReplaceFullPath}}",
        &[
            (Code::MissingField, "filters[0].requestRedirect.path"),
            (Code::MissingField, "filters[0].requestRedirect.path.replaceFullPath"),
        ],
    );
    let strip = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}";
    http(&format!("filters: [{strip}]"), &[]);
    http(&format!("matches: [{{path: {{value: /a}}}}], filters: [{strip}]"), &[]);
    let conflict = [(Code::Conflict, "matches")];
    http(&format!("matches: [{{path: {{type: Exact, value: /a}}}}], filters: [{strip}]"), &conflict);
    http(&format!("matches: [{{method: GET}}, {{method: PUT}}], filters: [{strip}]"), &conflict);
    let backends = |filters: [&str; 2], wanted: &[(Code, &str)]| {
        let backend = |filters| format!("{{name: b, port: 80, filters: [{filters}]}}");
        http(&format!("backendRefs: [{}, {}]", backend(filters[0]), backend(filters[1])), wanted);
    };
    backends([strip, strip], &[]);
    backends([strip, ""], &[(Code::UnsupportedField, "backendRefs")]);
    let host = "{type: URLRewrite, urlRewrite: {hostname: c.com}}";
    backends([host, ""], &[]);
    http(
        &format!("filters: [{host}], backendRefs: [{{name: b, port: 80, filters: [{host}]}}]"),
        &[(Code::UnsupportedField, "backendRefs")],
    );
}

#[test]
fn timeouts() {
    http("timeouts: {request: 1m30s, backendRequest: 500ms}", &[]);
    http("timeouts: {request: 0s, backendRequest: 500ms}", &[]);
    http("timeouts: {request: 1s, backendRequest: 2s}", &[(Code::Conflict, "timeouts.backendRequest")]);
    for wrong in ["1.5s", "100000s", "1h1m1s1ms1ms", "5us", "-1s", "soon"] {
        http(&format!("timeouts: {{request: {wrong}}}"), &[(Code::InvalidValue, "timeouts.request")]);
    }
    http("retry: {codes: [500], attempts: 2, backoff: 1s}", &[]);
    http("retry: {codes: [302]}", &[(Code::InvalidValue, "retry.codes[0]")]);
}

#[test]
fn sessions() {
    let session = |session: &str, wanted: &[(Code, &str)]| {
        http(&format!("sessionPersistence: {session}"), wanted);
    };
    session("{}", &[]);
    session("{sessionName: uid, type: Cookie, cookieConfig: {lifetimeType: Session}}", &[]);
    session("{absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}", &[]);
    session("{type: Header, sessionName: x-session}", &[]);
    session("{sessionName: 'a b'}", &[(Code::InvalidValue, "sessionPersistence.sessionName")]);
    session("{type: Header, sessionName: host}", &[(Code::InvalidValue, "sessionPersistence.sessionName")]);
    session(
        "{type: Header, cookieConfig: {lifetimeType: Session}}",
        &[(Code::Conflict, "sessionPersistence.cookieConfig")],
    );
    session(
        "{cookieConfig: {lifetimeType: Permanent}}",
        &[(Code::MissingField, "sessionPersistence.absoluteTimeout")],
    );
    session("{absoluteTimeout: 1h, idleTimeout: 5m}", &[]);
    session("{idleTimeout: 1.5h}", &[(Code::InvalidValue, "sessionPersistence.idleTimeout")]);
}

#[test]
fn grpc_routes() {
    let grpc = |text: &str, wanted: &[(Code, &str)]| rule("GRPCRoute", text, wanted);
    let to_b = "backendRefs: [{name: b, port: 80}]";
    grpc(&format!("matches: [{{method: {{service: a.B, method: C}}}}], {to_b}"), &[]);
    grpc(
        "matches: [{method: {type: RegularExpression, service: 'a\\..*'}, headers: [{name: x, value: y}]}]",
        &[],
    );
    grpc("matches: [{method: {}}]", &[(Code::MissingField, "matches[0].method")]);
    grpc("matches: [{method: {service: a/b}}]", &[(Code::InvalidValue, "matches[0].method.service")]);
    grpc("matches: [{method: {method: a.b}}]", &[(Code::InvalidValue, "matches[0].method.method")]);
    grpc("matches: [{path: {value: /a}}]", &[(Code::UnknownField, "matches[0].path")]);
    grpc(
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: y}]}}]",
        &[],
    );
    grpc(
        "filters: [{type: URLRewrite, urlRewrite: {hostname: b}}]",
        &[(Code::InvalidValue, "filters[0].type"), (Code::UnknownField, "filters[0].urlRewrite")],
    );
    grpc("timeouts: {request: 1s}", &[(Code::UnknownField, "timeouts")]);
}

#[test]
fn reference_grants() {
    let row =
        |spec: &str, wanted: &[(Code, &str)]| check(&document(GATEWAY_API, "ReferenceGrant", spec), wanted);
    let from = "from: [{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: web}]";
    row(&format!("{{{from}, to: [{{group: '', kind: Service, name: b}}]}}"), &[]);
    row(&format!("{{{from}, to: [{{group: '', kind: Secret}}]}}"), &[(Code::NoEffect, "to[0].kind")]);
    row(&format!("{{{from}}}"), &[(Code::MissingField, "to")]);
    row(
        "{from: [{kind: HTTPRoute}], to: [{group: '', kind: Service}]}",
        &[
            (Code::MissingField, "from[0].group"),
            (Code::MissingField, "from[0].namespace"),
            (Code::NoEffect, "from[0].kind"),
        ],
    );
}

#[test]
fn external_authorization() {
    let auth = |block: &str, wanted: &[(Code, &str)]| {
        let filter = format!("{{type: ExternalAuth, externalAuth: {{{block}}}}}");
        let field = |field: &str| format!("filters[0].externalAuth.{field}");
        let wanted: Vec<_> = wanted.iter().map(|(code, name)| (*code, field(name))).collect();
        let wanted: Vec<_> = wanted.iter().map(|(code, name)| (*code, name.as_str())).collect();
        http(&format!("filters: [{filter}]"), &wanted);
    };
    let to = "backendRef: {name: auth, port: 9000}";
    auth(&format!("protocol: GRPC, {to}"), &[]);
    auth(&format!("protocol: GRPC, {to}, grpc: {{allowedHeaders: []}}, forwardBody: {{maxSize: 0}}"), &[]);
    let told = "http: {path: /check, allowedHeaders: [x-a, Cookie], allowedResponseHeaders: [x-user]}";
    auth(&format!("protocol: HTTP, {to}, {told}"), &[]);
    auth(&format!("protocol: GRPC, {to}, {told}"), &[(Code::Conflict, "http")]);
    auth(&format!("protocol: HTTP, {to}, grpc: {{}}"), &[(Code::Conflict, "grpc")]);
    auth(&format!("protocol: TCP, {to}"), &[(Code::InvalidValue, "protocol")]);
    auth(to, &[(Code::MissingField, "protocol")]);
    auth("protocol: HTTP", &[(Code::MissingField, "backendRef")]);
    auth("protocol: HTTP, backendRef: {name: auth}", &[(Code::MissingField, "backendRef.port")]);
    auth(
        &format!("protocol: GRPC, {to}, grpc: {{allowedHeaders: [x-a]}}, forwardBody: {{maxSize: 65535}}"),
        &[],
    );
    auth(
        &format!("protocol: HTTP, {to}, forwardBody: {{maxSize: 65536}}"),
        &[(Code::InvalidValue, "forwardBody.maxSize")],
    );
    auth(&format!("protocol: HTTP, {to}, http: {{path: '/a?b'}}"), &[(Code::InvalidValue, "http.path")]);
    auth(
        &format!("protocol: HTTP, {to}, http: {{allowedHeaders: ['a b']}}"),
        &[(Code::InvalidValue, "http.allowedHeaders[0]")],
    );
    let filter = format!("{{type: ExternalAuth, externalAuth: {{protocol: GRPC, {to}}}}}");
    http(&format!("filters: [{filter}, {filter}]"), &[(Code::InvalidValue, "filters")]);
    let of_backend = format!("backendRefs: [{{name: b, port: 80, filters: [{filter}]}}]");
    http(&of_backend, &[(Code::UnsupportedField, "backendRefs")]);
    rule(
        "GRPCRoute",
        &format!("filters: [{filter}]"),
        &[(Code::InvalidValue, "filters[0].type"), (Code::UnknownField, "filters[0].externalAuth")],
    );
}

#[test]
fn an_authorization_service_is_known_and_granted_as_a_backend_is() {
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: front, namespace: web}}\nspec: {{ports: [{{port: 80}}]}}\n\
         ---\napiVersion: {GATEWAY_API}\nkind: HTTPRoute\nmetadata: {{name: r, namespace: web}}\n\
         spec: {{parentRefs: [{{group: '', kind: Service, name: front}}], rules: [{{backendRefs: [{{name: front, port: 80}}], \
         filters: [{{type: ExternalAuth, externalAuth: {{protocol: GRPC, backendRef: {{name: auth, namespace: ops, port: 9000}}}}}}]}}]}}\n"
    );
    let found = check_whole(&read(&text).documents, &BTreeSet::new());
    let found: Vec<_> = found.iter().map(|whole| (whole.finding.code, &*whole.finding.field)).collect();
    let filters = ["spec.rules[0].filters.name", "spec.rules[0].filters.namespace"];
    assert_eq!(found, [(Code::UnknownHost, filters[0]), (Code::NotGranted, filters[1])]);
}

#[test]
fn a_backend_of_another_namespace_wants_a_grant() {
    let row = |parent: &str, grant: &str, wanted: &[(Code, &str)]| {
        let route = format!(
            "---\napiVersion: {GATEWAY_API}\nkind: HTTPRoute\nmetadata: {{name: r, namespace: web}}\n\
             spec: {{parentRefs: [{parent}], rules: [{{backendRefs: [{{name: b, namespace: data, port: 80}}]}}]}}\n"
        );
        let grant = match grant {
            "" => String::new(),
            spec => format!(
                "---\napiVersion: {GATEWAY_API}\nkind: ReferenceGrant\nmetadata: {{name: g, namespace: data}}\nspec: {spec}\n"
            ),
        };
        let found = check_whole(&read(&format!("{route}{grant}")).documents, &BTreeSet::new());
        let found: Vec<_> =
            found.iter().map(|whole| (whole.finding.code, whole.finding.field.as_str())).collect();
        assert_eq!(found, wanted, "{parent} {grant}");
    };
    let refused = [(Code::NotGranted, "spec.rules[0].backendRefs[0].namespace")];
    let front = "{group: '', kind: Service, name: front}";
    let from = "from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web}]";
    row(front, "", &refused);
    row(front, &format!("{{{from}, to: [{{group: '', kind: Service}}]}}"), &[]);
    row(front, &format!("{{{from}, to: [{{group: '', kind: Service, name: b}}]}}"), &[]);
    row(front, &format!("{{{from}, to: [{{group: '', kind: Service, name: c}}]}}"), &refused);
    row(front, &format!("{{{}, to: [{{group: '', kind: Service}}]}}", from.replace("web", "db")), &refused);
    row(
        front,
        &format!("{{{}, to: [{{group: '', kind: Service}}]}}", from.replace("HTTP", "GRPC")),
        &refused,
    );
    // Whoever calls the parent would have come there without the route.
    row("{group: '', kind: Service, name: b, namespace: data}", "", &[]);
}
