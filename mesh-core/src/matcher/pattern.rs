//! A condition on one text: exact, prefix, suffix, contained or a regular expression on the whole of it.

use std::fmt;

use regex_automata::util::syntax;
use regex_automata::{Anchored, Input, meta};

/// A condition on a text. Texts are bytes, because header values need not be UTF-8.
#[derive(Debug, Clone)]
pub enum Pattern {
    /// The whole text.
    Exact(Text),
    /// How it begins.
    Prefix(Text),
    /// How it ends.
    Suffix(Text),
    /// What is somewhere in it.
    Contains(Text),
    /// A regular expression on the whole text.
    Regex(FullMatch),
}

/// The text of a pattern and whether the case of ASCII letters counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text to compare with.
    pub text: Box<str>,
    /// `Reviews` is `reviews`.
    pub ignore_case: bool,
}

/// A regular expression that must match the whole text, as Envoy and Istio have it.
#[derive(Debug, Clone)]
pub struct FullMatch {
    source: Box<str>,
    compiled: meta::Regex,
}

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegex {
    /// Longer than is let in.
    #[error("the expression has {bytes} bytes; {REGEX_BYTES_MAX} are allowed")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// It has a syntax error or compiles to too much.
    #[error("the expression `{expression}` does not compile: {reason}")]
    Syntax {
        /// As given.
        expression: String,
        /// What the compiler said.
        reason: String,
    },
}

impl Pattern {
    /// Whether the text meets the condition.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::Exact(wanted) => wanted.equals(text),
            Self::Prefix(wanted) => wanted.starts(text),
            Self::Suffix(wanted) => {
                let from = text.len().checked_sub(wanted.text.len());
                from.is_some_and(|from| wanted.equals(&text[from..]))
            }
            Self::Contains(wanted) if wanted.text.is_empty() => true,
            Self::Contains(wanted) => text.windows(wanted.text.len()).any(|window| wanted.equals(window)),
            Self::Regex(expression) => expression.matches(text),
        }
    }
}

impl Text {
    /// Whether `text` begins with it.
    pub fn starts(&self, text: &[u8]) -> bool {
        text.get(..self.text.len()).is_some_and(|start| self.equals(start))
    }

    /// Whether it is all of `text`.
    pub fn equals(&self, text: &[u8]) -> bool {
        if self.ignore_case {
            self.text.as_bytes().eq_ignore_ascii_case(text)
        } else {
            self.text.as_bytes() == text
        }
    }
}

impl FullMatch {
    /// Compiles an expression.
    ///
    /// # Errors
    /// Where it is too long, malformed, or compiles to too much.
    pub fn new(expression: &str) -> Result<Self, InvalidRegex> {
        let compiled = compile(expression, anchored)?;
        Ok(Self { source: expression.into(), compiled })
    }

    /// The expression as given.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether the expression matches all of `text`.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.compiled.is_match(text)
    }
}

/// Several expressions, each of which matches all of a text, asked at once.
#[derive(Debug, Clone)]
pub struct FullMatchSet(meta::Regex);

impl FullMatchSet {
    /// Compiles expressions together; `None` where together they compile to too much, and each has to be asked by itself.
    pub fn new<'e>(expressions: impl Iterator<Item = &'e FullMatch>) -> Option<Self> {
        let expressions: Vec<String> = expressions.map(|one| anchored(&one.source)).collect();
        let limits = meta::Config::new()
            .nfa_size_limit(Some(REGEX_SET_PROGRAM_BYTES_MAX))
            .hybrid_cache_capacity(REGEX_SET_CACHE_BYTES_MAX);
        let built =
            meta::Builder::new().configure(limits).syntax(syntax::Config::new()).build_many(&expressions);
        built.ok().map(Self)
    }

    /// The place of the first expression that matches all of `text`.
    pub fn first(&self, text: &[u8]) -> Option<usize> {
        // All begin at the text's start, and of matches that begin together the expression given first is preferred.
        self.0.search_half(&Input::new(text).anchored(Anchored::Yes)).map(|found| found.pattern().as_usize())
    }
}

/// So that it matches all of a text or nothing.
fn anchored(expression: &str) -> String {
    format!(r"\A(?:{expression})\z")
}

/// Compiles an expression that is searched for, as in rewrites.
///
/// # Errors
/// Where it is too long, malformed, or compiles to too much.
pub(crate) fn search_regex(expression: &str) -> Result<meta::Regex, InvalidRegex> {
    compile(expression, str::to_owned)
}

/// Parses the expression by itself first: `a)|(b` must not become well-formed by what is put around it.
fn compile(expression: &str, wrap: impl FnOnce(&str) -> String) -> Result<meta::Regex, InvalidRegex> {
    if expression.len() > REGEX_BYTES_MAX {
        return Err(InvalidRegex::TooLong { bytes: expression.len() });
    }
    let refuse = |reason: String| InvalidRegex::Syntax { expression: expression.to_owned(), reason };
    regex_syntax::parse(expression).map_err(|error| refuse(error.to_string()))?;
    let limits = meta::Config::new()
        .nfa_size_limit(Some(REGEX_PROGRAM_BYTES_MAX))
        .hybrid_cache_capacity(REGEX_CACHE_BYTES_MAX);
    meta::Builder::new()
        .configure(limits)
        .syntax(syntax::Config::new())
        .build(&wrap(expression))
        .map_err(|error| refuse(error.to_string()))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(text) => write!(f, "`{}`", text.text),
            Self::Prefix(text) => write!(f, "`{}*`", text.text),
            Self::Suffix(text) => write!(f, "`*{}`", text.text),
            Self::Contains(text) => write!(f, "`*{}*`", text.text),
            Self::Regex(expression) => write!(f, "regex `{}`", expression.source),
        }
    }
}

/// Istio caps a document's expressions at 1024 bytes; what the control plane generates from lists may be longer.
const REGEX_BYTES_MAX: usize = 16 * 1024;
const REGEX_PROGRAM_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Per expression and thread that uses it.
const REGEX_CACHE_BYTES_MAX: usize = 256 * 1024;
/// The largest program that several expressions may compile to.
const REGEX_SET_PROGRAM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a search of several expressions may remember, for each thread that searches.
const REGEX_SET_CACHE_BYTES_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text { text: text.into(), ignore_case: false }
    }

    #[track_caller]
    fn check(pattern: &Pattern, matching: &[&str], others: &[&str]) {
        for text in matching {
            assert!(pattern.matches(text.as_bytes()), "{pattern} should match `{text}`");
        }
        for text in others {
            assert!(!pattern.matches(text.as_bytes()), "{pattern} should not match `{text}`");
        }
    }

    #[test]
    fn each_kind_compares_its_part_of_the_text() {
        check(&Pattern::Exact(text("abc")), &["abc"], &["ab", "abcd", "ABC", ""]);
        check(&Pattern::Prefix(text("ab")), &["ab", "abc"], &["a", "cab", ""]);
        check(&Pattern::Suffix(text("bc")), &["bc", "abc"], &["c", "bcd", ""]);
        check(&Pattern::Contains(text("b")), &["abc"], &["ac", ""]);
        check(&Pattern::Contains(text("")), &["", "a"], &[]);
        let insensitive = Pattern::Prefix(Text { text: "Ab".into(), ignore_case: true });
        check(&insensitive, &["aBc", "AB"], &["b", "a"]);
    }

    #[test]
    fn an_expression_matches_the_whole_text_or_not_at_all() {
        let regex = |expression| Pattern::Regex(FullMatch::new(expression).expect(expression));
        check(&regex("a|ab"), &["a", "ab"], &["abc", "b", ""]);
        check(&regex(".*"), &["", "anything"], &["two\nlines"]);
        check(&regex("(?i)jason"), &["JASON"], &["jasons"]);
        check(&regex("v$"), &["v"], &["v\n"]);
    }

    #[test]
    fn a_bad_expression_is_refused_with_its_reason() {
        for expression in ["a)|(b", "[", "(?<n", r"\1", "a{1000}{1000}{1000}"] {
            assert!(FullMatch::new(expression).is_err(), "`{expression}` was accepted");
        }
        let long = "a".repeat(REGEX_BYTES_MAX + 1);
        assert_eq!(FullMatch::new(&long).err(), Some(InvalidRegex::TooLong { bytes: long.len() }));
    }
}
