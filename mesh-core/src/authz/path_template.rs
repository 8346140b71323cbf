//! A path by segments: `{*}` stands for one segment, `{**}` for what remains.

use std::fmt;

/// A compiled template, such as `/shop/{*}/items/{**}`.
#[derive(Debug, Clone)]
pub struct PathTemplate {
    source: Box<str>,
    segments: Vec<Segment>,
    /// What follows `{**}`, as text beginning with `/` or empty; `None` without `{**}`.
    tail: Option<Box<str>>,
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path template `{template}`: {reason}")]
pub struct InvalidTemplate {
    /// As given.
    pub template: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

#[derive(Debug, Clone)]
enum Segment {
    Literal(Box<str>),
    One,
}

impl PathTemplate {
    /// Compiles a template; the operators may be written with braces (Istio) or without (Envoy).
    ///
    /// # Errors
    /// Where an operator is not a whole segment, or one follows `{**}`.
    pub fn parse(template: &str) -> Result<Self, InvalidTemplate> {
        let refuse = |reason| InvalidTemplate { template: template.to_owned(), reason };
        let rest = template.strip_prefix('/').ok_or_else(|| refuse("it does not begin with `/`"))?;
        let mut compiled = Self { source: template.into(), segments: Vec::new(), tail: None };
        for text in rest.split('/') {
            let operator = matches!(text, "*" | "{*}" | "**" | "{**}");
            if !operator && text.contains(['*', '{', '}']) {
                return Err(refuse("an operator is a whole segment: `{*}` or `{**}`"));
            }
            match (&mut compiled.tail, text) {
                (Some(_), _) if operator => return Err(refuse("no operator can follow `{**}`")),
                (Some(tail), _) => *tail = format!("{tail}/{text}").into(),
                (tail @ None, "**" | "{**}") => *tail = Some("".into()),
                (None, "*" | "{*}") => compiled.segments.push(Segment::One),
                (None, _) => compiled.segments.push(Segment::Literal(text.into())),
            }
        }
        Ok(compiled)
    }

    /// Whether the path fits.
    pub fn matches(&self, path: &str) -> bool {
        let Some(mut rest) = path.strip_prefix('/').map(Some) else { return false };
        for segment in &self.segments {
            let Some(text) = rest else { return false };
            let (first, after) = match text.split_once('/') {
                Some((first, after)) => (first, Some(after)),
                None => (text, None),
            };
            let fits = match segment {
                Segment::Literal(literal) => **literal == *first,
                Segment::One => !first.is_empty(),
            };
            if !fits {
                return false;
            }
            rest = after;
        }
        match (&self.tail, rest) {
            (None, rest) => rest.is_none(),
            (Some(tail), Some(rest)) => rest.ends_with(&**tail),
            (Some(_), None) => false,
        }
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, fitting: &[&str], others: &[&str]) {
        let compiled = PathTemplate::parse(template).expect(template);
        for path in fitting {
            assert!(compiled.matches(path), "{template} should fit {path}");
        }
        for path in others {
            assert!(!compiled.matches(path), "{template} should not fit {path}");
        }
    }

    #[test]
    fn one_segment_or_the_rest() {
        check("/foo/{*}", &["/foo/a"], &["/foo", "/foo/", "/foo/a/b", "/foo/a/", "/bar/a"]);
        check("/foo/{*}/bar/{**}", &["/foo/a/bar/", "/foo/a/bar/b/c"], &["/foo/a/bar", "/foo/a/b/bar/c"]);
        check("/{**}", &["/", "/a/b"], &["", "*"]);
        check("/foo/**", &["/foo/", "/foo/a/b"], &["/foo", "/foobar"]);
        check("/{**}/bar", &["/a/bar", "/a/b/bar", "//bar"], &["/bar", "/a/bar/c"]);
        check("/*/x", &["/a/x"], &["//x"]);
    }

    #[test]
    fn operators_stand_at_segment_borders_only() {
        for template in ["foo", "/foo{*}", "/{*}.txt", "/{**}/{*}", "/{**}/a/{**}", "/{name}", "/{", "/***"] {
            assert!(PathTemplate::parse(template).is_err(), "`{template}` was accepted");
        }
    }
}
