//! Changes to path and authority on the way to a destination, and to the path of a redirect.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderValue, Uri};
use regex_automata::meta;

use crate::canonical::{NotCanonical, with_path};

/// Changes to path and authority.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// What the path becomes.
    pub path: Option<PathRewrite>,
    /// What the authority becomes.
    pub authority: Option<HeaderValue>,
}

/// A change of the path.
#[derive(Debug)]
pub enum PathRewrite {
    /// The matched prefix is replaced, byte for byte: a `/` that both have is there twice, as in Envoy.
    Prefix {
        /// What matched.
        matched: Arc<str>,
        /// What stands there instead.
        replacement: Arc<str>,
    },
    /// The whole path is replaced.
    Full(Arc<str>),
    /// Every match of an expression is replaced, with back references `\1`.
    Regex {
        /// What is searched, compiled.
        pattern: meta::Regex,
        /// The substitution.
        substitution: Arc<str>,
    },
}

impl PathRewrite {
    /// A rewrite by expression; `None` where the substitution would begin a query, or names a group that the expression does
    /// not have.
    pub fn regex(pattern: meta::Regex, substitution: &str) -> Option<Self> {
        if substitution.contains(['?', '#']) {
            return None;
        }
        let mut symbols = substitution.chars();
        while let Some(symbol) = symbols.next() {
            let escaped = if symbol == '\\' { symbols.next()? } else { continue };
            let group = escaped.to_digit(10).or((escaped == '\\').then_some(0))?;
            if group as usize >= pattern.group_info().group_len(Default::default()) {
                return None;
            }
        }
        Some(Self::Regex { pattern, substitution: substitution.into() })
    }

    /// The new path, without query.
    pub fn apply<'a>(&'a self, path: &'a str) -> Cow<'a, str> {
        let rewritten = match self {
            Self::Full(path) => Cow::Borrowed(&**path),
            Self::Prefix { matched, replacement } => match path.get(matched.len()..) {
                Some(rest) => Cow::Owned(format!("{replacement}{rest}")),
                // The rule's own match makes this impossible; a path that it does not fit stays as it is.
                None => Cow::Borrowed(path),
            },
            Self::Regex { pattern, substitution } => Cow::Owned(replace_all(pattern, substitution, path)),
        };
        if rewritten.starts_with('/') { rewritten } else { Cow::Owned(format!("/{rewritten}")) }
    }
}

impl Rewrite {
    /// Applies both to a request about to be sent; `authority` is what the destination asks for, which yields to the route's.
    pub(super) fn apply(
        &self,
        destination_authority: Option<&HeaderValue>,
        parts: &mut http::request::Parts,
    ) -> Result<(), NotCanonical> {
        if let Some(rewrite) = &self.path {
            parts.uri = with_path(&parts.uri, &rewrite.apply(parts.uri.path()))?;
        }
        if let Some(authority) = self.authority.as_ref().or(destination_authority) {
            set_authority(parts, authority)?;
        }
        Ok(())
    }
}

/// Both places that can name a host must say the same: what is sent over HTTP/1 is `Host`, over HTTP/2 the URI's authority.
fn set_authority(parts: &mut http::request::Parts, authority: &HeaderValue) -> Result<(), NotCanonical> {
    if parts.uri.authority().is_some() {
        let refuse = NotCanonical("the authority to be set is none");
        let mut uri = parts.uri.clone().into_parts();
        uri.authority = Some(Authority::try_from(authority.as_bytes()).map_err(|_| refuse)?);
        parts.uri = Uri::from_parts(uri).map_err(|_| refuse)?;
    }
    parts.headers.insert(HOST, authority.clone());
    Ok(())
}

/// RE2's substitution: `\0` the whole match, `\1` to `\9` its groups, `\\` a backslash.
fn replace_all(pattern: &meta::Regex, substitution: &str, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut captures = pattern.create_captures();
    let mut from = 0;
    for found in pattern.captures_iter(text) {
        captures.clone_from(&found);
        let Some(whole) = captures.get_match() else { continue };
        out.push_str(&text[from..whole.start()]);
        let mut symbols = substitution.chars();
        while let Some(symbol) = symbols.next() {
            match (symbol, symbol == '\\') {
                (_, false) => out.push(symbol),
                (_, true) => match symbols.next() {
                    Some(digit) if digit.is_ascii_digit() => {
                        let group = digit.to_digit(10).unwrap_or_default() as usize;
                        out.push_str(captures.get_group(group).map_or("", |span| &text[span]));
                    }
                    Some(other) => out.push(other),
                    None => {}
                },
            }
        }
        from = whole.end();
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::search_regex;

    #[track_caller]
    fn check(rewrite: &PathRewrite, path: &str, expected: &str) {
        assert_eq!(rewrite.apply(path), expected);
    }

    fn prefix(matched: &str, replacement: &str) -> PathRewrite {
        PathRewrite::Prefix { matched: matched.into(), replacement: replacement.into() }
    }

    fn regex(pattern: &str, substitution: &str) -> PathRewrite {
        PathRewrite::regex(search_regex(pattern).expect(pattern), substitution).expect(substitution)
    }

    #[test]
    fn a_matched_prefix_is_replaced_byte_for_byte() {
        check(&prefix("/api/v1", "/v2"), "/api/v1/products", "/v2/products");
        check(&prefix("/api", "/"), "/api/x", "//x");
        check(&prefix("/api/", "/"), "/api/x", "/x");
        check(&prefix("/a", "b"), "/a/x", "/b/x");
        check(&PathRewrite::Full("/new".into()), "/old", "/new");
    }

    #[test]
    fn an_expression_replaces_with_its_groups() {
        check(
            &regex("^/service/([^/]+)(/.*)$", r"\2/instance/\1"),
            "/service/foo/v1/api",
            "/v1/api/instance/foo",
        );
        check(&regex("one", "two"), "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz");
        check(&regex("(?i)/xxx/", "/yyy/"), "/aaa/XxX/bbb", "/aaa/yyy/bbb");
        check(&regex("^/a(/?)(.*)", r"/\2"), "/a/b", "/b");
        check(&regex("x", r"\\\0"), "/x", r"/\x");
    }

    #[test]
    fn a_substitution_is_path_and_names_only_groups_that_are_there() {
        for substitution in [r"\1", r"\", r"\n", "/a?b", "/a#b"] {
            assert!(
                PathRewrite::regex(search_regex("x").expect("regex"), substitution).is_none(),
                "{substitution}"
            );
        }
    }

    #[test]
    fn an_authority_is_set_wherever_one_stands() {
        let rewrite = Rewrite { path: None, authority: Some(HeaderValue::from_static("new:1")) };
        let (mut parts, ()) = http::Request::get("http://old:2/p?q")
            .header("host", "other")
            .body(())
            .expect("request")
            .into_parts();
        rewrite.apply(Some(&HeaderValue::from_static("destination")), &mut parts).expect("applies");
        assert_eq!(
            (parts.uri.to_string().as_str(), &parts.headers[HOST]),
            ("http://new:1/p?q", &HeaderValue::from_static("new:1"))
        );
        Rewrite::default()
            .apply(Some(&HeaderValue::from_static("destination")), &mut parts)
            .expect("applies");
        assert_eq!(parts.headers[HOST], "destination");
    }
}
