//! The matchers of `envoy.type.matcher` and of headers, which routes and policies share.

use std::mem::take;

use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher, StringMatcher};
use regex_automata::meta;

use super::invalid::{Inside, Invalid, nothing_else};
use crate::matcher::{FullMatch, HeaderMatcher, HeaderSource, Pattern, Text, search_regex};

/// A condition on a text.
pub(super) fn pattern(wire: StringMatcher) -> Result<Pattern, Invalid> {
    let text = |text: String| Text { text: text.into(), ignore_case: wire.ignore_case };
    match wire.match_pattern {
        Some(MatchPattern::Exact(exact)) => Ok(Pattern::Exact(text(exact))),
        Some(MatchPattern::Prefix(prefix)) => Ok(Pattern::Prefix(text(prefix))),
        Some(MatchPattern::Suffix(suffix)) => Ok(Pattern::Suffix(text(suffix))),
        Some(MatchPattern::Contains(part)) => Ok(Pattern::Contains(text(part))),
        Some(MatchPattern::SafeRegex(regex)) => Ok(Pattern::Regex(full_match(regex).inside("safe_regex")?)),
        Some(MatchPattern::Custom(_)) => Err(Invalid::new("custom", "is not supported by this mesh")),
        None => Err(Invalid::new("match_pattern", "is missing")),
    }
}

/// An expression that must match a whole text.
pub(super) fn full_match(wire: RegexMatcher) -> Result<FullMatch, Invalid> {
    FullMatch::new(&wire.regex).map_err(|error| Invalid::new("regex", error))
}

/// An expression that is searched for, and what stands in place of what it finds.
pub(super) fn substitute(wire: RegexMatchAndSubstitute) -> Result<(meta::Regex, String), Invalid> {
    let regex = wire.pattern.ok_or(Invalid::new("pattern", "is missing"))?.regex;
    let pattern = search_regex(&regex).map_err(|error| Invalid::new("pattern.regex", error))?;
    Ok((pattern, wire.substitution))
}

/// A condition on a header.
#[allow(deprecated, reason = "older control planes send the conditions that `string_match` replaced")]
pub(super) fn header(mut wire: wire::HeaderMatcher) -> Result<HeaderMatcher, Invalid> {
    use HeaderMatchSpecifier as Kind;

    let name = take(&mut wire.name);
    let source =
        HeaderSource::parse(&name).ok_or(Invalid::new("name", format!("`{name}` is no header name")))?;
    let text = |text: String| Text { text: text.into(), ignore_case: false };
    let mut invert = take(&mut wire.invert_match);
    let value = match take(&mut wire.header_match_specifier) {
        None => None,
        Some(Kind::PresentMatch(present)) => {
            invert ^= !present;
            None
        }
        Some(Kind::StringMatch(string)) => Some(pattern(string).inside("string_match")?),
        Some(Kind::ExactMatch(exact)) => Some(Pattern::Exact(text(exact))),
        Some(Kind::PrefixMatch(prefix)) => Some(Pattern::Prefix(text(prefix))),
        Some(Kind::SuffixMatch(suffix)) => Some(Pattern::Suffix(text(suffix))),
        Some(Kind::ContainsMatch(part)) => Some(Pattern::Contains(text(part))),
        Some(Kind::SafeRegexMatch(regex)) => {
            Some(Pattern::Regex(full_match(regex).inside("safe_regex_match")?))
        }
        Some(Kind::RangeMatch(_)) => {
            return Err(Invalid::new("range_match", "is not supported by this mesh"));
        }
    };
    let missing_is_empty = take(&mut wire.treat_missing_header_as_empty);
    nothing_else(&wire)?;
    Ok(HeaderMatcher { source, value, invert, missing_is_empty })
}
