//! When an endpoint that does worse than it should is left alone, and for how long: `outlier_detection` of a cluster, as Envoy
//! means it.
//!
//! `always_eject_one_host` is what makes it work with few endpoints: without it, a tenth of five endpoints is none.

use std::mem::take;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3 as wire;
use envoy_types::pb::envoy::config::common::matcher::v3::MatchPredicate;
use envoy_types::pb::envoy::config::common::matcher::v3::match_predicate::Rule;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::upstreams::http::v3::http_protocol_options;
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{self, UInt32Value};
use http::StatusCode;

use super::invalid::{Inside, Invalid, duration, each, nothing_else};

/// How endpoints that fail are found and left alone. The default is that of xDS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// How long rates are counted before they are judged; how soon an ejection that is over begins to be forgotten.
    pub interval: Duration,
    /// How long the first ejection lasts, and by how much each further one lasts longer.
    pub base_ejection_time: Duration,
    /// The longest ejection.
    pub ejection_time_max: Duration,
    /// By how much an ejection may last longer, so that not all callers come back at once.
    pub ejection_time_jitter_max: Duration,
    /// How many of a hundred endpoints may be ejected at a time.
    pub ejection_percent_max: u32,
    /// Whether one endpoint may be ejected however few a hundredth of them is.
    pub always_ejects_one: bool,
    /// Whether what this side finds failing (connects, resets, timeouts) is counted apart from what endpoints answer; else it
    /// counts as a gateway error.
    pub splits_local_origin: bool,
    /// The answers that are failures; none names those from 500 on.
    pub error_statuses: Vec<StatusCode>,
    /// Failures in a row.
    pub consecutive_5xx: Option<Consecutive>,
    /// Answers of 502, 503 and 504 in a row.
    pub consecutive_gateway_failure: Option<Consecutive>,
    /// Failures of local origin in a row, where they are split off.
    pub consecutive_local_origin_failure: Option<Consecutive>,
    /// Doing worse than the others.
    pub success_rate: Option<SuccessRate>,
    /// Failing too often.
    pub failure_percentage: Option<FailurePercentage>,
}

/// So many in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consecutive {
    /// How many; at least one.
    pub failures: u32,
    /// In how many of a hundred cases it leads to an ejection; at least one.
    pub enforced_percent: u32,
}

/// A share of successes that is far below those of the other endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SuccessRate {
    /// How many endpoints must have had enough requests.
    pub endpoints_min: u32,
    /// How many requests of an interval are enough.
    pub requests_min: u32,
    /// How far below the average is too far, in thousandths of the standard deviation.
    pub stdev_factor_thousandths: u32,
    /// In how many of a hundred cases it leads to an ejection.
    pub enforced: Enforced,
}

/// A share of failures that is too high, whatever the others do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailurePercentage {
    /// How many endpoints must have had enough requests.
    pub endpoints_min: u32,
    /// How many requests of an interval are enough.
    pub requests_min: u32,
    /// How many failures of a hundred requests are too many.
    pub threshold_percent: u32,
    /// In how many of a hundred cases it leads to an ejection.
    pub enforced: Enforced,
}

/// In how many of a hundred cases a finding leads to an ejection, by what was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforced {
    /// What endpoints answered; all failures, where those of local origin are not split off.
    pub external_percent: u32,
    /// Failures of local origin, where they are split off.
    pub local_origin_percent: u32,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        let enforced = Enforced { external_percent: 100, local_origin_percent: 0 };
        Self {
            interval: Duration::from_secs(10),
            base_ejection_time: BASE_EJECTION_TIME,
            ejection_time_max: EJECTION_TIME_MAX,
            ejection_time_jitter_max: Duration::ZERO,
            ejection_percent_max: EJECTION_PERCENT_MAX,
            always_ejects_one: false,
            splits_local_origin: false,
            error_statuses: Vec::new(),
            consecutive_5xx: Consecutive::always(CONSECUTIVE),
            consecutive_gateway_failure: None,
            consecutive_local_origin_failure: None,
            success_rate: Some(SuccessRate {
                endpoints_min: ENDPOINTS_MIN,
                requests_min: SUCCESS_RATE_REQUESTS_MIN,
                stdev_factor_thousandths: STDEV_FACTOR_THOUSANDTHS,
                enforced,
            }),
            failure_percentage: None,
        }
    }
}

impl Consecutive {
    /// So many, each time; none where that is 0.
    pub fn always(failures: u32) -> Option<Self> {
        (failures > 0).then_some(Self { failures, enforced_percent: 100 })
    }

    fn parse(failures: Option<UInt32Value>, enforced_percent: u32) -> Option<Self> {
        let failures = failures.map_or(CONSECUTIVE, |failures| failures.value);
        (failures > 0 && enforced_percent > 0).then_some(Self { failures, enforced_percent })
    }
}

impl OutlierDetection {
    pub(super) fn parse(
        mut wire: wire::OutlierDetection,
        error_statuses: Vec<StatusCode>,
    ) -> Result<Self, Invalid> {
        let default = Self::default();
        let base = time("base_ejection_time", take(&mut wire.base_ejection_time))?;
        let base_ejection_time = base.unwrap_or(default.base_ejection_time);
        let longest = time("max_ejection_time", take(&mut wire.max_ejection_time))?;
        let splits_local_origin = take(&mut wire.split_external_local_origin_errors);
        let local = consecutive_local_origin(&mut wire)?.filter(|_| splits_local_origin);
        let parsed = Self {
            interval: time("interval", take(&mut wire.interval))?.unwrap_or(default.interval),
            base_ejection_time,
            ejection_time_max: longest.unwrap_or(EJECTION_TIME_MAX.max(base_ejection_time)),
            ejection_time_jitter_max: match take(&mut wire.max_ejection_time_jitter) {
                Some(jitter) => duration("max_ejection_time_jitter", jitter)?,
                None => default.ejection_time_jitter_max,
            },
            ejection_percent_max: percent(
                "max_ejection_percent",
                take(&mut wire.max_ejection_percent),
                EJECTION_PERCENT_MAX,
            )?,
            always_ejects_one: take(&mut wire.always_eject_one_host).is_some_and(|always| always.value),
            splits_local_origin,
            error_statuses,
            consecutive_5xx: {
                let enforcing = take(&mut wire.enforcing_consecutive_5xx);
                let enforced = percent("enforcing_consecutive_5xx", enforcing, 100)?;
                Consecutive::parse(take(&mut wire.consecutive_5xx), enforced)
            },
            consecutive_gateway_failure: {
                let enforcing = take(&mut wire.enforcing_consecutive_gateway_failure);
                let enforced = percent("enforcing_consecutive_gateway_failure", enforcing, 0)?;
                Consecutive::parse(take(&mut wire.consecutive_gateway_failure), enforced)
            },
            consecutive_local_origin_failure: local,
            success_rate: success_rate(&mut wire, splits_local_origin)?,
            failure_percentage: failure_percentage(&mut wire, splits_local_origin)?,
        };
        nothing_else(&wire)?;
        Ok(parsed)
    }

    /// Whether rates are judged, for which answers are counted.
    pub fn judges_rates(&self) -> bool {
        self.success_rate.is_some() || self.failure_percentage.is_some()
    }
}

fn consecutive_local_origin(wire: &mut wire::OutlierDetection) -> Result<Option<Consecutive>, Invalid> {
    let enforcing = take(&mut wire.enforcing_consecutive_local_origin_failure);
    let enforced = percent("enforcing_consecutive_local_origin_failure", enforcing, 100)?;
    Ok(Consecutive::parse(take(&mut wire.consecutive_local_origin_failure), enforced))
}

fn success_rate(wire: &mut wire::OutlierDetection, splits: bool) -> Result<Option<SuccessRate>, Invalid> {
    let local = take(&mut wire.enforcing_local_origin_success_rate);
    let local = percent("enforcing_local_origin_success_rate", local, 100)?;
    let enforced = Enforced {
        external_percent: percent("enforcing_success_rate", take(&mut wire.enforcing_success_rate), 100)?,
        local_origin_percent: if splits { local } else { 0 },
    };
    let rate = SuccessRate {
        endpoints_min: number(take(&mut wire.success_rate_minimum_hosts), ENDPOINTS_MIN),
        requests_min: number(take(&mut wire.success_rate_request_volume), SUCCESS_RATE_REQUESTS_MIN),
        stdev_factor_thousandths: number(take(&mut wire.success_rate_stdev_factor), STDEV_FACTOR_THOUSANDTHS),
        enforced,
    };
    Ok(enforced.at_all().then_some(rate))
}

fn failure_percentage(
    wire: &mut wire::OutlierDetection,
    splits: bool,
) -> Result<Option<FailurePercentage>, Invalid> {
    let external = take(&mut wire.enforcing_failure_percentage);
    let local = take(&mut wire.enforcing_failure_percentage_local_origin);
    let local = percent("enforcing_failure_percentage_local_origin", local, 0)?;
    let enforced = Enforced {
        external_percent: percent("enforcing_failure_percentage", external, 0)?,
        local_origin_percent: if splits { local } else { 0 },
    };
    let threshold = take(&mut wire.failure_percentage_threshold);
    let rate = FailurePercentage {
        endpoints_min: number(take(&mut wire.failure_percentage_minimum_hosts), ENDPOINTS_MIN),
        requests_min: number(
            take(&mut wire.failure_percentage_request_volume),
            FAILURE_PERCENTAGE_REQUESTS_MIN,
        ),
        threshold_percent: percent("failure_percentage_threshold", threshold, THRESHOLD_PERCENT)?,
        enforced,
    };
    Ok(enforced.at_all().then_some(rate))
}

impl Enforced {
    fn at_all(self) -> bool {
        self.external_percent > 0 || self.local_origin_percent > 0
    }
}

/// The statuses that `HttpProtocolOptions.outlier_detection` calls errors: `:status` is one text, or one of several.
pub(super) fn error_statuses(
    wire: Option<http_protocol_options::OutlierDetection>,
) -> Result<Vec<StatusCode>, Invalid> {
    let Some(matcher) = wire.and_then(|wire| wire.error_matcher) else { return Ok(Vec::new()) };
    let any_of = match matcher.rule {
        Some(Rule::OrMatch(set)) => each("or_match.rules", set.rules, status),
        _ => status(matcher).map(|status| vec![status]),
    };
    any_of.inside("error_matcher").inside("outlier_detection")
}

fn status(wire: MatchPredicate) -> Result<StatusCode, Invalid> {
    let field = "http_response_headers_match";
    let other = || Invalid::new(field, "is not one exact `:status`");
    let Some(Rule::HttpResponseHeadersMatch(set)) = wire.rule else { return Err(other()) };
    let [mut header] = <[HeaderMatcher; 1]>::try_from(set.headers).map_err(|_| other())?;
    let name = take(&mut header.name);
    let wanted = match take(&mut header.header_match_specifier) {
        Some(HeaderMatchSpecifier::StringMatch(StringMatcher {
            match_pattern: Some(MatchPattern::Exact(wanted)),
            ..
        })) => wanted,
        _ => return Err(other()),
    };
    nothing_else(&header).inside(field)?;
    wanted.parse().ok().filter(|_| name == ":status").ok_or_else(other)
}

/// A time that is not 0.
fn time(field: &str, wire: Option<protobuf::Duration>) -> Result<Option<Duration>, Invalid> {
    match wire.map(|wire| duration(field, wire)).transpose()? {
        Some(Duration::ZERO) => Err(Invalid::new(field, "is 0")),
        time => Ok(time),
    }
}

fn percent(field: &str, wire: Option<UInt32Value>, default: u32) -> Result<u32, Invalid> {
    match number(wire, default) {
        percent if percent > 100 => Err(Invalid::new(field, format!("{percent} is more than 100"))),
        percent => Ok(percent),
    }
}

fn number(wire: Option<UInt32Value>, default: u32) -> u32 {
    wire.map_or(default, |wire| wire.value)
}

/// Envoy's defaults.
const CONSECUTIVE: u32 = 5;
const BASE_EJECTION_TIME: Duration = Duration::from_secs(30);
const EJECTION_TIME_MAX: Duration = Duration::from_secs(300);
const EJECTION_PERCENT_MAX: u32 = 10;
const ENDPOINTS_MIN: u32 = 5;
const SUCCESS_RATE_REQUESTS_MIN: u32 = 100;
const FAILURE_PERCENTAGE_REQUESTS_MIN: u32 = 50;
const STDEV_FACTOR_THOUSANDTHS: u32 = 1900;
const THRESHOLD_PERCENT: u32 = 85;
