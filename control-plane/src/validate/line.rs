//! A finding as every command prints it: one line to click on, in the form that editors know, and the next step below it.

use std::fmt;

use crate::document::Printable;

/// What is printed of a finding. All is text, for a control plane may say what its command line does not know yet.
#[derive(Clone, Copy, Debug)]
pub struct FindingLine<'a> {
    /// `file:line`.
    pub at: &'a str,
    /// `error`, `warning` or `notice`.
    pub severity: &'a str,
    /// `Kind/namespace/name`; empty for text that is no document.
    pub document: &'a str,
    /// The field; empty for the document as a whole.
    pub field: &'a str,
    /// What is the matter.
    pub message: &'a str,
    /// What to do about it, which a notice needs not say.
    pub next: &'a str,
}

impl fmt::Display for FindingLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, severity, document, field, message, next } = *self;
        write!(formatter, "{}: {}: ", Printable(at), Printable(severity))?;
        let between = if document.is_empty() || field.is_empty() { "" } else { " " };
        if !document.is_empty() || !field.is_empty() {
            write!(formatter, "{}{between}{}: ", Printable(document), Printable(field))?;
        }
        writeln!(formatter, "{}", Printable(message))?;
        if severity != "notice" && !next.is_empty() {
            writeln!(formatter, "    next: {}", Printable(next))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_leaves_no_gap() {
        let check = |severity, document, field, wanted: &str| {
            let line = FindingLine { at: "a.yaml:1", severity, document, field, message: "is\n", next: "do" };
            assert_eq!(line.to_string(), wanted);
        };
        check("error", "A/b/c", "spec.x", "a.yaml:1: error: A/b/c spec.x: is\\n\n    next: do\n");
        check("warning", "A/b/c", "", "a.yaml:1: warning: A/b/c: is\\n\n    next: do\n");
        check("notice", "A/b/c", "", "a.yaml:1: notice: A/b/c: is\\n\n");
        check("error", "", "", "a.yaml:1: error: is\\n\n    next: do\n");
    }
}
