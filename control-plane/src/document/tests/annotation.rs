//! Annotations: what the sticky one takes, and on which kinds.

use super::*;

const ROUTE: &str = "{hosts: [a], http: [{route: [{destination: {host: b}}]}]}";
const STICKY: &str = "metadata.annotations[proxyless.mesh/sticky]";

fn annotated(api_version: &str, kind: &str, spec: &str, annotation: &str) -> String {
    document(api_version, kind, spec)
        .replace("{name: a}", &format!("\n  name: a\n  annotations:\n    {annotation}"))
}

#[track_caller]
fn virtual_service(annotation: &str, wanted: &[(Code, &str)]) {
    check(&annotated("networking.istio.io/v1", "VirtualService", ROUTE, annotation), wanted);
}

#[test]
fn a_sticky_key_is_a_header_a_cookie_a_claim_or_who_calls() {
    for good in ["header:x-user", "header:X-User", "cookie:uid", "claim:sub", "identity", "'identity'"] {
        virtual_service(&format!("proxyless.mesh/sticky: {good}"), &[]);
    }
    for bad in ["user", "header:", "header:x user", "header:host", "cookie:a;b", "cookie:", "claim:", ""] {
        virtual_service(&format!("proxyless.mesh/sticky: '{bad}'"), &[(Code::InvalidValue, STICKY)]);
    }
    for no_text in ["7", "true", "[identity]"] {
        virtual_service(&format!("proxyless.mesh/sticky: {no_text}"), &[(Code::WrongType, STICKY)]);
    }
}

#[test]
fn a_sticky_key_stands_where_traffic_is_divided() {
    let spec =
        "{parentRefs: [{group: '', kind: Service, name: a}], rules: [{backendRefs: [{name: b, port: 80}]}]}";
    let sticky = "proxyless.mesh/sticky: header:x-user";
    check(&annotated("gateway.networking.k8s.io/v1", "HTTPRoute", spec, sticky), &[]);
    let elsewhere = annotated("networking.istio.io/v1", "DestinationRule", "{host: a}", sticky);
    check(&elsewhere, &[(Code::Conflict, STICKY)]);
}

#[test]
fn a_health_check_is_asked_of_a_service_entrys_endpoints() {
    let field = "metadata.annotations[proxyless.mesh/health-check]";
    let check = |kind: &str, spec: &str, said: &str, wanted: &[(Code, &str)]| {
        let annotation = format!("proxyless.mesh/health-check: '{said}'");
        check(&annotated("networking.istio.io/v1", kind, spec, &annotation), wanted);
    };
    let entry = "{hosts: [a.example], ports: [{number: 80, name: http}], resolution: DNS}";
    check("ServiceEntry", entry, "http:/healthz, interval=2s, status=200-299", &[]);
    check("ServiceEntry", entry, "grpc:shop.v1.Shop", &[]);
    for bad in ["", "healthz", "http:/a, every=5s", "tcp, timeout=0s"] {
        check("ServiceEntry", entry, bad, &[(Code::InvalidValue, field)]);
    }
    check("VirtualService", ROUTE, "tcp", &[(Code::Conflict, field)]);
}

#[test]
fn an_annotation_of_ours_that_nobody_knows_is_an_error_and_a_foreign_one_is_not() {
    let unknown = "metadata.annotations[proxyless.mesh/stiky]";
    virtual_service("proxyless.mesh/stiky: identity", &[(Code::UnknownField, unknown)]);
    virtual_service("example.com/sticky: whatever", &[]);
}

#[test]
fn the_message_names_line_reason_and_next_step() {
    let text =
        annotated("networking.istio.io/v1", "VirtualService", ROUTE, "proxyless.mesh/sticky: 'cookie:a;b'");
    let report = read(&text).reports.remove(0);
    let finding = &report.findings[0];
    assert_eq!(report.at(finding.span), "a.yaml:6");
    assert!(finding.message.contains("`a;b`") && finding.message.contains("cookie"), "{}", finding.message);
    assert!(finding.next.contains("header:NAME"), "{}", finding.next);
}
