//! Text, numbers, durations and choices, each with the spelling rules of the format that users' files come from.
//!
//! Quotes are demanded where Kubernetes demands them (`version: 1.0` is a number there), because a file that is taken
//! here and refused in a cluster would be a trap.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use super::{Code, Content, Spanned, Value, shorten};

/// Text.
pub(super) fn text(mut value: Value<'_, '_>) -> String {
    match value.node.map(|node| &node.content) {
        None => String::new(),
        Some(Content::Scalar { text, plain }) if !plain || !is_typed(text) => text.clone(),
        Some(Content::Scalar { .. }) => {
            value.wrong_type("text", "put it in quotes");
            String::new()
        }
        Some(_) => {
            value.wrong_type("text", "write one word or a quoted string");
            String::new()
        }
    }
}

/// Text with its place, for what other documents refer to.
pub(super) fn spanned_text(value: Value<'_, '_>) -> Spanned<String> {
    let span = value.span;
    Spanned { value: text(value), span }
}

/// Text that is not empty.
pub(super) fn some_text(mut value: Value<'_, '_>) -> String {
    let read = text(value.reborrow());
    if read.is_empty() && matches!(value.node.map(|node| &node.content), Some(Content::Scalar { .. })) {
        value.invalid("is empty", "write a value or remove the field");
    }
    read
}

/// `true` or `false`.
pub(super) fn boolean(mut value: Value<'_, '_>) -> bool {
    match plain(&value) {
        None => false,
        Some("true" | "True" | "TRUE") => true,
        Some("false" | "False" | "FALSE") => false,
        Some(_) => {
            value.wrong_type("true or false", "write `true` or `false`, without quotes");
            false
        }
    }
}

/// A whole number between two bounds, both included.
pub(super) fn integer(least: i64, most: i64) -> impl Fn(Value<'_, '_>) -> i64 {
    move |mut value| {
        let Some(written) = plain(&value) else { return least };
        // `50.0` is what some generators write for a whole number; protobuf's reader takes it.
        let parsed = written.parse().ok().or_else(|| written.strip_suffix(".0")?.parse().ok());
        let Some(number) = parsed else {
            value.wrong_type("a whole number", "write digits, without quotes");
            return least;
        };
        if number < least || number > most {
            out_of_range(&mut value, number, least, most);
            return least;
        }
        number
    }
}

/// A whole number that an unsigned 32-bit field holds.
pub(super) fn unsigned(value: Value<'_, '_>) -> u32 {
    u32::try_from(integer(0, i64::from(u32::MAX))(value)).unwrap_or_default()
}

/// A port, 1 to 65535.
pub(super) fn port(value: Value<'_, '_>) -> u16 {
    u16::try_from(integer(1, 65_535)(value)).unwrap_or_default()
}

/// A number between two bounds, both included.
pub(super) fn number(least: f64, most: f64) -> impl Fn(Value<'_, '_>) -> f64 {
    move |mut value| {
        let Some(written) = plain(&value) else { return least };
        match written.parse::<f64>() {
            Ok(number) if (least..=most).contains(&number) => number,
            Ok(number) => {
                out_of_range(&mut value, number, least, most);
                least
            }
            Err(_) => {
                value.wrong_type("a number", "write digits, without quotes");
                least
            }
        }
    }
}

fn out_of_range<N: Display>(value: &mut Value<'_, '_>, number: N, least: N, most: N) {
    let message = format!("{number} is not between {least} and {most}");
    value.invalid(message, format!("write a number from {least} to {most}"));
}

/// A duration of whole milliseconds, at least one.
pub(super) fn duration(value: Value<'_, '_>) -> Duration {
    duration_from(Duration::from_millis(1), value)
}

/// A duration of whole milliseconds, or `0s`.
pub(super) fn duration_or_zero(value: Value<'_, '_>) -> Duration {
    duration_from(Duration::ZERO, value)
}

fn duration_from(least: Duration, mut value: Value<'_, '_>) -> Duration {
    const NEXT: &str = "write a number with a unit: `250ms`, `1.5s`, `1m30s`";
    let Some(written) = value.written() else {
        if value.node.is_some() {
            value.wrong_type("a duration", NEXT);
        }
        return least;
    };
    match parse_duration(written) {
        None => value.invalid(format!("`{}` is not a duration", shorten(written)), NEXT),
        Some(nanoseconds) if nanoseconds % 1_000_000 != 0 => {
            value.invalid(format!("`{written}` is finer than a millisecond"), NEXT);
        }
        Some(nanoseconds) if nanoseconds < i128::try_from(least.as_nanos()).unwrap_or(i128::MAX) => {
            value.invalid(format!("`{written}` is shorter than a millisecond"), NEXT);
        }
        Some(nanoseconds) => {
            return Duration::from_millis(u64::try_from(nanoseconds / 1_000_000).unwrap_or(u64::MAX));
        }
    }
    least
}

/// Go's duration syntax, in nanoseconds: a sign, then numbers with units. Istio reads durations with Go's own function,
/// so that `1m30s` is as good as `90s`.
fn parse_duration(written: &str) -> Option<i128> {
    let (sign, mut rest) = match written.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, written.strip_prefix('+').unwrap_or(written)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() || rest.len() > DURATION_BYTES_MAX {
        return None;
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], ""));
        if whole.is_empty() && fraction.is_empty()
            || fraction.contains('.')
            || whole.len() > 18
            || fraction.len() > 18
        {
            return None;
        }
        let letters = rest[digits..].find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, following) = rest[digits..].split_at(letters.unwrap_or(rest.len() - digits));
        let unit: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total += whole * unit;
        if !fraction.is_empty() {
            let parts: i128 = fraction.parse().ok()?;
            total += parts * unit / 10_i128.pow(u32::try_from(fraction.len()).ok()?);
        }
        rest = following;
    }
    // Go keeps nanoseconds in 64 bits, and refuses more.
    (total <= i128::from(i64::MAX)).then_some(sign * total)
}

/// One of a few names, or the number that protobuf gives it.
pub(super) fn choice<T: Clone + Default>(names: &[(&str, i32, T)]) -> impl Fn(Value<'_, '_>) -> T {
    move |mut value| {
        let Some(Content::Scalar { text, plain }) = value.node.map(|node| &node.content) else {
            if value.node.is_some() {
                value.wrong_type("a name", "write one word");
            }
            return T::default();
        };
        let number = if *plain { text.parse::<i32>().ok() } else { None };
        let found = names.iter().find(|(name, index, _)| name == text || number == Some(*index));
        if let Some((_, _, choice)) = found {
            return choice.clone();
        }
        let known = names.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
        value.invalid(
            format!("`{}` is not one of its values", shorten(text)),
            format!("write one of {known}"),
        );
        T::default()
    }
}

/// A map of text to text, such as labels.
pub(super) fn text_map(value: Value<'_, '_>) -> BTreeMap<String, String> {
    value.entries(|_, value| text(value))
}

/// Notes when a list that should have something is empty.
pub(super) fn some<T>(value: &mut Value<'_, '_>, items: &[T]) {
    if items.is_empty() {
        value.note(Code::MissingField, "is empty", "add an entry or remove the field");
    }
}

/// The text of a plain or quoted scalar for a field that is not text. Quoted digits are not a number.
fn plain<'n>(value: &Value<'_, 'n>) -> Option<&'n str> {
    match &value.node?.content {
        Content::Scalar { text, plain: true } => Some(text),
        // Something that parses as nothing, so that the caller says what it wants.
        _ => Some("'"),
    }
}

/// Whether YAML as Kubernetes reads it makes a boolean, a number or nothing of this unquoted text.
pub(super) fn is_typed(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    matches!(lower.as_str(), "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off")
        || is_number(text)
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if let Some(hexadecimal) = digits.strip_prefix("0x") {
        return !hexadecimal.is_empty() && hexadecimal.bytes().all(|byte| byte.is_ascii_hexdigit());
    }
    digits.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.')
        && digits.contains(|letter: char| letter.is_ascii_digit())
        && digits.parse::<f64>().is_ok()
}

/// A scalar as JSON.
pub(super) fn to_json(text: &str, plain: bool) -> serde_json::Value {
    use serde_json::Value as Json;
    if !plain || !is_typed(text) {
        return Json::String(text.to_owned());
    }
    if let Ok(number) = text.parse::<i64>() {
        return number.into();
    }
    if is_number(text) {
        return text.parse::<f64>().ok().map_or_else(|| Json::String(text.to_owned()), Json::from);
    }
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => true.into(),
        "false" | "no" | "off" => false.into(),
        _ => Json::Null,
    }
}

/// A duration is written in at most this many bytes.
const DURATION_BYTES_MAX: usize = 64;
