//! HTTP filters of a caller: the listener names them, each route says what they do with its requests.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::FaultDelay;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::fault_delay::FaultDelaySecifier;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::{Cors, CorsPolicy};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::{ExtAuthz, ExtAuthzPerRoute};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::ErrorType;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpFilter;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::{Any, BoolValue};

use super::cluster::duration;
use super::encode::{self, PLAIN};
use super::listener::{filter, router};
use super::matcher;
use crate::document::{self, Abort, AbortStatus, Delay, Fault, UnmatchedPreflights};

/// The filters of every listener, in the order in which they run. They stand there whether or not a route uses them, so that a
/// rule's first fault needs no other listener.
pub(super) fn of_listener() -> Vec<HttpFilter> {
    let fault = filter(FAULT, encode::pack(&HttpFault::default(), &PLAIN));
    let cors = filter(CORS, encode::pack(&Cors::default(), &PLAIN));
    // gRPC knows no CORS, and no browser speaks gRPC as it does.
    let cors = HttpFilter { is_optional: true, ..cors };
    // It has no service of its own, and must not run before a route names one. Whoever does not know it passes over it here, and
    // refuses the route that uses it.
    let auth = filter(EXT_AUTHZ, encode::pack(&ExtAuthz::default(), &PLAIN));
    let auth = HttpFilter { is_optional: true, disabled: true, ..auth };
    vec![fault, cors, auth, router()]
}

/// What a rule has them do.
pub(super) fn of_route(
    faults: Option<&Fault>,
    policy: Option<&document::CorsPolicy>,
    auth: Option<&ExtAuthzPerRoute>,
) -> HashMap<String, Any> {
    let fault = faults.map(|written| (FAULT.to_owned(), encode::pack(&fault(written), &PLAIN)));
    let cors = policy.map(|written| (CORS.to_owned(), optional(encode::pack(&cors(written), &PLAIN))));
    let auth = auth.map(|auth| (EXT_AUTHZ.to_owned(), encode::pack(auth, &PLAIN)));
    fault.into_iter().chain(cors).chain(auth).collect()
}

/// What whoever does not know the filter passes over.
fn optional(config: Any) -> Any {
    let optional = FilterConfig { config: Some(config), is_optional: true, ..FilterConfig::default() };
    encode::pack(&optional, &PLAIN)
}

fn cors(written: &document::CorsPolicy) -> CorsPolicy {
    let forward = written.unmatched_preflights == UnmatchedPreflights::Forward;
    CorsPolicy {
        // Presence cannot be written of an origin.
        allow_origin_string_match: written.allow_origins.iter().filter_map(matcher::string).collect(),
        allow_methods: written.allow_methods.join(","),
        allow_headers: written.allow_headers.join(","),
        expose_headers: written.expose_headers.join(","),
        max_age: written.max_age.map_or_else(String::new, |age| age.as_secs().to_string()),
        allow_credentials: written.allow_credentials.map(|value| BoolValue { value }),
        forward_not_matching_preflights: Some(BoolValue { value: forward }),
        ..CorsPolicy::default()
    }
}

fn fault(written: &Fault) -> HttpFault {
    HttpFault {
        delay: written.delay.as_ref().and_then(delay),
        abort: written.abort.as_ref().and_then(abort),
        ..HttpFault::default()
    }
}

fn delay(written: &Delay) -> Option<FaultDelay> {
    Some(FaultDelay {
        percentage: Some(percentage(written.percentage)),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(duration(written.fixed?))),
    })
}

fn abort(written: &Abort) -> Option<FaultAbort> {
    Some(FaultAbort {
        percentage: Some(percentage(written.percentage)),
        error_type: Some(match written.status? {
            AbortStatus::Http(status) => ErrorType::HttpStatus(status.into()),
            AbortStatus::Grpc(status) => ErrorType::GrpcStatus(status.into()),
        }),
        ..FaultAbort::default()
    })
}

/// Of a hundred, at Envoy's finest.
pub(super) fn percentage(written: f64) -> FractionalPercent {
    FractionalPercent {
        // Documents allow 0 to 100.
        numerator: (written * 10_000.0).round() as u32,
        denominator: DenominatorType::Million.into(),
    }
}

/// The filter by which a route has its requests authorized, as Envoy's own documentation calls it.
pub const EXT_AUTHZ: &str = "envoy.filters.http.ext_authz";
const FAULT: &str = "envoy.filters.http.fault";
const CORS: &str = "envoy.filters.http.cors";
