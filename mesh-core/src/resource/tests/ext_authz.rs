use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::grpc_service::{EnvoyGrpc, TargetSpecifier};
use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{GrpcService, HttpUri};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{FilterConfig, RouteConfiguration};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::check_settings::ServiceOverride;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{
    AuthorizationRequest, AuthorizationResponse, BufferSettings, CheckSettings, ExtAuthzPerRoute, HttpService,
};
use envoy_types::pb::envoy::r#type::matcher::v3::ListStringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{self, Value};

use super::routes::{configuration, forward, parsed, route};
use super::*;
use crate::ext_authz::CHECK_TIME_MAX;
use crate::route::{AuthBody, AuthProtocol};

const FILTER: &str = "envoy.filters.http.ext_authz";
const SERVICE: &str = "outbound|9000||auth.default.svc.cluster.local";

fn seconds(seconds: i64) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos: 0 })
}

fn grpc() -> GrpcService {
    let target = EnvoyGrpc {
        cluster_name: SERVICE.into(),
        authority: "auth.default.svc.cluster.local:9000".into(),
        ..EnvoyGrpc::default()
    };
    GrpcService {
        timeout: seconds(2),
        target_specifier: Some(TargetSpecifier::EnvoyGrpc(target)),
        ..GrpcService::default()
    }
}

#[allow(deprecated, reason = "a route has no other place for it")]
fn http() -> HttpService {
    let one = |name: &str| {
        let exact = MatchPattern::Exact(name.to_owned());
        let patterns = vec![StringMatcher { match_pattern: Some(exact), ignore_case: false }];
        Some(ListStringMatcher { patterns })
    };
    HttpService {
        server_uri: Some(HttpUri {
            uri: "http://auth:9000".into(),
            timeout: seconds(60),
            http_upstream_type: Some(HttpUpstreamType::Cluster(SERVICE.into())),
        }),
        path_prefix: "/check".into(),
        authorization_request: Some(AuthorizationRequest {
            allowed_headers: one("x-told"),
            ..AuthorizationRequest::default()
        }),
        authorization_response: Some(AuthorizationResponse {
            allowed_upstream_headers: one("x-user"),
            ..AuthorizationResponse::default()
        }),
        ..HttpService::default()
    }
}

fn asks(service: ServiceOverride) -> CheckSettings {
    CheckSettings { service_override: Some(service), ..CheckSettings::default() }
}

fn overridden(settings: CheckSettings) -> ExtAuthzPerRoute {
    ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) }
}

fn configured(config: Any) -> RouteConfiguration {
    let mut wire = route(Action::Route(forward()));
    wire.typed_per_filter_config.insert(FILTER.to_owned(), config);
    configuration(vec![wire])
}

fn of_grpc(spoil: impl FnOnce(&mut GrpcService)) -> CheckSettings {
    let mut service = grpc();
    spoil(&mut service);
    asks(ServiceOverride::GrpcService(service))
}

fn of_http(spoil: impl FnOnce(&mut HttpService)) -> CheckSettings {
    let mut service = http();
    spoil(&mut service);
    asks(ServiceOverride::HttpService(service))
}

#[track_caller]
fn refused(config: Any, field: &str) {
    let field = format!("virtual_hosts[0].routes[0].typed_per_filter_config.{FILTER}{field}");
    check_refused(ResourceType::RouteConfiguration, configured(config), |_| {}, &field);
}

#[track_caller]
fn refused_settings(settings: CheckSettings, field: &str) {
    refused(pack_any(overridden(settings)), &format!(".check_settings{field}"));
}

#[test]
fn the_service_of_a_route_is_one_of_its_clusters() {
    let spec = parsed(&configured(pack_any(overridden(of_grpc(|_| {})))));
    let auth = spec.routes.routes()[0].filters.external_auth.as_ref().expect("a service");
    assert_eq!((&*auth.cluster, &*spec.clusters[auth.cluster_index]), (SERVICE, SERVICE));
    assert_eq!(auth.timeout, Duration::from_secs(2));
    let AuthProtocol::Grpc(grpc) = &auth.protocol else { panic!("{auth:?}") };
    assert_eq!(grpc.authority.as_str(), "auth.default.svc.cluster.local:9000");
    assert_eq!((&grpc.request_headers, auth.body), (&None, None));

    let spec = parsed(&configured(pack_any(overridden(of_http(|_| {})))));
    let auth = spec.routes.routes()[0].filters.external_auth.as_ref().expect("a service");
    assert_eq!((&*spec.clusters[auth.cluster_index], auth.timeout), (SERVICE, CHECK_TIME_MAX));
    let AuthProtocol::Http(http) = &auth.protocol else { panic!("{auth:?}") };
    assert_eq!(&*http.path_prefix, "/check");
    let listed = [&http.request_headers, &http.answer_headers].map(|patterns| {
        let meets = |name: &str| patterns.iter().any(|pattern| pattern.matches(name.as_bytes()));
        ["x-told", "x-user"].map(meets)
    });
    assert_eq!(listed, [[true, false], [false, true]]);
}

#[test]
fn a_route_says_what_of_head_and_body_is_told() {
    let list = |texts: &[&str]| {
        let text = |text: &&str| Value { kind: Some(Kind::StringValue((*text).to_owned())) };
        Kind::ListValue(protobuf::ListValue { values: texts.iter().map(text).collect() })
    };
    let body = BufferSettings { max_request_bytes: 1024, allow_partial_message: true, pack_as_bytes: true };
    let with = |service: CheckSettings, told: Kind| {
        let settings = CheckSettings { with_request_body: Some(body), ..service };
        let mut wire = configured(pack_any(overridden(settings)));
        let told = [("allowed_headers".to_owned(), Value { kind: Some(told) })].into();
        let told = Value { kind: Some(Kind::StructValue(protobuf::Struct { fields: told })) };
        let ours = protobuf::Struct { fields: [("external_auth".to_owned(), told)].into() };
        let metadata = wire.virtual_hosts[0].routes[0].metadata.get_or_insert_default();
        metadata.filter_metadata.insert("proxyless.mesh".to_owned(), ours);
        wire
    };
    let spec = parsed(&with(of_grpc(|_| {}), list(&["x-a"])));
    let auth = spec.routes.routes()[0].filters.external_auth.as_ref().expect("a service");
    assert_eq!(auth.body, Some(AuthBody { bytes_max: 1024, as_bytes: true }));
    let AuthProtocol::Grpc(grpc) = &auth.protocol else { panic!("{auth:?}") };
    assert_eq!(grpc.request_headers.as_deref(), Some(&[http::HeaderName::from_static("x-a")][..]));
    let refused = |service, told, field: &str| {
        let field = format!("virtual_hosts[0].routes[0].metadata.external_auth{field}");
        check_refused(ResourceType::RouteConfiguration, with(service, told), |_| {}, &field);
    };
    refused(of_grpc(|_| {}), list(&["a b"]), ".allowed_headers");
    refused(of_grpc(|_| {}), Kind::BoolValue(true), ".allowed_headers");
    refused(of_http(|_| {}), list(&["x-a"]), "");
}

#[test]
fn a_route_can_have_it_off_and_none_can_have_it_half() {
    let off = |config: Any| {
        assert!(parsed(&configured(config)).routes.routes()[0].filters.external_auth.is_none());
    };
    off(pack_any(ExtAuthzPerRoute { r#override: Some(Override::Disabled(true)) }));
    off(pack_any(FilterConfig { disabled: true, ..FilterConfig::default() }));
    refused(pack_any(ExtAuthzPerRoute::default()), ".check_settings");
    let enabled = ExtAuthzPerRoute { r#override: Some(Override::Disabled(false)) };
    refused(pack_any(enabled), ".check_settings");
    refused_settings(CheckSettings::default(), ".service_override");
}

#[test]
fn what_is_not_honoured_is_refused_by_name() {
    let buffers = |max_request_bytes, allow_partial_message, field: &str| {
        let body = BufferSettings { max_request_bytes, allow_partial_message, ..BufferSettings::default() };
        let settings = CheckSettings { with_request_body: Some(body), ..of_grpc(|_| {}) };
        refused_settings(settings, &format!(".with_request_body.{field}"));
    };
    buffers(0, true, "max_request_bytes");
    buffers(65_537, true, "max_request_bytes");
    buffers(65_536, false, "allow_partial_message");
    let extensions = [("a".to_owned(), "b".to_owned())].into();
    refused_settings(
        CheckSettings { context_extensions: extensions, ..of_grpc(|_| {}) },
        ".context_extensions",
    );
    let grpc = |spoil: fn(&mut GrpcService), field: &str| {
        refused_settings(of_grpc(spoil), &format!(".grpc_service{field}"));
    };
    fn target(service: &mut GrpcService) -> &mut EnvoyGrpc {
        match &mut service.target_specifier {
            Some(TargetSpecifier::EnvoyGrpc(target)) => target,
            other => panic!("{other:?}"),
        }
    }
    grpc(|service| service.target_specifier = None, ".target_specifier");
    grpc(|service| service.retry_policy = Some(Default::default()), ".retry_policy");
    grpc(|service| service.timeout = seconds(-1), ".timeout");
    grpc(|service| target(service).cluster_name.clear(), ".envoy_grpc.cluster_name");
    grpc(|service| target(service).authority.clear(), ".envoy_grpc.authority");
    grpc(|service| target(service).retry_policy = Some(Default::default()), ".envoy_grpc.retry_policy");
    let http = |spoil: fn(&mut HttpService), field: &str| {
        refused_settings(of_http(spoil), &format!(".http_service{field}"));
    };
    http(|service| service.server_uri = None, ".server_uri");
    http(|service| service.path_prefix = "/a?b".into(), ".path_prefix");
    http(|service| service.path_prefix = "a".into(), ".path_prefix");
    http(|service| service.path_override = "/a".into(), ".path_override");
    http(|service| service.retry_policy = Some(Default::default()), ".retry_policy");
    http(
        |service| {
            let told = service.authorization_request.as_mut().expect("there is one");
            told.headers_to_add.push(Default::default());
        },
        ".authorization_request.headers_to_add",
    );
    http(
        |service| {
            let taken = service.authorization_response.as_mut().expect("there is one");
            taken.allowed_client_headers = Some(ListStringMatcher::default());
        },
        ".authorization_response.allowed_client_headers",
    );
    http(
        |service| {
            let taken = service.authorization_response.as_mut().expect("there is one");
            taken.allowed_upstream_headers = Some(ListStringMatcher { patterns: vec![Default::default()] });
        },
        ".authorization_response.allowed_upstream_headers.patterns[0].match_pattern",
    );
}
