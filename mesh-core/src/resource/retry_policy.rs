//! A route's retry policy.

use std::mem::take;
use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3 as wire;
use http::StatusCode;

use super::invalid::{Inside, Invalid, duration, each, nothing_else};
use crate::backoff::Backoff;
use crate::route::{RetryCondition, RetryPolicy};

/// None where nothing is repeated and attempts have no limit of their own.
pub(super) fn parse(mut wire: wire::RetryPolicy) -> Result<Option<RetryPolicy>, Invalid> {
    let on = take(&mut wire.retry_on);
    let on = on.split(',').map(str::trim).filter(|name| !name.is_empty()).map(|name| {
        let unknown = || Invalid::new("retry_on", format!("`{name}` is not supported by this mesh"));
        RetryCondition::named(name).ok_or_else(unknown)
    });
    let on = on.collect::<Result<Vec<_>, _>>()?;
    let status_codes = each("retriable_status_codes", take(&mut wire.retriable_status_codes), |status| {
        let parsed = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
        parsed.ok_or_else(|| Invalid::new("", format!("{status} is no status")))
    })?;
    // Envoy's default where a policy is there at all.
    let attempts = take(&mut wire.num_retries).map_or(1, |retries| retries.value);
    let predicates = take(&mut wire.retry_host_predicate);
    if let Some(other) = predicates.iter().find(|predicate| predicate.name != PREVIOUS_HOSTS) {
        let reason = format!("`{}` is not supported by this mesh", other.name);
        return Err(Invalid::new("retry_host_predicate", reason));
    }
    // How many picks are spent on finding another one is the picker's own business.
    wire.host_selection_retry_max_attempts = 0;
    let per_try_timeout = take(&mut wire.per_try_timeout).map(|wire| duration("per_try_timeout", wire));
    let per_try_timeout = per_try_timeout.transpose()?.filter(|limit| !limit.is_zero());
    let backoff = take(&mut wire.retry_back_off).map(backoff).transpose().inside("retry_back_off")?;
    nothing_else(&wire)?;
    let attempts = if on.is_empty() { 0 } else { attempts };
    Ok((attempts > 0 || per_try_timeout.is_some()).then_some(RetryPolicy {
        attempts,
        on,
        status_codes,
        per_try_timeout,
        backoff,
        avoids_previous: !predicates.is_empty(),
    }))
}

fn backoff(mut wire: wire::retry_policy::RetryBackOff) -> Result<Backoff, Invalid> {
    let base = take(&mut wire.base_interval).ok_or(Invalid::new("base_interval", "is missing"))?;
    let base = duration("base_interval", base)?.max(Duration::from_millis(1));
    let max = take(&mut wire.max_interval).map(|wire| duration("max_interval", wire)).transpose()?;
    let max = max.unwrap_or_else(|| base.saturating_mul(TIMES_MAX));
    if max < base {
        return Err(Invalid::new("max_interval", "is less than base_interval"));
    }
    nothing_else(&wire)?;
    Ok(Backoff::new(base, max))
}

/// The predicate by which endpoints that were tried are passed over.
const PREVIOUS_HOSTS: &str = "envoy.retry_host_predicates.previous_hosts";
/// By how much Envoy lets the wait grow, if nothing is said.
const TIMES_MAX: u32 = 10;
