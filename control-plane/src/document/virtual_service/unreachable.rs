//! Rules that can never act, because an earlier one takes all their requests.
//!
//! Only what is certain is said: a rule after one that matches everything, and a match whose path begins with that of an
//! earlier match that asks for nothing else. Such a document works, and not as its author thinks, hence a warning.

use super::super::fields::Fields;
use super::super::finding::Code;
use super::super::pattern::StringMatch;
use super::http::HttpRule;
use super::matching::HttpMatch;

pub(super) fn check(fields: &mut Fields<'_, '_>, rules: &[HttpRule]) {
    let mut taken: Vec<(usize, &HttpMatch)> = Vec::new();
    let mut everything: Option<usize> = None;
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("http[{index}]");
        if let Some(earlier) = everything {
            fields.reader.within(&path, |reader| {
                let message = format!("never acts, because http[{earlier}] matches everything");
                reader.note(Code::Suspicious, rule.span, message, "move it before that rule, or remove it");
            });
            continue;
        }
        if rule.delegate.is_some() {
            // Which of its requests the other document takes, this one does not show.
            continue;
        }
        for (place, matching) in rule.matches.iter().enumerate() {
            if let Some((earlier, _)) = taken.iter().find(|(_, earlier)| covers(earlier, matching)) {
                fields.reader.within(&format!("{path}.match[{place}]"), |reader| {
                    let message =
                        format!("never acts, because a match of http[{earlier}] takes all its requests");
                    reader.note(
                        Code::Suspicious,
                        matching.span,
                        message,
                        "move it before that match, or remove it",
                    );
                });
            }
            taken.push((index, matching));
        }
        if rule.matches.is_empty() || rule.matches.iter().any(is_everything) {
            everything = Some(index);
        }
    }
}

/// Whether a match takes whatever another would: its path is a prefix of the other's, and it asks for nothing else.
fn covers(earlier: &HttpMatch, later: &HttpMatch) -> bool {
    let (Some(StringMatch::Prefix(prefix)), Some(wanted)) = (&earlier.uri, &later.uri) else { return false };
    // A `/` first and exceptions after it is so common that the last rule's own warning must do.
    let deeper = match wanted {
        StringMatch::Prefix(path) => path != prefix && path.starts_with(prefix.as_str()),
        _ => false,
    };
    deeper && is_path_only(earlier) && !later.ignore_uri_case
}

fn is_everything(matching: &HttpMatch) -> bool {
    let anything = match &matching.uri {
        None | Some(StringMatch::Present) => true,
        Some(StringMatch::Prefix(prefix)) => prefix == "/",
        Some(StringMatch::Regex(pattern)) => pattern == ".*",
        Some(StringMatch::Exact(_)) => false,
    };
    anything && is_path_only(matching)
}

fn is_path_only(matching: &HttpMatch) -> bool {
    matching.scheme.is_none()
        && matching.method.is_none()
        && matching.authority.is_none()
        && matching.headers.is_empty()
        && matching.without_headers.is_empty()
        && matching.query_params.is_empty()
        && matching.port.is_none()
        && matching.source_labels.is_empty()
        && matching.source_namespace.is_none()
        && matching.gateways.is_empty()
}
