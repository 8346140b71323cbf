//! How a file of expectations came out: for people, and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::matching::Difference;
use crate::explain::Decision;

/// What came of one file.
#[derive(Debug, Clone)]
pub struct Report {
    /// The file.
    pub file: String,
    /// Its tests in order.
    pub outcomes: Vec<Outcome>,
}

/// What came of one test.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The test's name.
    pub name: String,
    /// Where it stands.
    pub line: u64,
    /// Everything that was not as expected; nothing where it passed.
    pub differences: Vec<Difference>,
    /// What becomes of the request; absent where it cannot be asked.
    pub decision: Option<Decision>,
}

impl Report {
    /// Whether everything is as expected.
    pub fn passed(&self) -> bool {
        self.outcomes.iter().all(Outcome::passed)
    }

    /// For people: a line for each test, and under a failed one what decided instead.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for outcome in &self.outcomes {
            let word = if outcome.passed() { "ok  " } else { "FAIL" };
            // Writing to a String cannot fail, here and below.
            let _ = writeln!(text, "{word}  {}:{}: {}", self.file, outcome.line, outcome.name);
            for difference in &outcome.differences {
                let _ = writeln!(text, "        {difference}");
            }
            if !outcome.passed() {
                outcome.because().iter().for_each(|line| {
                    let _ = writeln!(text, "        {line}");
                });
            }
        }
        let failed = self.outcomes.iter().filter(|outcome| !outcome.passed()).count();
        let _ = writeln!(text, "{} passed, {failed} failed", self.outcomes.len() - failed);
        text
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let tests = self.outcomes.iter().map(|outcome| {
            json!({
                "name": outcome.name,
                "at": format!("{}:{}", self.file, outcome.line),
                "passed": outcome.passed(),
                "differences": outcome.differences.iter().map(|difference| {
                    json!({"field": difference.field, "said": difference.said})
                }).collect::<Vec<_>>(),
                "decision": outcome.decision,
            })
        });
        json!({"file": self.file, "passed": self.passed(), "tests": tests.collect::<Vec<_>>()})
    }
}

impl Outcome {
    /// Whether all is as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }

    /// Which rules decided, and on what grounds.
    fn because(&self) -> Vec<String> {
        let Some(decision) = &self.decision else { return Vec::new() };
        let mut lines = Vec::new();
        if let Some(route) = &decision.route {
            let words =
                [&route.document, &route.rule, &route.at].map(|word| word.as_deref().unwrap_or_default());
            lines.push(format!("routed by {}", words.join(" ").trim()));
        }
        if let Some(inbound) = &decision.inbound {
            let words =
                [&inbound.policy, &inbound.rule, &inbound.at].map(|word| word.as_deref().unwrap_or_default());
            let by = words.join(" ");
            let by = if by.trim().is_empty() { "no rule (the default)" } else { by.trim() };
            lines.push(format!("at the server decided by {by}"));
        }
        lines.extend(decision.trace.iter().map(|step| format!("because {step}")));
        lines
    }
}
