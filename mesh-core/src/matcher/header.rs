//! A condition on one header or pseudo header, with Envoy's answers to what a missing or repeated header means.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::Pattern;

/// What header conditions see of a request.
#[derive(Debug, Clone, Copy)]
pub struct HeaderFacts<'a> {
    /// `:method`.
    pub method: &'a Method,
    /// `:scheme`.
    pub scheme: &'a str,
    /// `:authority`.
    pub authority: &'a str,
    /// `:path` without its query.
    pub path: &'a str,
    /// The query of `:path`.
    pub query: Option<&'a str>,
    /// All others.
    pub headers: &'a HeaderMap,
}

/// Which header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderSource {
    /// `:method`.
    Method,
    /// `:scheme`.
    Scheme,
    /// `:authority`, or `Host`.
    Authority,
    /// `:path`, which has the query.
    Path,
    /// A header proper.
    Named(HeaderName),
}

/// A condition on one header.
#[derive(Debug, Clone)]
pub struct HeaderMatcher {
    /// Which header.
    pub source: HeaderSource,
    /// The condition on its value; none asks only whether it is there.
    pub value: Option<Pattern>,
    /// Turns the answer around. A missing header meets no condition on a value, turned around or not …
    pub invert: bool,
    /// … unless it counts as an empty value.
    pub missing_is_empty: bool,
}

impl HeaderMatcher {
    /// Whether the request meets the condition.
    pub fn matches(&self, facts: &HeaderFacts<'_>) -> bool {
        let value = self.source.value(facts);
        let Some(pattern) = &self.value else { return value.is_some() != self.invert };
        match (value, self.missing_is_empty) {
            (Some(value), _) => pattern.matches(&value) != self.invert,
            (None, true) => pattern.matches(b"") != self.invert,
            (None, false) => false,
        }
    }

    /// Whether the header is there more than once.
    pub(crate) fn is_repeated(&self, facts: &HeaderFacts<'_>) -> bool {
        match &self.source {
            HeaderSource::Named(name) => facts.headers.get_all(name).iter().nth(1).is_some(),
            _ => false,
        }
    }

    /// Whether each of a repeated header's values by itself meets the condition.
    pub(crate) fn answers<'a>(&'a self, facts: &HeaderFacts<'a>) -> impl Iterator<Item = bool> {
        let values = match &self.source {
            HeaderSource::Named(name) => Some(facts.headers.get_all(name)),
            _ => None,
        };
        let meets = |value: &HeaderValue| {
            self.value.as_ref().is_none_or(|pattern| pattern.matches(value.as_bytes())) != self.invert
        };
        values.into_iter().flatten().map(meets)
    }

    /// What is the case instead of the condition, for a request that does not meet it.
    pub fn mismatch(&self, facts: &HeaderFacts<'_>) -> String {
        let name = &self.source;
        match (self.source.value(facts), &self.value) {
            (None, _) => format!("header {name} is absent"),
            (Some(_), None) => format!("header {name} is present"),
            (Some(value), Some(pattern)) => {
                let value = String::from_utf8_lossy(&value);
                let verb = if self.invert { "is" } else { "is not" };
                format!("header {name} `{value}` {verb} {pattern}")
            }
        }
    }
}

impl HeaderSource {
    /// The source of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            ":method" => Some(Self::Method),
            ":scheme" => Some(Self::Scheme),
            ":authority" => Some(Self::Authority),
            ":path" => Some(Self::Path),
            _ if name.eq_ignore_ascii_case("host") => Some(Self::Authority),
            _ => name.parse().ok().map(Self::Named),
        }
    }

    /// The value; those of a repeated header are joined by commas, as they mean one list.
    fn value<'a>(&self, facts: &HeaderFacts<'a>) -> Option<Cow<'a, [u8]>> {
        let name = match self {
            Self::Method => return Some(Cow::Borrowed(facts.method.as_str().as_bytes())),
            Self::Scheme => return Some(Cow::Borrowed(facts.scheme.as_bytes())),
            Self::Authority => return Some(Cow::Borrowed(facts.authority.as_bytes())),
            Self::Path => {
                return Some(match facts.query {
                    None => Cow::Borrowed(facts.path.as_bytes()),
                    Some(query) => Cow::Owned(format!("{}?{query}", facts.path).into_bytes()),
                });
            }
            Self::Named(name) => name,
        };
        let mut values = facts.headers.get_all(name).iter();
        let first = values.next()?;
        let mut joined = Cow::Borrowed(first.as_bytes());
        for value in values {
            let joined = joined.to_mut();
            joined.push(b',');
            joined.extend_from_slice(value.as_bytes());
        }
        Some(joined)
    }
}

impl fmt::Display for HeaderSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => ":method",
            Self::Scheme => ":scheme",
            Self::Authority => ":authority",
            Self::Path => ":path",
            Self::Named(name) => name.as_str(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Text;
    use super::*;

    fn exact(text: &str) -> Option<Pattern> {
        Some(Pattern::Exact(Text { text: text.into(), ignore_case: false }))
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], matcher: &HeaderMatcher, expected: bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().expect("name"), value.parse().expect("value"));
        }
        let facts = HeaderFacts {
            method: &Method::GET,
            scheme: "http",
            authority: "reviews:9080",
            path: "/a",
            query: Some("b=c"),
            headers: &map,
        };
        assert_eq!(matcher.matches(&facts), expected, "{matcher:?}");
    }

    fn named(name: &str, value: Option<Pattern>) -> HeaderMatcher {
        let source = HeaderSource::parse(name).expect(name);
        HeaderMatcher { source, value, invert: false, missing_is_empty: false }
    }

    #[test]
    fn a_value_is_compared_and_its_name_is_not_case_sensitive() {
        check(&[("End-User", "jason")], &named("end-user", exact("jason")), true);
        check(&[("end-user", "Jason")], &named("end-user", exact("jason")), false);
        check(&[], &named("end-user", exact("")), false);
    }

    #[test]
    fn presence_and_absence_are_conditions_of_their_own() {
        check(&[("x", "")], &named("x", None), true);
        check(&[], &named("x", None), false);
        check(&[], &HeaderMatcher { invert: true, ..named("x", None) }, true);
        check(&[("x", "1")], &HeaderMatcher { invert: true, ..named("x", None) }, false);
    }

    #[test]
    fn a_missing_header_meets_an_inverted_condition_only_as_an_empty_value() {
        let inverted = HeaderMatcher { invert: true, ..named("x", exact("1")) };
        check(&[], &inverted, false);
        check(&[("x", "2")], &inverted, true);
        check(&[], &HeaderMatcher { missing_is_empty: true, ..inverted }, true);
    }

    #[test]
    fn a_repeated_header_is_one_list() {
        check(&[("x", "1"), ("x", "2")], &named("x", exact("1,2")), true);
        check(&[("x", "1"), ("x", "2")], &named("x", exact("1")), false);
    }

    #[test]
    fn pseudo_headers_are_headers() {
        check(&[], &named(":method", exact("GET")), true);
        check(&[], &named(":path", exact("/a?b=c")), true);
        check(&[], &named("Host", exact("reviews:9080")), true);
        check(&[], &named(":scheme", exact("https")), false);
        assert_eq!(HeaderSource::parse(":status"), None);
        assert_eq!(HeaderSource::parse("a b"), None);
    }
}
