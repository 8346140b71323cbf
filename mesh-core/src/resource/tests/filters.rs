use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::RuntimeFractionalPercent;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{FilterConfig, RouteConfiguration};
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::FaultDelay;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::{
    FaultDelaySecifier, HeaderDelay,
};
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy as WireCorsPolicy;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::{ErrorType, HeaderAbort};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::RbacPerRoute;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf;
use http::StatusCode;

use super::routes::{configuration, forward, parsed, route};
use super::*;
use crate::route::{Abort, AbortStatus, Delay, FaultInjection, Fraction, RouteFilters, UnmatchedPreflights};

const FAULT: &str = "envoy.filters.http.fault";

fn of(numerator: u32, denominator: DenominatorType) -> Option<FractionalPercent> {
    Some(FractionalPercent { numerator, denominator: denominator.into() })
}

fn fault() -> HttpFault {
    let delay = FaultDelay {
        percentage: of(10, DenominatorType::Hundred),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(protobuf::Duration {
            seconds: 7,
            nanos: 0,
        })),
    };
    let abort = FaultAbort {
        percentage: of(5, DenominatorType::Million),
        error_type: Some(ErrorType::HttpStatus(418)),
        ..FaultAbort::default()
    };
    HttpFault { delay: Some(delay), abort: Some(abort), ..HttpFault::default() }
}

fn configured(name: &str, config: Any) -> RouteConfiguration {
    let mut wire = route(Action::Route(forward()));
    wire.typed_per_filter_config.insert(name.to_owned(), config);
    configuration(vec![wire])
}

fn read(config: Any, check: impl FnOnce(&RouteFilters)) {
    check(&parsed(&configured(FAULT, config)).routes.routes()[0].filters);
}

#[track_caller]
fn refused(config: Any, field: &str) {
    let field = format!("virtual_hosts[0].routes[0].typed_per_filter_config.{FAULT}{field}");
    check_refused(ResourceType::RouteConfiguration, configured(FAULT, config), |_| {}, &field);
}

#[track_caller]
fn refused_fault(spoil: impl FnOnce(&mut HttpFault), field: &str) {
    let mut fault = fault();
    spoil(&mut fault);
    refused(pack_any(fault), &format!(".{field}"));
}

fn optional(config: Any) -> FilterConfig {
    FilterConfig { config: Some(config), is_optional: true, ..FilterConfig::default() }
}

#[test]
fn faults_are_read_from_their_route() {
    let expected = FaultInjection {
        delay: Some(Delay { duration: Duration::from_secs(7), fraction: Fraction::of_million(100_000) }),
        abort: Some(Abort {
            status: AbortStatus::Http(StatusCode::IM_A_TEAPOT),
            fraction: Fraction::of_million(5),
        }),
    };
    read(pack_any(fault()), |filters| assert_eq!(filters.fault.as_ref(), Some(&expected)));
    read(pack_any(optional(pack_any(fault()))), |filters| assert_eq!(filters.fault, Some(expected)));
    let off = FilterConfig { disabled: true, ..optional(pack_any(fault())) };
    read(pack_any(off), |filters| assert_eq!(filters.fault, None));
    read(pack_any(HttpFault::default()), |filters| assert_eq!(filters.fault, None));
}

#[test]
fn a_share_that_nobody_says_is_none() {
    let mut silent = fault();
    silent.delay.as_mut().expect("there").percentage = None;
    let share = |filters: &RouteFilters| filters.fault.as_ref()?.delay.map(|delay| delay.fraction);
    read(pack_any(silent), |filters| assert_eq!(share(filters), Some(Fraction::of_million(0))));
}

#[test]
fn what_a_fault_cannot_be_is_refused() {
    let delay =
        |kind| move |fault: &mut HttpFault| fault.delay.as_mut().expect("there").fault_delay_secifier = kind;
    let abort = |kind| move |fault: &mut HttpFault| fault.abort.as_mut().expect("there").error_type = kind;
    refused_fault(delay(Some(FaultDelaySecifier::HeaderDelay(HeaderDelay {}))), "delay");
    refused_fault(abort(Some(ErrorType::HeaderAbort(HeaderAbort {}))), "abort");
    refused_fault(abort(Some(ErrorType::HttpStatus(199))), "abort.http_status");
    refused_fault(abort(Some(ErrorType::HttpStatus(600))), "abort.http_status");
    refused_fault(abort(Some(ErrorType::GrpcStatus(17))), "abort.grpc_status");
    refused_fault(abort(None), "abort.error_type");
    refused_fault(
        |fault| {
            fault.abort.as_mut().expect("there").percentage =
                Some(FractionalPercent { numerator: 1, denominator: 7 })
        },
        "abort.percentage.denominator",
    );
    refused_fault(|fault| fault.upstream_cluster = "a".into(), "upstream_cluster");
    refused_fault(|fault| fault.downstream_nodes = vec!["a".into()], "downstream_nodes");
    refused_fault(
        |fault| fault.max_active_faults = Some(protobuf::UInt32Value { value: 1 }),
        "max_active_faults",
    );
}

#[test]
fn a_filter_that_nobody_knows_is_refused_unless_it_is_optional() {
    let unknown = || pack_any(RbacPerRoute::default());
    refused(unknown(), "");
    let demanded = FilterConfig { is_optional: false, ..optional(unknown()) };
    refused(pack_any(demanded), "");
    refused(pack_any(FilterConfig::default()), ".config");
    read(pack_any(optional(unknown())), |filters| assert!(filters.fault.is_none()));
}

fn cors() -> WireCorsPolicy {
    WireCorsPolicy {
        allow_origin_string_match: vec![exact("https://a")],
        allow_methods: "GET,PUT".into(),
        max_age: "60".into(),
        forward_not_matching_preflights: Some(protobuf::BoolValue { value: false }),
        ..WireCorsPolicy::default()
    }
}

#[test]
fn a_cors_policy_is_read_from_its_route() {
    read(pack_any(optional(pack_any(cors()))), |filters| {
        let policy = filters.cors.as_ref().expect("a policy");
        assert_eq!(policy.allow_origins.len(), 1);
        assert_eq!(policy.allow_methods.as_ref().map(|value| value.as_bytes()), Some(&b"GET,PUT"[..]));
        assert_eq!((&policy.allow_headers, policy.allow_credentials), (&None, false));
        assert_eq!(policy.unmatched_preflights, UnmatchedPreflights::Ignore);
    });
    let enabled = |numerator| {
        let default_value = of(numerator, DenominatorType::Hundred);
        let filter_enabled = Some(RuntimeFractionalPercent { default_value, ..Default::default() });
        pack_any(WireCorsPolicy { filter_enabled, ..cors() })
    };
    read(enabled(0), |filters| assert!(filters.cors.is_none()));
    read(enabled(100), |filters| assert!(filters.cors.is_some()));
    refused(enabled(50), ".filter_enabled");
    let spoilt = |spoil: fn(&mut WireCorsPolicy)| {
        let mut cors = cors();
        spoil(&mut cors);
        pack_any(cors)
    };
    refused(spoilt(|cors| cors.max_age = "1\n".into()), ".max_age");
    refused(
        spoilt(|cors| cors.allow_origin_string_match = vec![Default::default()]),
        ".allow_origin_string_match[0].match_pattern",
    );
    let private = |cors: &mut WireCorsPolicy| {
        cors.allow_private_network_access = Some(protobuf::BoolValue { value: true });
    };
    refused(spoilt(private), ".allow_private_network_access");
}
