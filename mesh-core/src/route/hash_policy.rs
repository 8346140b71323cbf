//! By what a cluster tells its requests apart, where equal ones are to meet the same endpoint: a key, and the number that it is
//! hashed to. Which endpoint a number meets is [`balance`](crate::balance)'s to say.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use super::query_value;
use super::session::ip_bytes;
use super::sip_hash::SipHash;
use super::sticky_key::{NotAStickyKey, StickyKey, cookie};

/// What requests are hashed by, and onto what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashPolicy {
    /// What of a request counts.
    pub key: HashKey,
    /// How the numbers are divided among endpoints.
    pub table: HashTableKind,
}

/// How the numbers are divided among endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashTableKind {
    /// Endpoints stand at points of a ring, and a number belongs to the next one.
    Ring {
        /// How many points there are at least.
        points_min: u32,
    },
    /// Maglev's table, which is the evener of the two and moves a few keys more.
    Maglev {
        /// Its size, a prime.
        entries: u32,
    },
}

/// What of a request counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashKey {
    /// The first value of a header.
    Header(HeaderName),
    /// A cookie.
    Cookie(HashCookie),
    /// The first value of a query parameter, as it is written.
    Query(Box<str>),
    /// The caller's own address: in its own process, all that it sends has one key.
    SourceAddress,
}

/// A cookie that keeps its caller at an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HashCookie {
    /// Its name.
    pub name: Box<str>,
    /// How long one lasts that is made for a caller who has none; zero is as long as the browser runs. Absent: none is made.
    pub ttl: Option<Duration>,
    /// Where the caller shows it; empty is for the caller to choose.
    pub path: Box<str>,
    /// What else is told with it.
    pub attributes: Vec<(Box<str>, Box<str>)>,
}

/// Why a request cannot be hashed by something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAHashKey {
    /// It has no such name.
    #[error(transparent)]
    Name(#[from] NotAStickyKey),
    /// What is told with a cookie would not be read as what it is.
    #[error("`{0}` cannot stand in a cookie: visible letters without `;` can")]
    Attribute(Box<str>),
    /// Every request has it, or none.
    #[error("a query parameter needs a name without `&`, `=` and `#`")]
    Query,
}

/// Where a request's key is looked for.
#[derive(Debug, Clone, Copy)]
pub struct HashSource<'r> {
    /// The headers, as the route's conditions see them.
    pub headers: &'r HeaderMap,
    /// The query without `?`, as the caller wrote it.
    pub query: Option<&'r str>,
    /// The caller's own address; needed for [`HashKey::SourceAddress`], and else not read.
    pub address: Option<IpAddr>,
}

/// What makes a request the same as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKey<'r> {
    /// What stands in it.
    Text(&'r [u8]),
    /// Where it comes from.
    Address(IpAddr),
}

/// What a policy makes of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hashed {
    /// Its number; none where an endpoint is drawn.
    pub number: Option<u64>,
    /// What tells the caller the key that was made for it, for the response; apart, since few requests have one.
    pub set_cookie: Option<Box<HeaderValue>>,
}

impl HashPolicy {
    /// The number of a request. One that should have a cookie and has not is told one, made of a number drawn from [0, 1);
    /// without a draw none is made.
    pub fn hash(&self, source: &HashSource<'_>, draw: Option<f64>) -> Hashed {
        if let Some(key) = self.key.of(source) {
            return Hashed { number: Some(key.number()), set_cookie: None };
        }
        let HashKey::Cookie(cookie) = &self.key else { return Hashed::default() };
        let Some(draw) = draw.filter(|_| cookie.ttl.is_some()) else { return Hashed::default() };
        let value = format!("{:016x}", DRAWS.hash(&draw.to_bits().to_le_bytes()));
        let number = RequestKey::Text(value.as_bytes()).number();
        let set_cookie = HeaderValue::try_from(cookie.set(&value));
        Hashed { number: Some(number), set_cookie: set_cookie.ok().map(Box::new) }
    }
}

impl HashKey {
    /// The key that a header's name is.
    ///
    /// # Errors
    /// Where no header has that name, or one that tells no requests apart.
    pub fn header(name: &str) -> Result<Self, NotAHashKey> {
        match format!("header:{name}").parse()? {
            StickyKey::Header(name) => Ok(Self::Header(name)),
            _ => Err(NotAStickyKey::Form(name.into()).into()),
        }
    }

    /// The key that a cookie is.
    ///
    /// # Errors
    /// Where it could not be told to a caller.
    pub fn cookie(cookie: HashCookie) -> Result<Self, NotAHashKey> {
        format!("cookie:{}", cookie.name).parse::<StickyKey>()?;
        let attributes = cookie.attributes.iter().flat_map(|(name, value)| [&**name, value]);
        let bad = |text: &&str| !text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b';');
        if let Some(bad) = attributes.chain([&*cookie.path]).find(bad) {
            return Err(NotAHashKey::Attribute(bad.into()));
        }
        Ok(Self::Cookie(cookie))
    }

    /// The key that a query parameter is.
    ///
    /// # Errors
    /// Where none has that name.
    pub fn query(name: &str) -> Result<Self, NotAHashKey> {
        match name.is_empty() || name.contains(['&', '=', '#']) {
            true => Err(NotAHashKey::Query),
            false => Ok(Self::Query(name.into())),
        }
    }

    /// The request's key; an empty one is none.
    pub fn of<'r>(&self, source: &HashSource<'r>) -> Option<RequestKey<'r>> {
        let text = match self {
            Self::Header(name) => source.headers.get(name).map(HeaderValue::as_bytes),
            Self::Cookie(wanted) => cookie(source.headers, &wanted.name),
            Self::Query(name) => query_value(source.query, name).map(str::as_bytes),
            Self::SourceAddress => return source.address.map(RequestKey::Address),
        };
        text.filter(|text| !text.is_empty()).map(RequestKey::Text)
    }

    /// What a request is told whose key is not drawn: the cookie with its value left out.
    pub fn set_cookie_to_come(&self) -> Option<String> {
        match self {
            Self::Cookie(cookie) => cookie.ttl.map(|_| cookie.set("…")),
            _ => None,
        }
    }
}

impl HashCookie {
    fn set(&self, value: &str) -> String {
        let mut text = format!("{}={value}", self.name);
        if let Some(ttl) = self.ttl.filter(|ttl| !ttl.is_zero()) {
            // A part of a second lasts, and 0 would not.
            let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
            text.push_str(&format!("; Max-Age={seconds}"));
        }
        if !self.path.is_empty() {
            text.push_str(&format!("; Path={}", self.path));
        }
        for (name, value) in &self.attributes {
            let separator = if value.is_empty() { "" } else { "=" };
            text.push_str(&format!("; {name}{separator}{value}"));
        }
        // Scripts have no use for it.
        if !self.attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case("HttpOnly")) {
            text.push_str("; HttpOnly");
        }
        text
    }
}

impl RequestKey<'_> {
    fn number(&self) -> u64 {
        match self {
            Self::Text(text) => KEYS.hash(text),
            Self::Address(address) => KEYS.hash(&ip_bytes(*address)),
        }
    }
}

impl fmt::Display for RequestKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(cookie) => write!(f, "cookie:{}", cookie.name),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::SourceAddress => f.write_str("source_ip"),
        }
    }
}

/// Keys become numbers by it, in every process and every version of ours.
const KEYS: SipHash = SipHash::new(4, 0);
const DRAWS: SipHash = SipHash::new(4, 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(ttl: Option<Duration>) -> HashCookie {
        HashCookie { name: "uid".into(), ttl, path: "".into(), attributes: Vec::new() }
    }

    #[track_caller]
    fn check(key: &HashKey, headers: &[(&'static str, &'static str)], query: &str, expected: Option<&str>) {
        let named = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers: HeaderMap = headers.iter().map(named).collect();
        let address = Some(IpAddr::from([10, 0, 0, 9]));
        let source = HashSource { headers: &headers, query: Some(query), address };
        let found = key.of(&source);
        assert_eq!(found.map(|key| key.to_string()).as_deref(), expected, "{key}");
        let policy = HashPolicy { key: key.clone(), table: HashTableKind::Ring { points_min: 1 } };
        let number = found.map(|found| found.number());
        assert_eq!(policy.hash(&source, None), Hashed { number, set_cookie: None });
    }

    #[test]
    fn the_key_is_read_where_it_stands() {
        let header = HashKey::header("X-User").expect("a header");
        check(&header, &[("x-user", "ada"), ("x-user", "grace")], "", Some("ada"));
        check(&header, &[("x-user", "")], "", None);
        check(&header, &[("x-users", "ada")], "x-user=ada", None);
        let cookie = HashKey::cookie(uid(None)).expect("a cookie");
        check(&cookie, &[("cookie", "a=1; uid=7"), ("cookie", "uid=8")], "", Some("7"));
        check(&cookie, &[("cookie", "uid=; uids=7"), ("uid", "7")], "uid=7", None);
        let query = HashKey::query("user").expect("a parameter");
        check(&query, &[], "a=b&user=a%20b&user=c", Some("a%20b"));
        check(&query, &[("user", "ada")], "users=a&User=b&user", None);
        check(&HashKey::SourceAddress, &[], "", Some("10.0.0.9"));
    }

    #[test]
    fn what_no_request_has_is_no_key() {
        let attribute = |name: &str, value: &str| {
            let attributes = vec![(name.into(), value.into())];
            HashKey::cookie(HashCookie { attributes, ..uid(None) })
        };
        for bad in ["", "Host", "cookie", ":path", "x user"] {
            assert!(HashKey::header(bad).is_err(), "{bad}");
        }
        for bad in ["", "a&b", "a=b", "a#b"] {
            assert_eq!(HashKey::query(bad), Err(NotAHashKey::Query), "{bad}");
        }
        assert!(attribute("SameSite", "Strict").is_ok());
        assert_eq!(attribute("a;b", ""), Err(NotAHashKey::Attribute("a;b".into())));
        assert_eq!(attribute("a", "b\r\n"), Err(NotAHashKey::Attribute("b\r\n".into())));
        assert!(HashKey::cookie(HashCookie { path: "/;x".into(), ..uid(None) }).is_err());
        assert!(HashKey::cookie(HashCookie { name: "a b".into(), ..uid(None) }).is_err());
    }

    #[test]
    fn a_cookie_is_made_where_it_has_a_time_to_live_and_leads_to_its_own_number() {
        let hash = |cookie: HashCookie, headers: &HeaderMap| {
            let table = HashTableKind::Ring { points_min: 1 };
            let policy = HashPolicy { key: HashKey::Cookie(cookie), table };
            policy.hash(&HashSource { headers, query: None, address: None }, Some(0.5))
        };
        let none = HeaderMap::new();
        assert_eq!(hash(uid(None), &none), Hashed::default());
        for (cookie, told) in [
            (uid(Some(Duration::ZERO)), "; HttpOnly"),
            (uid(Some(Duration::from_millis(1500))), "; Max-Age=2; HttpOnly"),
            (
                HashCookie {
                    path: "/a".into(),
                    attributes: vec![("Secure".into(), "".into()), ("SameSite".into(), "Lax".into())],
                    ..uid(Some(Duration::from_secs(60)))
                },
                "; Max-Age=60; Path=/a; Secure; SameSite=Lax; HttpOnly",
            ),
            (
                HashCookie {
                    attributes: vec![("httponly".into(), "true".into())],
                    ..uid(Some(Duration::ZERO))
                },
                "; httponly=true",
            ),
        ] {
            let made = hash(cookie.clone(), &none);
            let set_cookie = made.set_cookie.expect("a cookie");
            let set_cookie = set_cookie.to_str().expect("text");
            let (pair, attributes) = set_cookie.split_at("uid=0123456789abcdef".len());
            assert_eq!(attributes, told);
            let back = HeaderMap::from_iter([(http::header::COOKIE, pair.parse().expect("a value"))]);
            assert_eq!(hash(cookie, &back), Hashed { number: made.number, set_cookie: None });
        }
    }
}
