//! How endpoints that fail are left alone, as xDS.

use envoy_types::pb::envoy::config::cluster::v3::cluster::CommonLbConfig;
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, OutlierDetection};
use envoy_types::pb::envoy::config::common::matcher::v3::match_predicate::{MatchSet, Rule};
use envoy_types::pb::envoy::config::common::matcher::v3::{HttpHeadersMatch, MatchPredicate};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::{BoolValue, UInt32Value};
use http::StatusCode;
use mesh_core::resource::Consecutive;

use super::cluster::duration;
use super::matcher;
use crate::document::{OutlierSettings, StringMatch};

/// All is written, so that no client's own default takes part. Rates are for those who ask for them, and documents cannot.
pub(super) fn write(settings: &OutlierSettings, cluster: &mut Cluster) {
    let detection = &settings.detection;
    let number = |value| Some(UInt32Value { value });
    let failures = |wanted: Option<Consecutive>| number(wanted.map_or(0, |wanted| wanted.failures));
    let enforced = |wanted: Option<Consecutive>| number(wanted.map_or(0, |wanted| wanted.enforced_percent));
    cluster.outlier_detection = Some(OutlierDetection {
        consecutive_5xx: failures(detection.consecutive_5xx),
        enforcing_consecutive_5xx: enforced(detection.consecutive_5xx),
        consecutive_gateway_failure: failures(detection.consecutive_gateway_failure),
        enforcing_consecutive_gateway_failure: enforced(detection.consecutive_gateway_failure),
        split_external_local_origin_errors: detection.splits_local_origin,
        consecutive_local_origin_failure: failures(detection.consecutive_local_origin_failure),
        enforcing_consecutive_local_origin_failure: enforced(detection.consecutive_local_origin_failure),
        enforcing_success_rate: number(0),
        enforcing_local_origin_success_rate: number(0),
        interval: Some(duration(detection.interval)),
        base_ejection_time: Some(duration(detection.base_ejection_time)),
        max_ejection_time: Some(duration(detection.ejection_time_max)),
        max_ejection_percent: number(detection.ejection_percent_max),
        always_eject_one_host: Some(BoolValue { value: detection.always_ejects_one }),
        ..OutlierDetection::default()
    });
    let common = cluster.common_lb_config.get_or_insert_with(CommonLbConfig::default);
    common.healthy_panic_threshold = Some(Percent { value: settings.min_health_percent.into() });
}

/// The answers that count as failures, where documents name them.
pub(super) fn errors(settings: &OutlierSettings) -> Option<http_protocol_options::OutlierDetection> {
    let one = |status: &StatusCode| {
        let headers = vec![matcher::header(":status", &StringMatch::Exact(status.as_str().to_owned()))];
        MatchPredicate { rule: Some(Rule::HttpResponseHeadersMatch(HttpHeadersMatch { headers })) }
    };
    let mut rules: Vec<MatchPredicate> = settings.detection.error_statuses.iter().map(one).collect();
    // A set of one is none to Envoy.
    let matcher = match rules.len() {
        0 | 1 => rules.pop()?,
        _ => MatchPredicate { rule: Some(Rule::OrMatch(MatchSet { rules })) },
    };
    Some(http_protocol_options::OutlierDetection { error_matcher: Some(matcher) })
}
