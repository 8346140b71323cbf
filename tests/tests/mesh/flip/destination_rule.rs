//! DestinationRule: how a host is grouped and spoken to. Its blocks stand in four places, and are flipped in each.

use super::ask::{Ask, See, get};
use super::case::{Case, case, document, named};
use super::connection_pool;
use super::outlier_detection;
use super::preference::{self, OUTLIERS};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = groups();
    cases.extend(balancers());
    cases.extend(hashes());
    cases.extend(preferences());
    cases.extend(tls());
    cases.extend(connection_pool::cases());
    cases.extend(outlier_detection::cases());
    cases
}

fn groups() -> Vec<Case> {
    let whole = |field: &str, spec: &str| {
        let documents =
            document("DestinationRule", &format!("{spec}, trafficPolicy: {{tls: {{mode: DISABLE}}}}"));
        let home = "cluster.local/ns/default/sa/home";
        case(field, documents, get("/").see(See::Principal), "-", home)
    };
    let subset = |field: &str, subset: &str, flipped: &str| {
        let rule = document("DestinationRule", &format!("host: pair, subsets: [{{{subset}}}]"));
        // Of somebody else, for whom the subset is always there.
        let other = "host: pair, workloadSelector: {matchLabels: {tier: edge}}, subsets: [{name: a}]";
        let documents = format!("{rule}{}{}", named("DestinationRule", "other", other), through("pair", "a"));
        case(field, documents, get("http://pair:9080/"), "v1", flipped)
    };
    vec![
        whole("host", "host: <<one -> two>>"),
        whole("exportTo", "host: one, exportTo: [<<'.' -> far>>]"),
        whole(
            "workloadSelector.matchLabels",
            "host: one, workloadSelector: {matchLabels: {tier: <<web -> edge>>}}",
        ),
        subset("subsets[].name", "name: <<a -> b>>, labels: {version: v1}", "503"),
        subset("subsets[].labels", "name: a, labels: {version: <<v1 -> v2>>}", "v2"),
    ]
}

/// A rule that leads all of a host's requests to one of its subsets.
fn through(host: &str, subset: &str) -> String {
    let route = format!("route: [{{destination: {{host: {host}, subset: {subset}}}}}]");
    document("VirtualService", &format!("hosts: [{host}], http: [{{{route}}}]"))
}

/// A policy of a host, and one of a subset to which all its requests are led, with the paths to them.
pub(super) fn places(host: &str, policy: &str) -> [(&'static str, String); 2] {
    let whole = document("DestinationRule", &format!("host: {host}, trafficPolicy: {{{policy}}}"));
    let subset = format!("host: {host}, subsets: [{{name: all, trafficPolicy: {{{policy}}}}}]");
    let subset = format!("{}{}", document("DestinationRule", &subset), through(host, "all"));
    [("trafficPolicy", whole), ("subsets[].trafficPolicy", subset)]
}

/// A block of a policy in all its places, in which it holds for that port of `host`.
pub(super) fn everywhere(host: &str, port: u16, block: &str) -> Vec<(String, String)> {
    let ported = format!("portLevelSettings: [{{port: {{number: {port}}}, {block}}}]");
    let of_port = |(place, documents)| (format!("{place}.portLevelSettings[]"), documents);
    let of_all = |(place, documents): (&str, String)| (place.to_owned(), documents);
    places(host, block).into_iter().map(of_all).chain(places(host, &ported).map(of_port)).collect()
}

fn balancers() -> Vec<Case> {
    let ask = get("http://pair:9080/").times(20).see(See::Turns);
    let rows = everywhere("pair", 9080, "loadBalancer: {simple: <<ROUND_ROBIN -> RANDOM>>}");
    let row = |(place, documents)| {
        case(format!("{place}.loadBalancer.simple"), documents, ask.clone(), "in turn", "at random")
    };
    rows.into_iter().map(row).collect()
}

/// By what endpoints are met again: calls that are alike come to one of two, others to both.
fn hashes() -> Vec<Case> {
    let row = |field: &'static str, hash: &str, ask: Ask, base: &'static str, flipped: &'static str| {
        let rows = everywhere("pair", 9080, &format!("loadBalancer: {{consistentHash: {{{hash}}}}}"));
        rows.into_iter().map(move |(place, documents)| {
            let field = format!("{place}.loadBalancer.consistentHash.{field}");
            case(field, documents, ask.clone(), base, flipped)
        })
    };
    let alike = get("http://pair:9080/?a=x").header("x-a", "x").header("cookie", "a=x");
    let alike = |field, hash: &str| row(field, hash, alike.clone().times(20).see(See::Count), "1", "2");
    let told = |field, more: &str, base, flipped| {
        let hash = format!("httpCookie: {{name: uid, {more}}}");
        row(field, &hash, get("http://pair:9080/").see(See::Attributes), base, flipped)
    };
    let attribute = |part: &str| format!("ttl: 0s, attributes: [{{{part}}}]");
    let rows = [
        alike("httpHeaderName", "httpHeaderName: <<x-a -> x-b>>"),
        alike("httpQueryParameterName", "httpQueryParameterName: <<a -> b>>"),
        alike("useSourceIp", "useSourceIp: <<true -> false>>"),
        alike("httpCookie.name", "httpCookie: {name: <<a -> b>>}"),
        told("httpCookie.ttl", "ttl: <<60s -> 0s>>", "Max-Age=60; HttpOnly", "HttpOnly"),
        told("httpCookie.path", "ttl: 0s, path: <</a -> /b>>", "Path=/a; HttpOnly", "Path=/b; HttpOnly"),
        told(
            "httpCookie.attributes[].name",
            &attribute("name: <<Secure -> Partitioned>>"),
            "Secure; HttpOnly",
            "Partitioned; HttpOnly",
        ),
        told(
            "httpCookie.attributes[].value",
            &attribute("name: SameSite, value: <<Lax -> Strict>>"),
            "SameSite=Lax; HttpOnly",
            "SameSite=Strict; HttpOnly",
        ),
    ];
    rows.into_iter().flatten().collect()
}

/// Who is asked first.
fn preferences() -> Vec<Case> {
    let row = |row: preference::Row| {
        let block = format!("loadBalancer: {{{}}}, {OUTLIERS}", row.setting);
        let rows = everywhere("api.example", 80, &block).into_iter();
        rows.map(move |(place, documents)| {
            let field = format!("{place}.loadBalancer.{}", row.field);
            case(field, format!("{documents}{}", row.service), preference::ask(), row.base, row.flipped)
        })
    };
    preference::rows().into_iter().flat_map(row).collect()
}

/// A host outside the mesh that is spoken to in TLS.
fn api(port: &str) -> String {
    let ports = format!("ports: [{{number: 80, name: http, targetPort: {port}}}]");
    let spec =
        format!("hosts: [api.example], {ports}, resolution: STATIC, endpoints: [{{address: 127.0.0.1}}]");
    named("ServiceEntry", "case", &spec)
}

fn tls() -> Vec<Case> {
    let row = |field: &str, server: &str, part: &str, see: See, base: &str, flipped: &str| {
        let rows = everywhere("api.example", 80, &format!("tls: {{{part}}}"));
        let ask: Ask = get("http://api.example/").see(see);
        let field = field.to_owned();
        let server = api(server);
        let (base, flipped) = (base.to_owned(), flipped.to_owned());
        rows.into_iter().map(move |(place, documents)| {
            case(format!("{place}.tls.{field}"), format!("{documents}{server}"), ask.clone(), &base, &flipped)
        })
    };
    let simple = |part: &str| format!("mode: SIMPLE, subjectAltNames: [api.example], {part}");
    let mutual = |part: &str| {
        format!("mode: MUTUAL, subjectAltNames: [api.example], caCertificates: $FILES/roots.pem, {part}")
    };
    let roots = "caCertificates: $FILES/roots.pem";
    let other_roots = simple("caCertificates: $FILES/<<roots -> other-roots>>.pem");
    let revoked = simple(&format!("{roots}, caCrl: $FILES/<<none -> revoked>>.pem"));
    let names = format!("mode: SIMPLE, {roots}, subjectAltNames: [<<api -> other>>.example]");
    let sni = simple(&format!("{roots}, sni: <<a -> b>>.example"));
    let certificate =
        mutual("clientCertificate: $FILES/<<first -> second>>.pem, privateKey: $FILES/first.key");
    let key = mutual("clientCertificate: $FILES/first.pem, privateKey: $FILES/<<first -> second>>.key");
    let mode = format!("mode: <<SIMPLE -> DISABLE>>, {roots}, subjectAltNames: [api.example]");
    let skips = "mode: SIMPLE, insecureSkipVerify: <<true -> false>>";
    let rows = [
        // What a TLS server says to plaintext is no HTTP.
        row("mode", "$TLS", &mode, See::Answer, "tls", "502"),
        row("caCertificates", "$TLS", &other_roots, See::Answer, "tls", "503"),
        row("caCrl", "$TLS", &revoked, See::Answer, "tls", "503"),
        row("subjectAltNames", "$TLS", &names, See::Answer, "tls", "503"),
        row("sni", "$TLS", &sni, See::ServerName, "a.example", "b.example"),
        row("insecureSkipVerify", "$TLS", skips, See::Answer, "tls", "503"),
        row("clientCertificate", "$MUTUAL", &certificate, See::Principal, "first", "-"),
        row("privateKey", "$MUTUAL", &key, See::Principal, "first", "-"),
    ];
    let port = format!("portLevelSettings: [{{port: {{number: <<80 -> 81>>}}, tls: {{{}}}}}]", simple(roots));
    let ported = places("api.example", &port).map(|(place, documents)| {
        let field = format!("{place}.portLevelSettings[].port.number");
        case(field, format!("{documents}{}", api("$TLS")), get("http://api.example/"), "tls", "502")
    });
    rows.into_iter().flatten().chain(ported).collect()
}
