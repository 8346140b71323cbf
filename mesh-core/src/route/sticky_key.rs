//! What makes a request the same user's as another: a header, a cookie, a claim, or who calls.
//!
//! The text form (`header:x-user`, `cookie:uid`, `claim:sub`, `identity`) is one for documents, for the wire and for `explain`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use http::header::{COOKIE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue};

use super::claim::claim;

/// What a sticky split goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StickyKey {
    /// The first value of a header.
    Header(HeaderName),
    /// The value of a cookie; a request without it is told one.
    Cookie(Box<str>),
    /// A claim of the bearer token, by its name as the token has it.
    Claim(Box<str>),
    /// The SPIFFE ID of the calling workload, without `spiffe://`.
    Identity,
}

/// Why a text names no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAStickyKey {
    /// None of the forms.
    #[error("`{0}` is none of `header:NAME`, `cookie:NAME`, `claim:NAME` and `identity`")]
    Form(Box<str>),
    /// No header has that name, or all requests of a host have the same value.
    #[error("`{0}` is not the name of a header that tells requests apart")]
    Header(Box<str>),
    /// No cookie has that name.
    #[error(
        "`{0}` is not the name of a cookie: letters, digits, `-`, `_`, `.`, at most {COOKIE_NAME_BYTES_MAX}"
    )]
    Cookie(Box<str>),
    /// No claim is written like that.
    #[error("the name of a claim is visible, and at most {CLAIM_NAME_BYTES_MAX} bytes long; `{0}` is not")]
    Claim(Box<str>),
}

/// Where a request's key is looked for.
#[derive(Debug, Clone, Copy)]
pub struct KeySource<'r> {
    /// The headers, as the route's conditions see them.
    pub headers: &'r HeaderMap,
    /// Who calls, as policies name it: `cluster.local/ns/default/sa/productpage`.
    pub identity: Option<&'r str>,
    /// Now, in seconds of Unix time; needed where [`Split::minds_time`](super::Split::minds_time), and else not read.
    pub unix_seconds: Option<u64>,
}

impl StickyKey {
    /// The request's key; an empty one is none.
    pub fn of<'r>(&self, source: &KeySource<'r>) -> Option<Cow<'r, [u8]>> {
        let key = match self {
            Self::Header(name) => source.headers.get(name).map(HeaderValue::as_bytes),
            Self::Cookie(name) => cookie(source.headers, name),
            Self::Identity => source.identity.map(str::as_bytes),
            Self::Claim(name) => {
                return claim(source.headers, name).filter(|key| !key.is_empty()).map(Cow::Owned);
            }
        };
        key.filter(|key| !key.is_empty()).map(Cow::Borrowed)
    }
}

/// The value of a cookie, wherever in the headers it stands.
pub(super) fn cookie<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r [u8]> {
    let pairs =
        headers.get_all(COOKIE).iter().flat_map(|header| header.as_bytes().split(|byte| *byte == b';'));
    pairs.into_iter().find_map(|pair| {
        let value = pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
        Some(value)
    })
}

impl FromStr for StickyKey {
    type Err = NotAStickyKey;

    fn from_str(text: &str) -> Result<Self, NotAStickyKey> {
        if text == "identity" {
            return Ok(Self::Identity);
        }
        match text.split_once(':') {
            Some(("header", name)) => {
                let parsed = HeaderName::try_from(name).ok().filter(|name| *name != HOST && *name != COOKIE);
                parsed.map(Self::Header).ok_or_else(|| NotAStickyKey::Header(shortened(name)))
            }
            Some(("cookie", name)) if is_cookie_name(name) => Ok(Self::Cookie(name.into())),
            Some(("cookie", name)) => Err(NotAStickyKey::Cookie(shortened(name))),
            Some(("claim", name)) if is_claim_name(name) => Ok(Self::Claim(name.into())),
            Some(("claim", name)) => Err(NotAStickyKey::Claim(shortened(name))),
            _ => Err(NotAStickyKey::Form(shortened(text))),
        }
    }
}

impl fmt::Display for StickyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Claim(name) => write!(f, "claim:{name}"),
            Self::Identity => f.write_str("identity"),
        }
    }
}

/// Of the letters that cookies allow, those that need no thought in a header, a URL or a shell.
fn is_cookie_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= COOKIE_NAME_BYTES_MAX && name.bytes().all(plain)
}

/// Any text could be a claim's name; one that cannot be seen is a mistake.
fn is_claim_name(name: &str) -> bool {
    let visible = |letter: char| !letter.is_whitespace() && !letter.is_control();
    !name.is_empty() && name.len() <= CLAIM_NAME_BYTES_MAX && name.chars().all(visible)
}

/// What a message shows of a text that may be long.
fn shortened(text: &str) -> Box<str> {
    text.chars().take(SHOWN_CHARACTERS_MAX).collect()
}

const COOKIE_NAME_BYTES_MAX: usize = 128;
const CLAIM_NAME_BYTES_MAX: usize = 256;
const SHOWN_CHARACTERS_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(on: &str, headers: &[(&'static str, &'static str)], expected: Option<&str>) {
        let headers: HeaderMap = headers
            .iter()
            .map(|&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let source =
            KeySource { headers: &headers, identity: Some("cluster.local/ns/a/sa/b"), unix_seconds: None };
        let key: StickyKey = on.parse().expect("a key");
        assert_eq!(key.of(&source).as_deref(), expected.map(str::as_bytes));
        assert_eq!(key.to_string(), on);
    }

    #[test]
    fn the_key_is_read_where_it_stands() {
        check("header:x-user", &[("x-user", "ada"), ("x-user", "grace")], Some("ada"));
        check("cookie:uid", &[("cookie", "a=1; uid=7;b=2")], Some("7"));
        check("cookie:uid", &[("cookie", "a=1"), ("cookie", "uid=x=y")], Some("x=y"));
        check("claim:sub", &[("authorization", "Bearer e30.eyJzdWIiOiJhZGEifQ.c2ln")], Some("ada"));
        check("identity", &[], Some("cluster.local/ns/a/sa/b"));
    }

    #[test]
    fn a_request_without_the_key_has_none() {
        check("header:x-user", &[("x-users", "ada")], None);
        check("header:x-user", &[("x-user", "")], None);
        check("cookie:uid", &[("cookie", "xuid=1; uid2=2; uid; uid=")], None);
        check("cookie:uid", &[("uid", "7")], None);
        check("claim:sub", &[("sub", "ada")], None);
        check("claim:sub", &[("authorization", "Bearer e30.eyJzdWIiOiIifQ.c2ln")], None);
    }

    #[test]
    fn what_names_no_key_is_refused_for_its_reason() {
        let check = |text: &str, expected: fn(Box<str>) -> NotAStickyKey, shown: &str| {
            assert_eq!(text.parse::<StickyKey>(), Err(expected(shown.into())));
        };
        check("", NotAStickyKey::Form, "");
        check("x-user", NotAStickyKey::Form, "x-user");
        check("identity:x", NotAStickyKey::Form, "identity:x");
        check("header:", NotAStickyKey::Header, "");
        check("header:x user", NotAStickyKey::Header, "x user");
        check("header::path", NotAStickyKey::Header, ":path");
        check("header:Host", NotAStickyKey::Header, "Host");
        check("cookie:a=b", NotAStickyKey::Cookie, "a=b");
        check("claim:", NotAStickyKey::Claim, "");
        check("claim:a b", NotAStickyKey::Claim, "a b");
    }
}
