//! Random requests, most of them aimed at a condition, so that they hit often and miss narrowly.

use std::fmt::Write as _;

use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use mesh_core::canonical::{PathNormalization, canonicalize_uri};
use mesh_core::route::RequestFacts;

use super::condition::{Comparison, Condition};

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    method: &'static str,
    scheme: &'static str,
    authority: &'static str,
    /// The path as rules see it.
    pub(super) path: String,
    /// The same path as the caller happens to spell it.
    spelled: String,
    query: Option<String>,
    headers: Vec<(String, String)>,
}

pub(super) const METHODS: [&str; 4] = ["GET", "POST", "PUT", "get"];
pub(super) const SCHEMES: [&str; 2] = ["http", "https"];
pub(super) const AUTHORITIES: [&str; 3] = ["reviews:9080", "reviews", "a.b:80"];
/// Headers proper.
pub(super) const NAMES: [&str; 3] = ["x-a", "X-B", "end-user"];
pub(super) const PARAMETERS: [&str; 3] = ["q", "qq", "v"];

impl Request {
    /// One that comes near to meeting a condition.
    pub(super) fn aimed(random: &mut Rng, at: &Condition) -> Self {
        let mut request = Self::random(random);
        if let Some(path) = &at.path {
            request.path = path.sample(random);
        }
        for (name, wanted) in &at.headers {
            request.meet(random, name, wanted);
        }
        for (name, _) in &at.without_headers {
            if random.u8(0..4) > 0 {
                request.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            }
        }
        let wanted = at.query.iter().map(|(name, wanted)| format!("{name}={}", wanted.sample(random)));
        let query = wanted.chain(request.query.take()).collect::<Vec<_>>().join("&");
        request.query = (!query.is_empty()).then_some(query);
        request.finished(random)
    }

    /// One that meets what it happens to meet.
    pub(super) fn any(random: &mut Rng) -> Self {
        Self::random(random).finished(random)
    }

    fn random(random: &mut Rng) -> Self {
        let mut some = |all: &[&'static str]| random.choice(all.iter().copied()).expect("there are some");
        let (method, scheme, authority) = (some(&METHODS), some(&SCHEMES), some(&AUTHORITIES));
        let header = |random: &mut Rng| {
            let name = random.choice(NAMES).expect("there are some").to_owned();
            let value = random.choice(["", "a", "b1", "1", "a,a"]).expect("there are some");
            (if random.bool() { name.to_uppercase() } else { name }, value.to_owned())
        };
        let pair = |random: &mut Rng| {
            let name = random.choice(PARAMETERS).expect("there are some");
            random.choice([format!("{name}=a"), format!("{name}=b1"), format!("{name}="), name.to_owned()])
        };
        let pairs: Vec<String> = (0..random.usize(0..3)).filter_map(|_| pair(random)).collect();
        Self {
            method,
            scheme,
            authority,
            path: path_text(random),
            spelled: String::new(),
            query: random.bool().then(|| pairs.join("&")),
            headers: (0..random.usize(0..3)).map(|_| header(random)).collect(),
        }
    }

    /// Gives a header a value that is wanted.
    fn meet(&mut self, random: &mut Rng, name: &str, wanted: &Comparison) {
        let fitting = |all: &[&'static str]| all.iter().copied().find(|text| wanted.holds(text));
        match name {
            ":method" => self.method = fitting(&METHODS).unwrap_or(self.method),
            ":scheme" => self.scheme = fitting(&SCHEMES).unwrap_or(self.scheme),
            ":authority" => self.authority = fitting(&AUTHORITIES).unwrap_or(self.authority),
            ":path" => {}
            _ => {
                self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
                self.headers.push((name.to_lowercase(), wanted.sample(random)));
            }
        }
    }

    fn finished(mut self, random: &mut Rng) -> Self {
        if !self.path.starts_with('/') {
            self.path.insert(0, '/');
        }
        self.spelled = spelled(random, &self.path);
        self
    }

    /// The value of a header or pseudo header; a repeated one is a list.
    pub(super) fn header(&self, name: &str) -> Option<String> {
        match name {
            ":method" => return Some(self.method.to_owned()),
            ":scheme" => return Some(self.scheme.to_owned()),
            ":authority" => return Some(self.authority.to_owned()),
            ":path" => {
                let query = self.query.as_ref().map(|query| format!("?{query}"));
                return Some(format!("{}{}", self.path, query.unwrap_or_default()));
            }
            _ => {}
        }
        let all = self.headers.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let values: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The first value of a query parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.as_deref()?.split('&');
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .find(|(key, _)| *key == name)
            .map(|pair| pair.1)
    }

    /// What the mesh's matchers see of it.
    pub(super) fn with_facts<T>(&self, then: impl FnOnce(&RequestFacts<'_>) -> T) -> T {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let mut uri: Uri = format!("{}{query}", self.spelled).parse().expect("a target");
        let query = uri.query().map(str::to_owned);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().expect("a name");
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let path = canonicalize_uri(&mut uri, PathNormalization::Base).expect("a path");
        then(&RequestFacts {
            method: &Method::from_bytes(self.method.as_bytes()).expect("a method"),
            scheme: self.scheme,
            authority: self.authority,
            path,
            query: query.as_deref(),
            headers: &headers,
        })
    }
}

/// Paths over few letters, so that they are often equal or begin with one another.
pub(super) fn path_text(random: &mut Rng) -> String {
    let segments = random.usize(0..4);
    let mut path = String::new();
    for _ in 0..segments {
        let segment = random.choice(["a", "b", "A", "ab", "1", ""]).expect("there are some");
        write!(path, "/{segment}").expect("text grows");
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

/// The path in another spelling of the same meaning.
fn spelled(random: &mut Rng, path: &str) -> String {
    let mut spelled = String::new();
    for letter in path.chars() {
        match (letter, random.u8(0..16)) {
            ('/', 0) => spelled.push_str("/./"),
            ('/', 1) => spelled.push_str("/b/../"),
            (letter, 0) if letter.is_ascii_alphanumeric() => {
                write!(spelled, "%{:02x}", u32::from(letter)).expect("text grows");
            }
            (letter, _) => spelled.push(letter),
        }
    }
    spelled
}
