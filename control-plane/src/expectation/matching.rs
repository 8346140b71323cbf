//! What is expected against what is decided: a part of it has to be so, and a misspelt expectation is no expectation met.

use std::fmt;

use serde_json::Value;

use crate::explain::Unanswerable;

/// One place in which a decision is not what is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where, such as `destinations[0].subset`; empty for the whole.
    pub field: String,
    /// What is so instead, and what was expected.
    pub said: String,
}

impl Difference {
    /// The request has no answer at all.
    pub(super) fn unanswered(problem: &Unanswerable) -> Self {
        Self { field: "request".to_owned(), said: problem.to_string() }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.field, self.said)
    }
}

/// All places in which `seen` is not what `expected` says.
pub(super) fn compare(expected: &Value, seen: &Value) -> Vec<Difference> {
    let mut differences = Vec::new();
    walk("", expected, seen, &mut differences);
    differences
}

fn walk(field: &str, expected: &Value, seen: &Value, differences: &mut Vec<Difference>) {
    let mut differ = |said: String| differences.push(Difference { field: field.to_owned(), said });
    match (expected, seen) {
        (Value::Object(expected), Value::Object(seen)) => {
            for (name, expected) in expected {
                let below = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
                match seen.get(name) {
                    Some(seen) => walk(&below, expected, seen, differences),
                    None => differences.push(unknown(below, seen.keys())),
                }
            }
        }
        (Value::Array(expected), Value::Array(seen)) if expected.len() != seen.len() => {
            differ(format!("{} of them, expected {}", seen.len(), expected.len()));
        }
        (Value::Array(expected), Value::Array(seen)) => {
            for (index, (expected, seen)) in expected.iter().zip(seen).enumerate() {
                walk(&format!("{field}[{index}]"), expected, seen, differences);
            }
        }
        (Value::Number(expected), Value::Number(seen)) if is_close(expected.as_f64(), seen.as_f64()) => {}
        _ if expected == seen => {}
        _ => differ(format!("is {seen}, expected {expected}")),
    }
}

/// Shares are written in decimals, which a sum of floats only comes close to.
fn is_close(one: Option<f64>, other: Option<f64>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if (one - other).abs() < 1e-9)
}

fn unknown<'a>(field: String, names: impl Iterator<Item = &'a String>) -> Difference {
    let names: Vec<&str> = names.map(String::as_str).collect();
    Difference { field, said: format!("a decision has no such field here; it has {}", names.join(", ")) }
}
