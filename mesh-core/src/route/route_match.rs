//! The condition under which a rule takes a request.

use crate::matcher::{FullMatch, HeaderFacts, HeaderMatcher, Pattern, Text};

use super::{RequestFacts, query_value};

/// All conditions of a rule; a request must meet every one.
#[derive(Debug, Clone)]
pub struct RouteMatch {
    /// On the path.
    pub path: PathMatch,
    /// On headers and pseudo headers.
    pub headers: Vec<HeaderMatcher>,
    /// On query parameters.
    pub query: Vec<QueryMatch>,
}

/// A condition on the path.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// The whole path.
    Exact(Text),
    /// How it begins, as raw text (Istio): `/foo` takes `/foobar`.
    Prefix(Text),
    /// How it begins, by whole segments (Gateway API): `/foo` takes `/foo` and `/foo/bar` only.
    SegmentPrefix(Text),
    /// An expression on the whole path.
    Regex(FullMatch),
}

/// A condition on a query parameter, as it is written in the query; the first value of a repeated one counts.
#[derive(Debug, Clone)]
pub struct QueryMatch {
    /// The key.
    pub name: Box<str>,
    /// The condition on its value; none asks only whether it is there.
    pub value: Option<Pattern>,
}

impl RouteMatch {
    /// The condition that every request meets whose path begins with `/`.
    pub fn everything() -> Self {
        let path = PathMatch::Prefix(Text { text: "/".into(), ignore_case: false });
        Self { path, headers: Vec::new(), query: Vec::new() }
    }

    /// Whether the request meets every condition.
    pub fn matches(&self, request: &RequestFacts<'_>) -> bool {
        self.path.matches(request.path.as_str()) && self.rest_matches(request)
    }

    /// Whether the request meets the conditions on anything but the path.
    pub(super) fn rest_matches(&self, request: &RequestFacts<'_>) -> bool {
        let facts = header_facts(request);
        self.headers.iter().all(|header| header.matches(&facts))
            && self.query.iter().all(|parameter| parameter.matches(request.query))
    }

    /// What the first unmet condition found instead; `None` where all are met.
    pub(super) fn mismatch(&self, request: &RequestFacts<'_>) -> Option<String> {
        let path = request.path.as_str();
        if !self.path.matches(path) {
            return Some(format!("path `{path}` is not {}", self.path.describe()));
        }
        let facts = header_facts(request);
        if let Some(header) = self.headers.iter().find(|header| !header.matches(&facts)) {
            return Some(header.mismatch(&facts));
        }
        let parameter = self.query.iter().find(|parameter| !parameter.matches(request.query))?;
        Some(parameter.mismatch(request.query))
    }

    /// What is said of a request that meets every condition.
    pub(super) fn describe(&self) -> String {
        let mut met = Vec::new();
        if !self.path.is_everything() {
            met.push(format!("path is {}", self.path.describe()));
        }
        met.extend(self.headers.iter().map(|header| format!("header {}", header.source)));
        met.extend(self.query.iter().map(|parameter| format!("query parameter {}", parameter.name)));
        if met.is_empty() { "matches everything".to_owned() } else { format!("matches ({})", met.join(", ")) }
    }
}

impl PathMatch {
    /// Whether a canonical path meets the condition.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => text.equals(path.as_bytes()),
            Self::Prefix(text) => text.starts(path.as_bytes()),
            Self::SegmentPrefix(text) => {
                text.starts(path.as_bytes())
                    && path.as_bytes().get(text.text.len()).is_none_or(|next| *next == b'/')
            }
            Self::Regex(expression) => expression.matches(path.as_bytes()),
        }
    }

    fn is_everything(&self) -> bool {
        matches!(self, Self::Prefix(text) if matches!(&*text.text, "" | "/"))
    }

    fn describe(&self) -> String {
        match self {
            Self::Exact(text) => format!("`{}`", text.text),
            Self::Prefix(text) => format!("`{}*`", text.text),
            Self::SegmentPrefix(text) => format!("`{}` or below", text.text),
            Self::Regex(expression) => format!("regex `{}`", expression.source()),
        }
    }
}

impl QueryMatch {
    fn matches(&self, query: Option<&str>) -> bool {
        match (self.value_in(query), &self.value) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(pattern)) => pattern.matches(value.as_bytes()),
        }
    }

    fn value_in<'q>(&self, query: Option<&'q str>) -> Option<&'q str> {
        query_value(query, &self.name)
    }

    fn mismatch(&self, query: Option<&str>) -> String {
        match (self.value_in(query), &self.value) {
            (Some(value), Some(pattern)) => {
                format!("query parameter {} `{value}` is not {pattern}", self.name)
            }
            _ => format!("query parameter {} is absent", self.name),
        }
    }
}

fn header_facts<'a>(request: &RequestFacts<'a>) -> HeaderFacts<'a> {
    HeaderFacts {
        method: request.method,
        scheme: request.scheme,
        authority: request.authority,
        path: request.path.as_str(),
        query: request.query,
        headers: request.headers,
    }
}
