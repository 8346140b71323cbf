//! Rules that can never act, because an earlier one takes all their requests.
//!
//! Only what is certain is said: a rule after one that matches everything, and a match whose path begins with that of an
//! earlier match that asks for nothing else. Such a document works, and not as its author thinks, hence a warning.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::super::{Code, Fields, StringMatch};
use super::http::HttpRule;
use super::matching::HttpMatch;
use super::transport::{TransportMatch, TransportRule};

pub(super) fn check(fields: &mut Fields<'_, '_>, rules: &[HttpRule]) {
    let mut taken = Taken::default();
    let mut everything: Option<usize> = None;
    for (index, rule) in rules.iter().enumerate() {
        let path = format!("http[{index}]");
        if let Some(earlier) = everything {
            let message = format!("never acts, because http[{earlier}] matches everything");
            let next = "move it before that rule, or remove it";
            fields.reader.note_at(&path, Code::Suspicious, rule.span, message, next);
            continue;
        }
        if rule.delegate.is_some() {
            // Which of its requests the other document takes, this one does not show.
            continue;
        }
        for (place, matching) in rule.matches.iter().enumerate() {
            if let Some(earlier) = taken.by(matching) {
                let place = format!("{path}.match[{place}]");
                let message =
                    format!("never acts, because a match of http[{earlier}] takes all its requests");
                let next = "move it before that match, or remove it";
                fields.reader.note_at(&place, Code::Suspicious, matching.span, message, next);
            }
            taken.take(matching, index);
        }
        if rule.matches.is_empty() || rule.matches.iter().any(is_everything) {
            everything = Some(index);
        }
    }
}

/// As [`check`], of rules for connections: what an entry asks of the caller aside, there is a server name or nothing.
pub(super) fn check_transport(fields: &mut Fields<'_, '_>, protocol: &str, rules: &[TransportRule]) {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, rule) in rules.iter().enumerate() {
        let wanted = wanted(rule);
        let taker = |name: &str| taken.get("").or_else(|| taken.get(name)).copied();
        let takers: Option<Vec<usize>> = wanted.iter().map(|(name, _)| taker(name)).collect();
        if let Some(earlier) = takers.and_then(|takers| takers.into_iter().max()) {
            let place = format!("{protocol}[{index}]");
            let message = format!("never acts, because {protocol}[{earlier}] takes all its connections");
            let next = "move it before that rule, or remove it";
            fields.reader.note_at(&place, Code::Suspicious, rule.span, message, next);
        }
        for (name, _) in wanted.into_iter().filter(|(_, whole)| *whole) {
            taken.entry(name).or_insert(index);
        }
    }
}

/// The server names that a rule takes, or nothing for every connection, and whether it takes all of them.
fn wanted(rule: &TransportRule) -> Vec<(&str, bool)> {
    if rule.matches.is_empty() {
        return vec![("", true)];
    }
    let whole = |one: &TransportMatch| {
        one.port.is_none()
            && one.source_labels.is_empty()
            && one.source_namespace.is_none()
            && one.gateways.is_empty()
    };
    let names = |one: &TransportMatch| !one.sni_hosts.is_empty();
    let nameless = rule.matches.iter().filter(|one| !names(one)).map(|one| ("", whole(one)));
    let named = rule.matches.iter().filter(|one| names(one));
    let named = named.flat_map(|one| one.sni_hosts.iter().map(move |name| (name.as_str(), whole(one))));
    nameless.chain(named).collect()
}

/// The prefixes whose requests earlier matches take whole, with the rule of each. None begins with another, so that in
/// their order the only one that a path can begin with is the last one not after it: a document of ten thousand rules
/// costs ten thousand look-ups, not fifty million comparisons.
#[derive(Default)]
struct Taken<'r> {
    prefixes: BTreeMap<&'r str, usize>,
}

impl<'r> Taken<'r> {
    /// The rule that takes whatever `matching` would: its prefix is a shorter one, and it asks for nothing else. A `/` first
    /// and exceptions after it is so common that the last rule's own warning must do.
    fn by(&self, matching: &HttpMatch) -> Option<usize> {
        let Some(StringMatch::Prefix(path)) = &matching.uri else { return None };
        let (prefix, rule) = self.beginning(path)?;
        (prefix != path && !matching.ignore_uri_case).then_some(rule)
    }

    fn take(&mut self, matching: &'r HttpMatch, rule: usize) {
        let Some(StringMatch::Prefix(path)) = &matching.uri else { return };
        if !is_path_only(matching) || self.beginning(path).is_some() {
            return;
        }
        let longer = self.prefixes.range::<str, _>((Bound::Excluded(path.as_str()), Bound::Unbounded));
        let longer: Vec<&str> = longer
            .map(|(prefix, _)| *prefix)
            .take_while(|prefix| prefix.starts_with(path.as_str()))
            .collect();
        for prefix in longer {
            self.prefixes.remove(prefix);
        }
        self.prefixes.insert(path, rule);
    }

    /// The prefix that `path` begins with.
    fn beginning(&self, path: &str) -> Option<(&'r str, usize)> {
        let mut not_after = self.prefixes.range::<str, _>((Bound::Unbounded, Bound::Included(path)));
        not_after
            .next_back()
            .filter(|(prefix, _)| path.starts_with(**prefix))
            .map(|(prefix, rule)| (*prefix, *rule))
    }
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

/// Whether nothing but the path decides.
pub(super) fn is_path_only(matching: &HttpMatch) -> bool {
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
