//! HTTP filters of an outbound listener. They do nothing by themselves: what they do stands on each route, so that a rule's
//! faults travel with the rule.
//!
//! A listener must name a filter before its routes configure it, or gRPC (A33) and Envoy pass over what they say.

use std::collections::HashMap;
use std::mem::take;

use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::FaultDelay;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy as WireCorsPolicy};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthz, ExtAuthzPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::Any;
use http::{HeaderValue, StatusCode};

use super::invalid::{Inside, Invalid, duration, each, holds, nothing_else, unpack};
use super::route::ClusterNames;
use super::{ext_authz, matchers};
use crate::route::{
    Abort, AbortStatus, CorsPolicy, Delay, FaultInjection, Fraction, RouteFilters, UnmatchedPreflights,
};

/// A filter of a listener is a known one that does nothing of its own.
pub(super) fn check_of_listener(config: &Any) -> Result<(), Invalid> {
    if holds::<Cors>(config) {
        return unpack::<Cors>(config).map(|_| ());
    }
    if holds::<ExtAuthz>(config) {
        return nothing_else(&unpack::<ExtAuthz>(config)?);
    }
    if !holds::<HttpFault>(config) {
        return Err(Invalid::new("", "is not supported by this mesh"));
    }
    nothing_else(&unpack::<HttpFault>(config)?)
}

/// What a route has its filters do.
pub(super) fn of_route(
    wire: HashMap<String, Any>,
    clusters: &mut ClusterNames,
) -> Result<RouteFilters, Invalid> {
    let mut filters = RouteFilters::default();
    let mut wire: Vec<_> = wire.into_iter().collect();
    wire.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, config) in wire {
        of_route_one(config, &mut filters, clusters).inside(&name)?;
    }
    Ok(filters)
}

fn of_route_one(config: Any, filters: &mut RouteFilters, clusters: &mut ClusterNames) -> Result<(), Invalid> {
    let (config, is_optional) = match holds::<FilterConfig>(&config) {
        false => (config, false),
        true => match unwrapped(unpack(&config)?)? {
            Some(unwrapped) => unwrapped,
            None => return Ok(()),
        },
    };
    if holds::<HttpFault>(&config) {
        filters.fault = fault(unpack(&config)?)?;
        return Ok(());
    }
    if holds::<WireCorsPolicy>(&config) {
        filters.cors = cors(unpack(&config)?)?;
        return Ok(());
    }
    if holds::<ExtAuthzPerRoute>(&config) {
        filters.external_auth = ext_authz::of_route(unpack(&config)?, clusters)?;
        return Ok(());
    }
    match is_optional {
        true => Ok(()),
        false => Err(Invalid::new("", format!("`{}` is not supported by this mesh", config.type_url))),
    }
}

/// The configuration inside, and whether it may be passed over; none where the filter is off for the route.
fn unwrapped(mut wire: FilterConfig) -> Result<Option<(Any, bool)>, Invalid> {
    if wire.disabled {
        return Ok(None);
    }
    let config = take(&mut wire.config).ok_or(Invalid::new("config", "is missing"))?;
    Ok(Some((config, wire.is_optional)))
}

fn fault(mut wire: HttpFault) -> Result<Option<FaultInjection>, Invalid> {
    let delay = take(&mut wire.delay).map(delay).transpose().inside("delay")?.flatten();
    let abort = take(&mut wire.abort).map(abort).transpose().inside("abort")?;
    // Names of statistics, and of Envoy's runtime, from which nothing is drawn here.
    wire.disable_downstream_cluster_stats = false;
    let runtime = [
        &mut wire.delay_percent_runtime,
        &mut wire.abort_percent_runtime,
        &mut wire.delay_duration_runtime,
        &mut wire.abort_http_status_runtime,
        &mut wire.max_active_faults_runtime,
        &mut wire.response_rate_limit_percent_runtime,
        &mut wire.abort_grpc_status_runtime,
    ];
    runtime.into_iter().for_each(String::clear);
    nothing_else(&wire)?;
    Ok((delay.is_some() || abort.is_some()).then_some(FaultInjection { delay, abort }))
}

fn delay(wire: FaultDelay) -> Result<Option<Delay>, Invalid> {
    let fixed = match wire.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(fixed)) => duration("fixed_delay", fixed)?,
        Some(other) => return Err(Invalid::unsupported(&other)),
        None => return Ok(None),
    };
    let fraction = fraction(wire.percentage.unwrap_or_default()).inside("percentage")?;
    Ok(Some(Delay { duration: fixed, fraction }))
}

fn abort(mut wire: FaultAbort) -> Result<Abort, Invalid> {
    let fraction = fraction(take(&mut wire.percentage).unwrap_or_default()).inside("percentage")?;
    let status = match take(&mut wire.error_type) {
        Some(ErrorType::HttpStatus(status)) => {
            let known = u16::try_from(status).ok().filter(|status| (200..600).contains(status));
            let status = known.and_then(|status| StatusCode::from_u16(status).ok());
            AbortStatus::Http(status.ok_or(Invalid::new("http_status", "is none from 200 to 599"))?)
        }
        Some(ErrorType::GrpcStatus(status)) => {
            let status = u8::try_from(status).ok().filter(|status| *status <= GRPC_STATUS_MAX);
            AbortStatus::Grpc(status.ok_or(Invalid::new("grpc_status", "is no gRPC status"))?)
        }
        Some(other) => return Err(Invalid::unsupported(&other)),
        None => return Err(Invalid::new("error_type", "is missing")),
    };
    nothing_else(&wire)?;
    Ok(Abort { status, fraction })
}

/// None where the policy is off.
fn cors(mut wire: WireCorsPolicy) -> Result<Option<CorsPolicy>, Invalid> {
    let enabled =
        take(&mut wire.filter_enabled).map(|share| fraction(share.default_value.unwrap_or_default()));
    let enabled = match enabled.transpose().inside("filter_enabled")?.unwrap_or(Fraction::ALL).holds(None) {
        Some(enabled) => enabled,
        None => return Err(Invalid::new("filter_enabled", "is neither 0 nor 100 %")),
    };
    // It would count and do nothing.
    wire.shadow_enabled = None;
    let list = |field: &str, text: String| match text.as_str() {
        "" => Ok(None),
        text => HeaderValue::from_str(text).map(Some).map_err(|error| Invalid::new(field, error)),
    };
    let origins = take(&mut wire.allow_origin_string_match);
    let policy = CorsPolicy {
        allow_origins: each("allow_origin_string_match", origins, matchers::pattern)?,
        allow_methods: list("allow_methods", take(&mut wire.allow_methods))?,
        allow_headers: list("allow_headers", take(&mut wire.allow_headers))?,
        expose_headers: list("expose_headers", take(&mut wire.expose_headers))?,
        max_age: list("max_age", take(&mut wire.max_age))?,
        allow_credentials: take(&mut wire.allow_credentials).is_some_and(|allow| allow.value),
        unmatched_preflights: match take(&mut wire.forward_not_matching_preflights) {
            Some(forward) if !forward.value => UnmatchedPreflights::Ignore,
            Some(_) | None => UnmatchedPreflights::Forward,
        },
    };
    nothing_else(&wire)?;
    Ok(enabled.then_some(policy))
}

/// Of a hundred, ten thousand or a million.
pub(super) fn fraction(wire: FractionalPercent) -> Result<Fraction, Invalid> {
    let each = match DenominatorType::try_from(wire.denominator) {
        Ok(DenominatorType::Hundred) => 10_000,
        Ok(DenominatorType::TenThousand) => 100,
        Ok(DenominatorType::Million) => 1,
        Err(unknown) => return Err(Invalid::new("denominator", unknown)),
    };
    Ok(Fraction::of_million(wire.numerator.saturating_mul(each)))
}

/// `UNAUTHENTICATED`.
const GRPC_STATUS_MAX: u8 = 16;
