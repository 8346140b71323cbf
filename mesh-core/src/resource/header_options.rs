//! Header operations as xDS writes them.

use std::mem::take;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use http::{HeaderName, HeaderValue};

use super::invalid::{Invalid, each, nothing_else};
use crate::route::HeaderOperations;

/// Operations from the two lists that stand beside each other wherever headers are changed.
pub(super) fn operations(
    direction: &str,
    options: Vec<HeaderValueOption>,
    remove: Vec<String>,
) -> Result<HeaderOperations, Invalid> {
    let mut operations = HeaderOperations::default();
    each(&format!("{direction}_headers_to_add"), options, |option| {
        let (action, header) = header_value(option)?;
        match action {
            HeaderAppendAction::OverwriteIfExistsOrAdd => operations.set.push(header),
            HeaderAppendAction::AppendIfExistsOrAdd => operations.add.push(header),
            _ => {
                return Err(Invalid::new(
                    "append_action",
                    format!("{} is not supported", action.as_str_name()),
                ));
            }
        }
        Ok(())
    })?;
    operations.remove = each(&format!("{direction}_headers_to_remove"), remove, |name| header_name(&name))?;
    Ok(operations)
}

#[allow(deprecated, reason = "older control planes send `append` in place of `append_action`")]
fn header_value(
    mut option: HeaderValueOption,
) -> Result<(HeaderAppendAction, (HeaderName, HeaderValue)), Invalid> {
    let header = take(&mut option.header).ok_or(Invalid::new("header", "is missing"))?;
    let name = header_name(&header.key).map_err(|invalid| invalid.inside("header.key"))?;
    let value = match header.raw_value.as_slice() {
        [] => literal(&header.value).and_then(|value| HeaderValue::try_from(value).ok()),
        raw => HeaderValue::from_bytes(raw).ok(),
    };
    let value =
        value.ok_or(Invalid::new("header.value", "is no literal header value (a `%` is written `%%`)"))?;
    let action = match take(&mut option.append) {
        Some(append) if !append.value => HeaderAppendAction::OverwriteIfExistsOrAdd,
        _ => HeaderAppendAction::try_from(take(&mut option.append_action))
            .map_err(|unknown| Invalid::new("append_action", unknown))?,
    };
    // It only matters to values computed by format commands, and those are refused.
    option.keep_empty_value = false;
    nothing_else(&option)?;
    Ok((action, (name, value)))
}

/// `host` is refused: it is set with `host_rewrite_literal`, which knows the places where an authority stands.
fn header_name(name: &str) -> Result<HeaderName, Invalid> {
    match name.parse::<HeaderName>() {
        Ok(name) if name != http::header::HOST => Ok(name),
        _ => Err(Invalid::new("", format!("`{name}` is no header that can be changed"))),
    }
}

/// Envoy computes values with `%COMMANDS%`; a literal `%` is doubled.
fn literal(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut symbols = value.chars();
    while let Some(symbol) = symbols.next() {
        if symbol == '%' && symbols.next() != Some('%') {
            return None;
        }
        out.push(symbol);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::HeaderValue as WireValue;

    use super::*;

    fn option(key: &str, value: &str, action: HeaderAppendAction) -> HeaderValueOption {
        let header = WireValue { key: key.into(), value: value.into(), ..WireValue::default() };
        HeaderValueOption {
            header: Some(header),
            append_action: action.into(),
            ..HeaderValueOption::default()
        }
    }

    #[track_caller]
    fn check(option: HeaderValueOption, expected: Result<&str, &str>) {
        let parsed = operations("request", vec![option], vec![]).map(|operations| format!("{operations:?}"));
        match (parsed, expected) {
            (Ok(operations), Ok(part)) => assert!(operations.contains(part), "{operations}"),
            (Err(invalid), Err(field)) => assert!(format!("{invalid:?}").contains(field), "{invalid:?}"),
            (parsed, _) => panic!("{parsed:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn set_and_add_are_told_apart_and_percent_is_doubled() {
        check(option("a", "1", HeaderAppendAction::OverwriteIfExistsOrAdd), Ok(r#"set: [("a", "1")]"#));
        check(option("a", "100%%", HeaderAppendAction::AppendIfExistsOrAdd), Ok(r#"add: [("a", "100%")]"#));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        check(option("a", "%START_TIME%", HeaderAppendAction::AppendIfExistsOrAdd), Err("header.value"));
        check(option("a", "100%", HeaderAppendAction::AppendIfExistsOrAdd), Err("header.value"));
        check(option("a", "x\ny", HeaderAppendAction::AppendIfExistsOrAdd), Err("header.value"));
        check(option("a", "1", HeaderAppendAction::AddIfAbsent), Err("ADD_IF_ABSENT"));
        check(option("host", "b", HeaderAppendAction::OverwriteIfExistsOrAdd), Err("header.key"));
        check(option(":path", "/", HeaderAppendAction::OverwriteIfExistsOrAdd), Err("header.key"));
        assert!(operations("request", vec![], vec!["Host".into()]).is_err());
    }
}
