//! CORS: which other origins' pages may call, as a rule says it to their browsers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN,
};
use http::{HeaderMap, HeaderValue, Method};

use crate::matcher::Pattern;

/// What browsers are told. A header that is not said is not sent.
#[derive(Debug, Clone, Default)]
pub struct CorsPolicy {
    /// The origins that may call; one that meets `*` itself lets every origin.
    pub allow_origins: Vec<Pattern>,
    /// `access-control-allow-methods`; `*` beside credentials is whichever method is asked for.
    pub allow_methods: Option<HeaderValue>,
    /// `access-control-allow-headers`; `*` likewise.
    pub allow_headers: Option<HeaderValue>,
    /// `access-control-expose-headers`
    pub expose_headers: Option<HeaderValue>,
    /// `access-control-max-age`
    pub max_age: Option<HeaderValue>,
    /// `access-control-allow-credentials: true`
    pub allow_credentials: bool,
    /// What becomes of a preflight from an origin that may not call.
    pub unmatched_preflights: UnmatchedPreflights,
}

/// What becomes of a preflight from an origin that may not call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnmatchedPreflights {
    /// It is answered, and allowed nothing.
    #[default]
    Ignore,
    /// It goes on to the destination, which may know better.
    Forward,
}

/// What a policy makes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsVerdict {
    /// Nothing: no page of another origin asks, or none that may.
    Untouched,
    /// A preflight, answered by 200 with these headers.
    Answer(HeaderMap),
    /// It goes on, and its response has these headers.
    Allow(HeaderMap),
}

impl CorsPolicy {
    /// Judges a request by its method and headers.
    pub fn judge(&self, method: &Method, headers: &HeaderMap) -> CorsVerdict {
        let Some(origin) = headers.get(ORIGIN).filter(|origin| !origin.is_empty()) else {
            return CorsVerdict::Untouched;
        };
        let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|method| !method.is_empty());
        let is_preflight = method == Method::OPTIONS && asked;
        match (self.allows(origin), is_preflight) {
            (true, true) => {
                let asked = |list: &Option<HeaderValue>, asked| self.answer(list, headers.get(asked));
                let lists = [
                    (ACCESS_CONTROL_ALLOW_METHODS, asked(&self.allow_methods, ACCESS_CONTROL_REQUEST_METHOD)),
                    (
                        ACCESS_CONTROL_ALLOW_HEADERS,
                        asked(&self.allow_headers, ACCESS_CONTROL_REQUEST_HEADERS),
                    ),
                    (ACCESS_CONTROL_EXPOSE_HEADERS, self.expose_headers.clone()),
                    (ACCESS_CONTROL_MAX_AGE, self.max_age.clone()),
                ];
                CorsVerdict::Answer(self.told(origin, lists))
            }
            (true, false) => {
                let lists = [(ACCESS_CONTROL_EXPOSE_HEADERS, self.expose_headers.clone())];
                CorsVerdict::Allow(self.told(origin, lists))
            }
            (false, true) if self.unmatched_preflights == UnmatchedPreflights::Ignore => {
                CorsVerdict::Answer(HeaderMap::new())
            }
            (false, _) => CorsVerdict::Untouched,
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        self.allow_origins.iter().any(|allowed| allowed.matches(b"*") || allowed.matches(origin.as_bytes()))
    }

    /// A list as a preflight is told it. Browsers that send credentials take `*` for a name, so they are told what they asked for.
    fn answer(&self, list: &Option<HeaderValue>, asked: Option<&HeaderValue>) -> Option<HeaderValue> {
        match list {
            Some(all) if all == "*" && self.allow_credentials => asked.cloned(),
            list => list.clone(),
        }
    }

    fn told(
        &self,
        origin: &HeaderValue,
        lists: impl IntoIterator<Item = (HeaderName, Option<HeaderValue>)>,
    ) -> HeaderMap {
        let mut headers = HeaderMap::from_iter([(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())]);
        if self.allow_credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        headers.extend(lists.into_iter().filter_map(|(name, value)| Some((name, value?))));
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::Text;

    fn policy() -> CorsPolicy {
        let suffix = Text { text: ".example.com".into(), ignore_case: false };
        CorsPolicy {
            allow_origins: vec![Pattern::Suffix(suffix)],
            allow_methods: Some(HeaderValue::from_static("GET,PUT")),
            expose_headers: Some(HeaderValue::from_static("x-a")),
            max_age: Some(HeaderValue::from_static("60")),
            allow_credentials: true,
            ..CorsPolicy::default()
        }
    }

    fn request(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs =
            pairs.iter().map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")));
        HeaderMap::from_iter(pairs)
    }

    #[track_caller]
    fn check(policy: &CorsPolicy, method: Method, headers: &[(&'static str, &'static str)], expected: &str) {
        let lines = |headers: HeaderMap| {
            let mut lines: Vec<_> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
                .collect();
            lines.sort();
            lines.join("; ").replace("access-control-", "")
        };
        let found = match policy.judge(&method, &request(headers)) {
            CorsVerdict::Untouched => "untouched".to_owned(),
            CorsVerdict::Answer(headers) => format!("answer {}", lines(headers)),
            CorsVerdict::Allow(headers) => format!("allow {}", lines(headers)),
        };
        assert_eq!(found, expected);
    }

    const GOOD: (&str, &str) = ("origin", "https://a.example.com");
    const BAD: (&str, &str) = ("origin", "https://example.org");
    const ASKS: (&str, &str) = ("access-control-request-method", "PUT");

    #[test]
    fn a_preflight_of_an_allowed_origin_is_answered_and_others_pass() {
        let told = "allow-credentials: true; allow-methods: GET,PUT; allow-origin: https://a.example.com; expose-headers: x-a; max-age: 60";
        check(&policy(), Method::OPTIONS, &[GOOD, ASKS], &format!("answer {told}"));
        let seen = "allow-credentials: true; allow-origin: https://a.example.com; expose-headers: x-a";
        check(&policy(), Method::GET, &[GOOD], &format!("allow {seen}"));
        check(&policy(), Method::OPTIONS, &[GOOD], &format!("allow {seen}"));
        check(&policy(), Method::GET, &[], "untouched");
        check(&policy(), Method::OPTIONS, &[ASKS], "untouched");
    }

    #[test]
    fn an_origin_that_may_not_call_is_told_nothing() {
        check(&policy(), Method::GET, &[BAD], "untouched");
        check(&policy(), Method::OPTIONS, &[BAD, ASKS], "answer ");
        let forward = CorsPolicy { unmatched_preflights: UnmatchedPreflights::Forward, ..policy() };
        check(&forward, Method::OPTIONS, &[BAD, ASKS], "untouched");
    }

    #[test]
    fn a_star_lets_every_origin() {
        let star = Pattern::Exact(Text { text: "*".into(), ignore_case: false });
        let policy = CorsPolicy { allow_origins: vec![star], ..CorsPolicy::default() };
        check(&policy, Method::GET, &[BAD], "allow allow-origin: https://example.org");
    }

    #[test]
    fn a_star_beside_credentials_is_what_was_asked_for() {
        let star = Some(HeaderValue::from_static("*"));
        let policy = CorsPolicy { allow_methods: star.clone(), allow_headers: star, ..policy() };
        let names = ("access-control-request-headers", "x-1,x-2");
        let rest = "allow-origin: https://a.example.com; expose-headers: x-a; max-age: 60";
        let told =
            format!("answer allow-credentials: true; allow-headers: x-1,x-2; allow-methods: PUT; {rest}");
        check(&policy, Method::OPTIONS, &[GOOD, ASKS, names], &told);
        let told = format!("answer allow-credentials: true; allow-methods: PUT; {rest}");
        check(&policy, Method::OPTIONS, &[GOOD, ASKS], &told);
        let open = CorsPolicy { allow_credentials: false, ..policy };
        let told = format!("answer allow-headers: *; allow-methods: *; {rest}");
        check(&open, Method::OPTIONS, &[GOOD, ASKS, names], &told);
    }
}
