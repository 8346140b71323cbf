//! The list of fields that the decoders themselves give.

use super::*;

#[track_caller]
fn row(kind: Kind, path: &str, support: Support) {
    let fields = known_fields(kind);
    let found = fields.iter().find(|field| field.path == format!("spec.{path}"));
    assert_eq!(found.map(|field| field.support), Some(support), "{kind:?} {path}");
}

#[test]
fn fields_are_listed_by_what_becomes_of_them() {
    use Support::{Honoured, NoEffect, Unsupported};
    row(Kind::VirtualService, "http[].match[].headers{}.exact", Honoured);
    row(Kind::VirtualService, "http[].route[].destination.port.number", Honoured);
    row(Kind::VirtualService, "http[].redirect.derivePort", Honoured);
    row(Kind::VirtualService, "http[].fault.abort.grpcStatus", Honoured);
    row(Kind::VirtualService, "http[].fault.abort.http2Error", Unsupported);
    row(Kind::VirtualService, "http[].retries.attempts", Honoured);
    row(Kind::VirtualService, "http[].match[].statPrefix", NoEffect);
    row(Kind::VirtualService, "tls[].match[].sniHosts", Honoured);
    row(Kind::VirtualService, "tls[].match[].destinationSubnets", Unsupported);
    row(Kind::VirtualService, "tcp[].match[].sourceSubnet", Unsupported);
    row(Kind::VirtualService, "tcp[].route[].weight", Honoured);
    row(Kind::DestinationRule, "trafficPolicy.tls.mode", Honoured);
    row(Kind::DestinationRule, "subsets[].trafficPolicy.connectionPool.http.http2MaxRequests", Honoured);
    row(Kind::DestinationRule, "trafficPolicy.loadBalancer.warmup.aggression", Honoured);
    row(Kind::DestinationRule, "trafficPolicy.retryBudget.percent", Honoured);
    row(Kind::ServiceEntry, "endpoints[].serviceAccount", Honoured);
    row(Kind::ServiceEntry, "addresses", NoEffect);
    row(Kind::AuthorizationPolicy, "rules[].from[].source.notRemoteIpBlocks", Unsupported);
    row(Kind::AuthorizationPolicy, "rules[].to[].operation.notPaths", Honoured);
    row(Kind::AuthorizationPolicy, "rules[].when[].notValues", Honoured);
    row(Kind::PeerAuthentication, "portLevelMtls{}.mode", Honoured);
    row(Kind::MeshSettings, "pathNormalization.normalization", Honoured);
    row(Kind::HttpRoute, "rules[].timeouts.backendRequest", Honoured);
    row(Kind::HttpRoute, "rules[].filters[].externalAuth.http.allowedHeaders", Honoured);
    row(Kind::HttpRoute, "rules[].filters[].externalAuth.grpc.allowedHeaders", Honoured);
    row(Kind::HttpRoute, "rules[].filters[].requestMirror.percent", Honoured);
    row(Kind::GrpcRoute, "rules[].matches[].method.service", Honoured);
    row(Kind::ReferenceGrant, "to[].name", Honoured);
    row(Kind::HttpRoute, "rules[].filters[].requestRedirect.path.replaceFullPath", Honoured);
}

#[test]
fn the_nearest_field_is_offered() {
    let text = document("networking.istio.io/v1", "VirtualService", "{hosts: [a], htpp: []}");
    let reading = read(&text);
    let finding = &reading.reports[0].findings;
    assert!(finding.iter().any(|finding| finding.next == "did you mean `http`?"), "{finding:?}");
}

#[test]
fn both_spellings_at_once_are_refused() {
    let http = "http: [{route: [{destination: {host: b}}]}]";
    let spec = format!("{{hosts: [a], exportTo: [.], export_to: [.], {http}}}");
    check(&document("networking.istio.io/v1", "VirtualService", &spec), &[(Code::Duplicate, "exportTo")]);
    let text = document("gateway.networking.k8s.io/v1", "HTTPRoute", "{parent_refs: []}");
    assert!(found(&text).contains(&(Code::UnknownField, "parent_refs".to_owned())));
}

#[test]
fn endless_errors_end() {
    let keys: Vec<String> = (0..5000).map(|key| format!("key{key}: 1")).collect();
    let found =
        found(&document("networking.istio.io/v1", "VirtualService", &format!("{{{}}}", keys.join(", "))));
    assert!(found.len() < 300, "{}", found.len());
    assert!(found.contains(&(Code::TooLarge, String::new())));
}
