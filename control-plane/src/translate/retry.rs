//! Retries as xDS says them.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::RetryPolicy;
use envoy_types::pb::envoy::config::route::v3::retry_policy::{
    RetryBackOff, RetryHostPredicate, retry_host_predicate,
};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::google::protobuf::UInt32Value;
use mesh_core::route::RetryCondition;

use super::cluster::duration;
use super::encode::{self, PLAIN};
use crate::document::Retries;

/// What a rule says, else what is certain to do no harm. The limit of each attempt holds without retries too.
pub(super) fn policy(written: Option<&Retries>, per_try_timeout: Option<Duration>) -> Option<RetryPolicy> {
    let default = Retries { attempts: ATTEMPTS, ..Retries::default() };
    let retries = written.unwrap_or(&default);
    let per_try_timeout = per_try_timeout.or(retries.per_try_timeout);
    if retries.attempts == 0 && per_try_timeout.is_none() {
        return None;
    }
    let on = if retries.on.is_empty() { &UNPROCESSED[..] } else { &retries.on };
    let on: Vec<&str> = on.iter().map(|condition| condition.as_str()).collect();
    Some(RetryPolicy {
        retry_on: on.join(","),
        num_retries: Some(UInt32Value { value: retries.attempts }),
        per_try_timeout: per_try_timeout.map(duration),
        retriable_status_codes: retries.status_codes.iter().map(|status| status.as_u16().into()).collect(),
        retry_back_off: retries.backoff.map(|backoff| RetryBackOff {
            base_interval: Some(duration(backoff)),
            max_interval: Some(duration(backoff.saturating_mul(10))),
        }),
        retry_host_predicate: if retries.same_endpoint { Vec::new() } else { vec![previous_hosts()] },
        host_selection_retry_max_attempts: if retries.same_endpoint { 0 } else { PICKS_MAX },
        ..RetryPolicy::default()
    })
}

fn previous_hosts() -> RetryHostPredicate {
    let config = encode::pack(&PreviousHostsPredicate {}, &PLAIN);
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(retry_host_predicate::ConfigType::TypedConfig(config)),
    }
}

/// What is known not to have been processed.
const UNPROCESSED: [RetryCondition; 3] =
    [RetryCondition::ConnectFailure, RetryCondition::RefusedStream, RetryCondition::ResetBeforeRequest];
/// Attempts beyond the first, where a document says nothing; as Istio's.
const ATTEMPTS: u32 = 2;
/// How many picks Envoy spends on another endpoint; as Istio's.
const PICKS_MAX: i64 = 5;
