//! Redirects that lead back to where they came from: a caller who follows them never arrives.
//!
//! A redirect that names no other host, scheme or port is followed by its path from rule to rule. Only what is certain is said:
//! where conditions other than the path decide, or an expression might, nothing is. Each step is a few look-ups, so that a
//! document of ten thousand redirects is read in linear time.

use std::collections::HashMap;

use super::super::{Code, Fields, StringMatch, shorten};
use super::action::{HttpAction, Redirect, RedirectPath, RedirectPort};
use super::http::HttpRule;
use super::matching::HttpMatch;
use super::unreachable::is_path_only;

pub(super) fn check(fields: &mut Fields<'_, '_>, rules: &[HttpRule]) {
    let table = Table::of(rules);
    for (index, rule) in rules.iter().enumerate() {
        for place in 0..rule.matches.len().max(1) {
            let start = Place { rule: index, entry: place };
            let Some(path) = table.leads_back(start) else { continue };
            let message =
                format!("leads back to itself: whoever follows it from `{}` never arrives", shorten(path));
            let next = "redirect to a path that another rule takes, or to another host";
            let place = format!("http[{index}].redirect");
            fields.reader.note_at(&place, Code::Suspicious, rule.span, message, next);
            break;
        }
    }
}

/// An alternative of a rule; a rule without any has one that takes everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rule: usize,
    entry: usize,
}

/// The first alternative for each path and each beginning of one.
struct Table<'r> {
    rules: &'r [HttpRule],
    exact: HashMap<&'r str, Place>,
    prefixes: HashMap<&'r str, Place>,
    /// From here on paths alone do not tell.
    uncertain: Option<Place>,
}

impl<'r> Table<'r> {
    fn of(rules: &'r [HttpRule]) -> Self {
        let mut table = Self { rules, exact: HashMap::new(), prefixes: HashMap::new(), uncertain: None };
        for (rule, one) in rules.iter().enumerate() {
            if one.matches.is_empty() {
                table.prefixes.entry("").or_insert(Place { rule, entry: 0 });
            }
            for (entry, matching) in one.matches.iter().enumerate() {
                let place = Place { rule, entry };
                match &matching.uri {
                    _ if matching.ignore_uri_case => table.uncertain = table.uncertain.or(Some(place)),
                    Some(StringMatch::Exact(path)) => {
                        table.exact.entry(path).or_insert(place);
                    }
                    Some(StringMatch::Prefix(path)) => {
                        table.prefixes.entry(path).or_insert(place);
                    }
                    Some(StringMatch::Present) | None => {
                        table.prefixes.entry("").or_insert(place);
                    }
                    Some(StringMatch::Regex(_)) => table.uncertain = table.uncertain.or(Some(place)),
                }
            }
        }
        table
    }

    /// The path from which following redirects comes back to `start`; none where it does not, or that is not certain.
    fn leads_back(&self, start: Place) -> Option<&'r str> {
        let first = self.path(start)?;
        let mut path = self.follow(start, first)?;
        for _ in 0..HOPS_MAX {
            let next = self.taker(&path, start)?;
            if next == start {
                return Some(first);
            }
            path = self.follow(next, &path)?;
        }
        None
    }

    /// A path that the alternative takes.
    fn path(&self, place: Place) -> Option<&'r str> {
        match self.rules[place.rule].matches.get(place.entry).map(|matching| matching.uri.as_ref()) {
            Some(Some(StringMatch::Exact(path) | StringMatch::Prefix(path))) => Some(path),
            Some(Some(StringMatch::Regex(_))) => None,
            Some(Some(StringMatch::Present) | None) | None => Some("/"),
        }
    }

    /// Where the alternative's redirect leads from `path`, if it has one that stays at the host.
    fn follow(&self, place: Place, path: &str) -> Option<String> {
        let rule = &self.rules[place.rule];
        let HttpAction::Redirect(redirect) = &rule.action else { return None };
        if !stays(redirect) {
            return None;
        }
        let uri = rule.matches.get(place.entry).and_then(|matching| matching.uri.as_ref());
        match (&redirect.path, uri) {
            // One that says nothing at all is an error by itself.
            (None, _) => (redirect.scheme.is_some() || redirect.port.is_some()).then(|| path.to_owned()),
            (Some(RedirectPath::Full(full)), _) => Some(full.clone()),
            (Some(RedirectPath::Prefix(new)), Some(StringMatch::Prefix(old))) => {
                Some(format!("{new}{}", path.strip_prefix(old.as_str())?))
            }
            // Of an exact match the whole path is the prefix.
            (Some(RedirectPath::Prefix(new)), Some(StringMatch::Exact(_))) => Some(new.clone()),
            (Some(RedirectPath::Prefix(_)), _) => None,
        }
    }

    /// The alternative that takes `path` in a request that otherwise is as the one that met `start`.
    fn taker(&self, path: &str, start: Place) -> Option<Place> {
        let beginnings = path.char_indices().map(|(end, _)| &path[..end]).chain([path]);
        let prefixes = beginnings.filter_map(|beginning| self.prefixes.get(beginning));
        let first = *self.exact.get(path).into_iter().chain(prefixes).min()?;
        let certain = self.uncertain.is_none_or(|uncertain| first < uncertain || uncertain == start);
        let alike = |matching: &HttpMatch| first == start || is_path_only(matching);
        let alone = self.rules[first.rule].matches.get(first.entry).is_none_or(alike);
        (certain && alone).then_some(first)
    }
}

fn stays(redirect: &Redirect) -> bool {
    redirect.authority.is_none()
        && redirect.scheme.as_deref() != Some("https")
        && !matches!(redirect.port, Some(RedirectPort::Number(_) | RedirectPort::FromProtocol))
}

/// Browsers give up at about twice as many.
const HOPS_MAX: usize = 10;
