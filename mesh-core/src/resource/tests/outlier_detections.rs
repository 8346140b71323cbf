use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::cluster::CommonLbConfig;
use envoy_types::pb::envoy::config::cluster::v3::{self, Cluster};
use envoy_types::pb::envoy::config::common::matcher::v3::match_predicate::{MatchSet, Rule};
use envoy_types::pb::envoy::config::common::matcher::v3::{HttpHeadersMatch, MatchPredicate};
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options::{
    self, AutoHttpConfig, UpstreamProtocolOptions,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{self, UInt32Value};
use http::StatusCode;

use super::clusters::{changed, refused};
use super::outlier_detection::{Enforced, FailurePercentage, SuccessRate};
use super::*;

type Wire = v3::OutlierDetection;

fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

fn seconds(seconds: i64) -> Option<protobuf::Duration> {
    Some(protobuf::Duration { seconds, nanos: 0 })
}

fn parsed(wire: Wire) -> OutlierDetection {
    changed(|cluster| cluster.outlier_detection = Some(wire)).outlier_detection.clone().expect("it is there")
}

#[test]
fn what_is_not_said_is_as_in_envoy() {
    assert_eq!(changed(|_| ()).outlier_detection, None);
    assert_eq!(parsed(Wire::default()), OutlierDetection::default());
    let long = parsed(Wire { base_ejection_time: seconds(400), ..Wire::default() });
    assert_eq!(long.ejection_time_max, Duration::from_secs(400), "at least one ejection");
    let split = parsed(Wire { split_external_local_origin_errors: true, ..Wire::default() });
    assert_eq!(split.consecutive_local_origin_failure, Consecutive::always(5));
    let enforced = Enforced { external_percent: 100, local_origin_percent: 100 };
    assert_eq!(split.success_rate.map(|rate| rate.enforced), Some(enforced));
}

#[test]
fn a_detector_is_off_where_its_number_or_its_enforcement_is_zero() {
    let off = Wire {
        consecutive_5xx: number(0),
        enforcing_success_rate: number(0),
        consecutive_gateway_failure: number(0),
        enforcing_consecutive_gateway_failure: number(100),
        ..Wire::default()
    };
    let none = OutlierDetection { consecutive_5xx: None, success_rate: None, ..OutlierDetection::default() };
    assert_eq!(parsed(off.clone()), none);
    let unenforced = Wire { consecutive_5xx: number(3), enforcing_consecutive_5xx: number(0), ..off };
    assert_eq!(parsed(unenforced), none);
    assert!(!none.judges_rates());
}

#[test]
fn all_that_is_said_is_taken() {
    let wire = Wire {
        interval: seconds(1),
        base_ejection_time: seconds(2),
        max_ejection_time: seconds(9),
        max_ejection_time_jitter: seconds(3),
        max_ejection_percent: number(50),
        consecutive_gateway_failure: number(2),
        enforcing_consecutive_gateway_failure: number(80),
        success_rate_minimum_hosts: number(3),
        success_rate_request_volume: number(20),
        success_rate_stdev_factor: number(1500),
        enforcing_success_rate: number(60),
        failure_percentage_threshold: number(40),
        failure_percentage_minimum_hosts: number(2),
        failure_percentage_request_volume: number(10),
        enforcing_failure_percentage: number(70),
        ..Wire::default()
    };
    let expected = OutlierDetection {
        interval: Duration::from_secs(1),
        base_ejection_time: Duration::from_secs(2),
        ejection_time_max: Duration::from_secs(9),
        ejection_time_jitter_max: Duration::from_secs(3),
        ejection_percent_max: 50,
        consecutive_gateway_failure: Some(Consecutive { failures: 2, enforced_percent: 80 }),
        success_rate: Some(SuccessRate {
            endpoints_min: 3,
            requests_min: 20,
            stdev_factor_thousandths: 1500,
            enforced: Enforced { external_percent: 60, local_origin_percent: 0 },
        }),
        failure_percentage: Some(FailurePercentage {
            endpoints_min: 2,
            requests_min: 10,
            threshold_percent: 40,
            enforced: Enforced { external_percent: 70, local_origin_percent: 0 },
        }),
        ..OutlierDetection::default()
    };
    assert_eq!(parsed(wire), expected);
}

fn status(name: &str, text: &str) -> MatchPredicate {
    let header_match_specifier = Some(HeaderMatchSpecifier::StringMatch(exact(text)));
    let headers =
        vec![HeaderMatcher { name: name.into(), header_match_specifier, ..HeaderMatcher::default() }];
    MatchPredicate { rule: Some(Rule::HttpResponseHeadersMatch(HttpHeadersMatch { headers })) }
}

fn with_errors(cluster: &mut Cluster, error_matcher: MatchPredicate) {
    let http = HttpProtocolOptions {
        upstream_protocol_options: Some(UpstreamProtocolOptions::AutoConfig(AutoHttpConfig::default())),
        outlier_detection: Some(http_protocol_options::OutlierDetection {
            error_matcher: Some(error_matcher),
        }),
        ..HttpProtocolOptions::default()
    };
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions".to_owned();
    cluster.typed_extension_protocol_options = [(name, pack_any(http))].into();
    cluster.outlier_detection = Some(Wire::default());
}

#[test]
fn the_answers_that_are_failures_are_statuses() {
    let statuses = |matcher: MatchPredicate| {
        let cluster = changed(|cluster| with_errors(cluster, matcher));
        cluster.outlier_detection.clone().expect("it is there").error_statuses
    };
    assert_eq!(statuses(status(":status", "429")), [StatusCode::TOO_MANY_REQUESTS]);
    let any = |rules| MatchPredicate { rule: Some(Rule::OrMatch(MatchSet { rules })) };
    let two = any(vec![status(":status", "429"), status(":status", "500")]);
    assert_eq!(statuses(two), [StatusCode::TOO_MANY_REQUESTS, StatusCode::INTERNAL_SERVER_ERROR]);
    let refused = |matcher, inside: &str| {
        let field = format!(
            "typed_extension_protocol_options.outlier_detection.error_matcher{inside}.http_response_headers_match"
        );
        refused(|cluster| with_errors(cluster, matcher), &field);
    };
    refused(status("x-status", "429"), "");
    refused(status(":status", "many"), "");
    refused(MatchPredicate { rule: Some(Rule::AnyMatch(true)) }, "");
    refused(any(vec![status(":status", "429"), any(Vec::new())]), ".or_match.rules[1]");
}

#[test]
fn the_panic_threshold_is_rounded() {
    let with = |cluster: &mut Cluster, value: f64| {
        let healthy_panic_threshold = Some(Percent { value });
        cluster.common_lb_config =
            Some(CommonLbConfig { healthy_panic_threshold, ..CommonLbConfig::default() });
    };
    let threshold = |value| changed(|cluster| with(cluster, value)).panic_threshold_percent;
    assert_eq!([threshold(0.0), threshold(49.6), threshold(100.0)], [Some(0), Some(50), Some(100)]);
    assert_eq!(changed(|_| ()).panic_threshold_percent, None);
    for wrong in [-1.0, 100.1, f64::NAN] {
        refused(|cluster| with(cluster, wrong), "common_lb_config.healthy_panic_threshold");
    }
}

#[test]
fn outlier_detection_that_cannot_be_honoured_is_refused() {
    let refuse = |change: fn(&mut Wire), field: &str| {
        let mut wire = Wire::default();
        change(&mut wire);
        refused(|cluster| cluster.outlier_detection = Some(wire), &format!("outlier_detection.{field}"));
    };
    refuse(|wire| wire.interval = seconds(0), "interval");
    refuse(|wire| wire.base_ejection_time = seconds(-1), "base_ejection_time");
    refuse(|wire| wire.max_ejection_percent = number(101), "max_ejection_percent");
    refuse(|wire| wire.enforcing_success_rate = number(101), "enforcing_success_rate");
    refuse(
        |wire| wire.detect_degraded_hosts = Some(protobuf::BoolValue { value: true }),
        "detect_degraded_hosts",
    );
}
