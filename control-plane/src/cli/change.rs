//! What a change to the stored documents did or would do, as `apply`, `delete`, `diff`, `split` and `allow` print it.

use std::fmt::Write;

use clap::Args;
use serde_json::json;

use super::connection::Connection;
use super::{Exit, Failure, Format, output};
use crate::admin::proto::change::Action;
use crate::admin::proto::{Change, ChangeResponse, DocumentName};
use crate::admin::{Client, ClientError};
use crate::validate::FindingLine;

/// What every command takes that changes documents.
#[derive(Debug, Args)]
pub(super) struct ChangeArguments {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    #[arg(short, long, value_enum, default_value_t)]
    pub(super) output: Format,
    #[command(flatten)]
    pub(super) connection: Connection,
}

impl ChangeArguments {
    /// Asks for the change, and prints what came of it.
    pub(super) fn run(
        &self,
        conversation: impl AsyncFnOnce(Client) -> Result<ChangeResponse, ClientError>,
    ) -> Result<Exit, Failure> {
        let response = self.connection.run(conversation)?;
        print(&response, self.wanted(), self.output)
    }

    /// Whether the change is meant to be made.
    pub(super) fn wanted(&self) -> Wanted {
        if self.dry_run { Wanted::Preview } else { Wanted::Change }
    }
}

/// Prints a change; its exit status is 1 where documents were rejected, 3 where there are findings.
pub(super) fn print(response: &ChangeResponse, wanted: Wanted, format: Format) -> Result<Exit, Failure> {
    let verdicts = Verdicts::read(&response.verdicts_json)?;
    match format {
        Format::Json => output::print(format_args!("{}\n", to_json(response, &verdicts)?))?,
        Format::Yaml => output::print(documents(response))?,
        Format::Table => output::print(to_text(response, wanted))?,
    }
    if response.changes.is_empty() && verdicts.is_empty() {
        eprintln!("notice: there is no document in what -f names, so there is nothing to do");
    }
    if format != Format::Json {
        output::say(&verdicts.text);
    }
    Ok(verdicts.exit)
}

/// Whether a change was meant to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Yes.
    Change,
    /// Only what it would do.
    Preview,
}

/// `Kind/namespace/name`.
pub(super) fn full_name(name: &DocumentName) -> String {
    format!("{}/{}/{}", name.kind, name.namespace, name.name)
}

/// What was said about each document.
struct Verdicts {
    json: serde_json::Value,
    text: String,
    exit: Exit,
}

impl Verdicts {
    fn read(text: &str) -> Result<Self, Failure> {
        let json: serde_json::Value = if text.is_empty() {
            json!([])
        } else {
            serde_json::from_str(text).map_err(|problem| {
                Failure::Refused(format!("the control plane's answer is no JSON: {problem}"))
            })?
        };
        let mut said = String::new();
        let mut exit = Exit::Fine;
        for verdict in json.as_array().into_iter().flatten() {
            exit = match verdict["verdict"].as_str() {
                Some("invalid" | "unsupported") => Exit::Failed,
                Some("warning") if exit == Exit::Fine => Exit::Findings,
                _ => exit,
            };
            for finding in verdict["findings"].as_array().into_iter().flatten() {
                said.push_str(&line(verdict, finding));
            }
        }
        Ok(Self { json, text: said, exit })
    }

    /// Whether there was no document to say anything about.
    fn is_empty(&self) -> bool {
        self.json.as_array().is_none_or(Vec::is_empty)
    }
}

fn line(verdict: &serde_json::Value, finding: &serde_json::Value) -> String {
    fn word(value: &serde_json::Value) -> &str {
        value.as_str().unwrap_or_default()
    }
    let line = FindingLine {
        at: word(&finding["at"]),
        severity: word(&finding["severity"]),
        document: word(&verdict["document"]),
        field: word(&finding["field"]),
        message: word(&finding["message"]),
        next: word(&finding["next"]),
    };
    line.to_string()
}

fn to_json(response: &ChangeResponse, verdicts: &Verdicts) -> Result<String, Failure> {
    let changes: Vec<_> = response
        .changes
        .iter()
        .filter_map(|change| Some((change.document.as_ref()?, change)))
        .map(|(name, change)| {
            json!({
                "document": full_name(name),
                "action": word(change.action()),
                "before": change.before,
                "after": change.after,
            })
        })
        .collect();
    let whole = json!({
        "applied": response.applied,
        "revision": response.revision,
        "changes": changes,
        "verdicts": verdicts.json,
    });
    serde_json::to_string_pretty(&whole).map_err(Failure::refused)
}

/// What there is from now on.
fn documents(response: &ChangeResponse) -> String {
    response.changes.iter().map(|change| format!("---\n{}", change.after)).collect()
}

fn to_text(response: &ChangeResponse, wanted: Wanted) -> String {
    let mut text = String::new();
    for change in &response.changes {
        if let Some(name) = &change.document {
            let undone = !response.applied && change.action() != Action::Unchanged;
            let would_be = if undone { "would be " } else { "" };
            let _ = writeln!(text, "{} {would_be}{}", full_name(name), word(change.action()));
            if wanted == Wanted::Preview {
                text.push_str(&difference(change));
            }
        }
    }
    match (wanted, response.applied) {
        (Wanted::Change, true) => {}
        (Wanted::Change, false) => text.push_str("nothing was changed: documents are applied all or none\n"),
        (Wanted::Preview, _) => text.push_str("nothing was changed: this is a preview\n"),
    }
    text
}

fn word(action: Action) -> &'static str {
    match action {
        Action::Unchanged => "unchanged",
        Action::Created => "created",
        Action::Replaced => "replaced",
        Action::Deleted => "deleted",
    }
}

/// The lines that go and come: what both texts share at their ends is left out.
fn difference(change: &Change) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) =
        (change.before.lines().collect(), change.after.lines().collect());
    let head = before.iter().zip(&after).take_while(|(old, new)| old == new).count();
    let rest = before.len().min(after.len()) - head;
    let tail =
        before.iter().rev().zip(after.iter().rev()).take(rest).take_while(|(old, new)| old == new).count();
    let gone = before[head..before.len() - tail].iter().map(|line| format!("- {line}\n"));
    let come = after[head..after.len() - tail].iter().map(|line| format!("+ {line}\n"));
    gone.chain(come).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_done_is_told_as_done() {
        let check = |wanted: Wanted, applied: bool, expected: &str| {
            let name = DocumentName { kind: "Kind".into(), namespace: "a".into(), name: "b".into() };
            let change = |action: Action| Change {
                document: Some(name.clone()),
                action: action.into(),
                ..Change::default()
            };
            let changes = vec![change(Action::Deleted), change(Action::Unchanged)];
            assert_eq!(
                to_text(&ChangeResponse { applied, changes, ..ChangeResponse::default() }, wanted),
                expected
            );
        };
        check(Wanted::Change, true, "Kind/a/b deleted\nKind/a/b unchanged\n");
        let untouched = "Kind/a/b would be deleted\nKind/a/b unchanged\nnothing was changed: ";
        check(Wanted::Change, false, &format!("{untouched}documents are applied all or none\n"));
        check(Wanted::Preview, false, &format!("{untouched}this is a preview\n"));
    }

    #[test]
    fn a_difference_is_what_the_ends_do_not_share() {
        let check = |before: &str, after: &str, expected: &str| {
            let change = Change { before: before.into(), after: after.into(), ..Change::default() };
            assert_eq!(difference(&change), expected);
        };
        check("a\nb\nc\n", "a\nx\nc\n", "- b\n+ x\n");
        check("", "a\n", "+ a\n");
        check("a\na\n", "a\n", "- a\n");
        check("a\n", "a\n", "");
    }

    #[test]
    fn findings_decide_the_exit_status() {
        let check = |verdicts: &str, expected: Exit| {
            assert_eq!(Verdicts::read(verdicts).expect("JSON").exit, expected);
        };
        check("", Exit::Fine);
        check(r#"[{"verdict": "warning"}, {"verdict": "valid"}]"#, Exit::Findings);
        check(r#"[{"verdict": "invalid"}, {"verdict": "warning"}]"#, Exit::Failed);
    }
}
