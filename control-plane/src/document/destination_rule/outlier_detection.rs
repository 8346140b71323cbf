//! How endpoints that fail are left alone.

use http::StatusCode;
use mesh_core::resource::{Consecutive, OutlierDetection};

use super::super::fields::Fields;
use super::super::scalar::{boolean, duration, integer, unsigned};
use super::super::value::Value;

/// An `outlierDetection` block.
#[derive(Clone, Debug, Default)]
pub struct OutlierSettings {
    /// What it says, with Istio's defaults.
    pub detection: OutlierDetection,
    /// From how few healthy endpoints of a hundred on the others are asked too; 0 is never.
    pub min_health_percent: u8,
}

pub(super) fn decode(fields: &mut Fields<'_, '_>) -> Box<OutlierSettings> {
    fields.deprecated("consecutiveErrors", "`consecutive5xxErrors`");
    let older = fields.optional("consecutiveErrors", integer(0, i64::from(i32::MAX)));
    let older = older.and_then(|errors| u32::try_from(errors).ok()).filter(|errors| *errors > 0);
    let xds = OutlierDetection::default();
    let failures = fields.optional("consecutive5xxErrors", unsigned).or(older);
    let gateway = fields.or_default("consecutiveGatewayErrors", unsigned);
    let local = fields.optional("consecutiveLocalOriginFailures", unsigned);
    let split = fields.or_default("splitExternalLocalOriginErrors", boolean);
    let base = fields.optional("baseEjectionTime", duration).unwrap_or(xds.base_ejection_time);
    let percent = fields.optional("maxEjectionPercent", integer(0, 100)).filter(|percent| *percent > 0);
    let percent = percent.and_then(|percent| u32::try_from(percent).ok()).unwrap_or(xds.ejection_percent_max);
    if local.unwrap_or_default() > 0 && !split {
        let next = "set `splitExternalLocalOriginErrors: true`";
        fields.conflict(
            "consecutiveLocalOriginFailures",
            "counts only where local errors are split off",
            next,
        );
    }
    let detection = OutlierDetection {
        interval: fields.optional("interval", duration).unwrap_or(xds.interval),
        base_ejection_time: base,
        ejection_time_max: base.max(xds.ejection_time_max),
        ejection_percent_max: percent,
        always_ejects_one: true,
        splits_local_origin: split,
        error_statuses: fields.list("outlierDetectionHttpErrorCodes", status),
        consecutive_5xx: failures.map_or(xds.consecutive_5xx, Consecutive::always),
        consecutive_gateway_failure: Consecutive::always(gateway),
        consecutive_local_origin_failure: Consecutive::always(local.unwrap_or(LOCAL)).filter(|_| split),
        success_rate: None,
        ..xds
    };
    let min_health = fields.optional("minHealthPercent", integer(0, 100)).unwrap_or_default();
    let min_health_percent = u8::try_from(min_health).unwrap_or_default();
    Box::new(OutlierSettings { detection, min_health_percent })
}

fn status(value: Value<'_, '_>) -> StatusCode {
    u16::try_from(integer(100, 599)(value)).ok().and_then(|code| code.try_into().ok()).unwrap_or_default()
}

/// Istio's default.
const LOCAL: u32 = 5;
