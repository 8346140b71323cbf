//! External authorization of a rule: `envoy.filters.http.ext_authz`, whose service the route names itself.
//!
//! It is not optional, other than CORS: whoever does not know it refuses the rule and lets nothing pass unasked.

use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{GrpcService, HttpUri};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::check_settings::ServiceOverride;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    AuthorizationRequest, AuthorizationResponse, BufferSettings, CheckSettings, ExtAuthzPerRoute, HttpService,
};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{ListStringMatcher, StringMatcher};
use mesh_core::ext_authz::CHECK_TIME_MAX;

use super::cluster::duration;
use super::matcher;
use super::metadata::Entry;
use crate::document::{ExternalAuth, HttpAuth};

/// Whom the rules asks: `cluster`, whose host and port are `authority`.
pub(super) fn of_route(written: &ExternalAuth, cluster: String, authority: String) -> ExtAuthzPerRoute {
    let timeout = Some(duration(CHECK_TIME_MAX));
    let service = match &written.http {
        None => {
            let target = EnvoyGrpc { cluster_name: cluster, authority, ..EnvoyGrpc::default() };
            let target_specifier = Some(TargetSpecifier::EnvoyGrpc(target));
            ServiceOverride::GrpcService(GrpcService { timeout, target_specifier, ..GrpcService::default() })
        }
        Some(http) => {
            let http_upstream_type = Some(HttpUpstreamType::Cluster(cluster));
            let uri = HttpUri { uri: format!("http://{authority}"), timeout, http_upstream_type };
            ServiceOverride::HttpService(http_service(http, uri))
        }
    };
    let with_request_body = (written.body_bytes_max > 0).then(|| BufferSettings {
        max_request_bytes: written.body_bytes_max.into(),
        allow_partial_message: true,
        ..BufferSettings::default()
    });
    let service_override = Some(service);
    let settings = CheckSettings { service_override, with_request_body, ..CheckSettings::default() };
    ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) }
}

/// What is ours on such a route: Envoy lets a service of gRPC be told certain headers on the whole filter alone.
pub(super) fn fact(written: &ExternalAuth) -> Option<(String, Entry)> {
    let names = || written.grpc_headers.iter().map(|name| Entry::text(&name.to_ascii_lowercase()));
    let told = || Entry::object([("allowed_headers".to_owned(), Entry::list(names()))]);
    (!written.grpc_headers.is_empty()).then(|| ("external_auth".to_owned(), told()))
}

#[allow(deprecated, reason = "a route has no other place for the headers that its service is told")]
fn http_service(written: &HttpAuth, server_uri: HttpUri) -> HttpService {
    let path = written.path.trim_end_matches('/');
    let slash = if path.is_empty() || path.starts_with('/') { "" } else { "/" };
    HttpService {
        server_uri: Some(server_uri),
        path_prefix: format!("{slash}{path}"),
        authorization_request: Some(AuthorizationRequest {
            allowed_headers: Some(named(&written.request_headers)),
            ..AuthorizationRequest::default()
        }),
        authorization_response: Some(AuthorizationResponse {
            allowed_upstream_headers: Some(match written.answer_headers.as_slice() {
                // To Envoy a list that is not there is none of them.
                [] => patterns([MatchPattern::SafeRegex(matcher::expression(".*"))]),
                listed => named(listed),
            }),
            ..AuthorizationResponse::default()
        }),
        ..HttpService::default()
    }
}

fn named(names: &[String]) -> ListStringMatcher {
    patterns(names.iter().map(|name| MatchPattern::Exact(name.to_ascii_lowercase())))
}

fn patterns(all: impl IntoIterator<Item = MatchPattern>) -> ListStringMatcher {
    let one = |pattern| StringMatcher { match_pattern: Some(pattern), ignore_case: false };
    ListStringMatcher { patterns: all.into_iter().map(one).collect() }
}
