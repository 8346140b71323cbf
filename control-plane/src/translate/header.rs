//! Header operations and the authority, which Istio lets people write as one of them.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};

use crate::document::HeaderOperations;

/// What is set and added, in that order; the authority is not among it.
pub(super) fn to_add(operations: &HeaderOperations) -> Vec<HeaderValueOption> {
    let set = operations.set.iter().map(|pair| (pair, HeaderAppendAction::OverwriteIfExistsOrAdd));
    let add = operations.add.iter().map(|pair| (pair, HeaderAppendAction::AppendIfExistsOrAdd));
    let plain = set.chain(add).filter(|((name, _), _)| !is_authority(name));
    plain
        .map(|((name, value), action)| HeaderValueOption {
            header: Some(HeaderValue {
                key: name.to_ascii_lowercase(),
                value: value.clone(),
                ..HeaderValue::default()
            }),
            append_action: action.into(),
            keep_empty_value: true,
            ..HeaderValueOption::default()
        })
        .collect()
}

/// What is removed.
pub(super) fn to_remove(operations: &HeaderOperations) -> Vec<String> {
    operations.remove.iter().map(|name| name.to_ascii_lowercase()).collect()
}

/// What the authority is set to.
pub(super) fn authority(operations: &HeaderOperations) -> Option<&str> {
    let mut both = operations.set.iter().chain(&operations.add);
    both.find(|(name, _)| is_authority(name)).map(|(_, value)| value.as_str())
}

fn is_authority(name: &str) -> bool {
    name.eq_ignore_ascii_case(":authority") || name.eq_ignore_ascii_case("host")
}
