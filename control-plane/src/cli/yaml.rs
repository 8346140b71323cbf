//! A JSON value in YAML's block style, for `-o yaml` of what is no document.
//!
//! Written here, for control-plane has a reader of YAML (with spans) and needs no second library to write a dozen lines. What
//! could be read as something else than a text is quoted, by JSON's rules, which YAML shares.

use serde_json::Value;

/// The value as one YAML document, ended by a line break.
pub(super) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(_) | Value::Object(_) => block(&mut text, value, 0),
        _ => {
            text.push_str(&scalar(value));
            text.push('\n');
        }
    }
    text
}

fn block(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, field) in fields {
                indent(text, depth);
                text.push_str(&word(key));
                text.push(':');
                below(text, field, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(text, depth);
                text.push('-');
                below(text, item, depth);
            }
        }
        empty_or_scalar => {
            indent(text, depth);
            text.push_str(&scalar(empty_or_scalar));
            text.push('\n');
        }
    }
}

/// A value behind its key or dash: on the same line where it fits there.
fn below(text: &mut String, value: &Value, depth: usize) {
    let nested = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if nested {
        text.push('\n');
        block(text, value, depth + 1);
    } else {
        text.push(' ');
        text.push_str(&scalar(value));
        text.push('\n');
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// What stands on one line; an empty map or list does as JSON writes it.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => word(text),
        other => other.to_string(),
    }
}

fn word(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'/' | b'-'))
        && !OTHER_THAN_TEXT.iter().any(|other| text.eq_ignore_ascii_case(other));
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

/// Words that some reader of YAML, 1.1 or 1.2, takes for a boolean or nothing.
const OTHER_THAN_TEXT: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::{DocumentSet, Source};

    #[test]
    fn values_come_out_in_block_style() {
        let check = |value: Value, expected: &str| assert_eq!(to_yaml(&value), expected);
        check(json!({"a": 1, "b": {"c": "x"}, "d": []}), "a: 1\nb:\n  c: x\nd: []\n");
        check(json!([{"a": "x", "b": null}, "y/z"]), "-\n  a: x\n  b: null\n- y/z\n");
        check(json!([]), "[]\n");
        check(json!("no"), "\"no\"\n");
        check(
            json!({"1": "2026", "key: x": "a\nb", "t": true}),
            "\"1\": \"2026\"\n\"key: x\": \"a\\nb\"\nt: true\n",
        );
    }

    #[test]
    fn it_is_read_back_as_a_document() {
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "on", "namespace": "a-b"},
            "spec": {"ports": [{"port": 80, "name": "http: \"x\""}]}});
        let reading = DocumentSet::read(&[Source::file("made.yaml", to_yaml(&service))]);
        let names: Vec<String> = reading.documents.iter().map(|document| document.key.to_string()).collect();
        assert_eq!(names, ["Service/a-b/on"], "{:?}", reading.reports);
    }
}
