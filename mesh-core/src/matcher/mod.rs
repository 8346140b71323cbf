//! Conditions on one text or one header: the leaves of route matches and policies alike, so that `prefix` or "the header is
//! absent" mean the same in both.

mod header;
mod pattern;

pub use header::{HeaderFacts, HeaderMatcher, HeaderSource};
pub(crate) use pattern::search_regex;
pub use pattern::{FullMatch, FullMatchSet, InvalidRegex, Pattern, Text};
