//! The outcome as JSON and as text.
//!
//! Text has one line to click on per finding, in the form that editors know (`file:line: severity: …`), and the next
//! step below it.

use std::fmt::Write as _;

use serde::Serialize;

use super::line::FindingLine;
use crate::document::{Code, Reading, Report, Severity, Verdict};

#[derive(Serialize)]
struct JsonReport<'a> {
    document: Option<&'a str>,
    at: String,
    verdict: Verdict,
    findings: Vec<JsonFinding<'a>>,
}

#[derive(Serialize)]
struct JsonFinding<'a> {
    code: Code,
    severity: Severity,
    field: &'a str,
    at: String,
    message: &'a str,
    next: &'a str,
}

/// One array, an object per document.
pub fn json(reports: &[Report]) -> String {
    let reports = reports.iter().map(|report| JsonReport {
        document: report.document.as_deref(),
        at: report.at(report.span),
        verdict: report.verdict(),
        findings: findings(report),
    });
    // Strings and numbers only: there is nothing in a report that JSON cannot say.
    serde_json::to_string_pretty(&reports.collect::<Vec<_>>()).unwrap_or_default() + "\n"
}

fn findings(report: &Report) -> Vec<JsonFinding<'_>> {
    let each = report.findings.iter().map(|finding| JsonFinding {
        code: finding.code,
        severity: finding.code.severity(),
        field: &finding.field,
        at: report.at(finding.span),
        message: &finding.message,
        next: &finding.next,
    });
    each.collect()
}

/// A line per finding, and a last one that counts.
pub fn text(reading: &Reading) -> String {
    let mut output = String::new();
    for report in &reading.reports {
        for finding in findings(report) {
            let line = FindingLine {
                at: &finding.at,
                severity: finding.severity.name(),
                document: report.document.as_deref().unwrap_or_default(),
                field: finding.field,
                message: finding.message,
                next: finding.next,
            };
            // Writing to a string does not fail.
            let _ = write!(output, "{line}");
        }
    }
    let count = |verdict| reading.reports.iter().filter(|report| report.verdict() == verdict).count();
    let _ = writeln!(
        output,
        "{} documents: {} valid, {} with warnings, {} unsupported, {} invalid",
        reading.reports.len(),
        count(Verdict::Valid),
        count(Verdict::Warning),
        count(Verdict::Unsupported),
        count(Verdict::Invalid),
    );
    output
}
