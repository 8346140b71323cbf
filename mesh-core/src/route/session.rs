//! Sessions: a sticky key that keeps its endpoint as well, in a token that the caller brings back.
//!
//! The token is `KEY.ENDPOINT`, two numbers in hexadecimal, and where a session has limits `KEY.ENDPOINT.BEGUN.USED`, seconds of
//! Unix time. By the key a version is chosen as ever; the endpoint is a hash of its address, so that callers do not learn
//! addresses. Whoever brings another text, or one whose time is over, begins a new session; the times decide no more than
//! that, so they need no seal.

use std::net::{IpAddr, SocketAddr};

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::StickyKey;
use super::sticky::{self, HexNumber, Sticky};

/// How long a session lasts, in seconds; without limits, as long as the caller keeps its token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionLifetime {
    /// From its beginning.
    pub seconds_max: Option<u32>,
    /// From its last request, to within an eighth: it is not told anew with every answer.
    pub idle_seconds_max: Option<u32>,
    /// Whether a browser is asked to keep the cookie for `seconds_max`, and not only while it runs.
    pub permanent: bool,
}

impl SessionLifetime {
    /// Whether a token has to carry times.
    pub(super) fn is_limited(&self) -> bool {
        self.seconds_max.is_some() || self.idle_seconds_max.is_some()
    }

    /// Whether a session of these times has not ended yet.
    fn holds(&self, times: Times, now: u64) -> bool {
        // Clocks differ: what seems to come from the future is of this moment.
        let within =
            |since: u64, max: Option<u32>| max.is_none_or(|max| now.saturating_sub(since) < u64::from(max));
        within(times.begun, self.seconds_max) && within(times.used, self.idle_seconds_max)
    }
}

/// When a session was begun, and used last as its token tells, in seconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    begun: u64,
    used: u64,
}

/// The session of one request.
#[derive(Debug)]
pub struct Session<'s> {
    sticky: &'s Sticky,
    key: HexNumber,
    /// Where it has been; none for a new one.
    endpoint: Option<HexNumber>,
    /// Where the session has limits: its times, and the present one.
    times: Option<(Times, u64)>,
}

impl<'s> Session<'s> {
    /// A session that begins, at a time if it has limits.
    pub(super) fn new(sticky: &'s Sticky, key: HexNumber, now: Option<u64>) -> Self {
        let times = now.map(|now| (Times { begun: now, used: now }, now));
        Self { sticky, key, endpoint: None, times }
    }

    /// The session that a token tells of, if it is one of ours whose time is not over.
    pub(super) fn resumed(sticky: &'s Sticky, token: &[u8], now: Option<u64>) -> Option<Self> {
        let mut numbers = token.split(|byte| *byte == b'.').map(HexNumber::parse);
        let (key, endpoint) = (numbers.next()??, numbers.next()??);
        let begun = numbers.next();
        // A token without times was made before its route had limits; they count from now.
        let told = match (begun, numbers.next()) {
            (None, None) => None,
            (Some(begun), Some(used)) => Some(Times { begun: begun?.number(), used: used?.number() }),
            _ => return None,
        };
        if numbers.next().is_some() {
            return None;
        }
        let times = now.map(|now| (told.unwrap_or(Times { begun: now, used: NEVER }), now));
        let lasts = match (told, now, &sticky.session) {
            (Some(told), Some(now), Some(lifetime)) => lifetime.holds(told, now),
            _ => true,
        };
        lasts.then_some(Self { sticky, key, endpoint: Some(endpoint), times })
    }

    /// What chooses the version.
    pub(super) fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// Whether the session has been at that endpoint.
    pub fn has_met(&self, endpoint: SocketAddr) -> bool {
        self.endpoint == Some(self.sticky.number_of(endpoint))
    }

    /// Tells the caller where its session is, unless it is where the caller said, and was so not long ago.
    pub fn tell(&self, endpoint: SocketAddr, response: &mut HeaderMap) {
        if self.has_met(endpoint) && !self.is_stale() {
            return;
        }
        let text = self.token(self.sticky.number_of(endpoint).as_str());
        // A header's or cookie's name, digits and attributes are visible ASCII, so this is always a value.
        let Ok(value) = HeaderValue::try_from(text) else { return };
        let name = match &self.sticky.key {
            StickyKey::Header(name) => name,
            StickyKey::Cookie(_) | StickyKey::Claim(_) | StickyKey::Identity => &SET_COOKIE,
        };
        // A header carries one token, while others may set cookies too.
        if *name != SET_COOKIE {
            response.remove(name);
        }
        response.append(name, value);
    }

    /// The cookie of a new session, whose endpoint is not known before one answers.
    pub fn set_cookie_to_come(&self) -> Option<String> {
        let is_cookie = matches!(self.sticky.key, StickyKey::Cookie(_));
        (is_cookie && self.endpoint.is_none()).then(|| self.token("…"))
    }

    /// Whether the token's time of last use is old enough to be told anew.
    fn is_stale(&self) -> bool {
        let Some((times, now)) = self.times else { return false };
        let idle_seconds_max = self.sticky.session.and_then(|lifetime| lifetime.idle_seconds_max);
        let told_again = idle_seconds_max.map(|idle| u64::from(idle / 8).max(1));
        times.used == NEVER || told_again.is_some_and(|seconds| now.saturating_sub(times.used) >= seconds)
    }

    fn token(&self, endpoint: &str) -> String {
        let mut token = format!("{}.{endpoint}", self.key.as_str());
        if let Some((times, now)) = self.times {
            token = format!("{token}.{:016x}.{now:016x}", times.begun);
        }
        let lifetime = self.sticky.session.unwrap_or_default();
        let age = self.times.map_or(0, |(times, now)| now.saturating_sub(times.begun));
        let seconds_left = lifetime.seconds_max.filter(|_| lifetime.permanent);
        let seconds_left = seconds_left.map(|max| u64::from(max).saturating_sub(age));
        match &self.sticky.key {
            StickyKey::Cookie(name) => sticky::set_cookie(name, &token, seconds_left),
            StickyKey::Header(_) | StickyKey::Claim(_) | StickyKey::Identity => token,
        }
    }
}

/// What a token without times says of its last use.
const NEVER: u64 = 0;

pub(super) fn ip_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// An address as bytes, an IPv4 one as IPv6 has it.
pub(crate) fn address_bytes(address: SocketAddr) -> [u8; 18] {
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip_bytes(address.ip()));
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

    fn sticky(key: &str, lifetime: SessionLifetime) -> Sticky {
        let mut sticky = Sticky::new(key.parse().expect("a key"), "route", &[]);
        sticky.session = Some(lifetime);
        sticky
    }

    /// What is told where a token comes at a time.
    fn told(sticky: &Sticky, token: &str, now: u64) -> Option<String> {
        let session = Session::resumed(sticky, token.as_bytes(), Some(now)).expect("it goes on");
        let mut headers = HeaderMap::new();
        session.tell(ENDPOINT, &mut headers);
        headers.values().next().map(|value| value.to_str().expect("text").to_owned())
    }

    fn begun(sticky: &Sticky, now: u64) -> String {
        let mut headers = HeaderMap::new();
        let key = HexNumber::parse(b"0123456789abcdef").expect("a number");
        Session::new(sticky, key, Some(now)).tell(ENDPOINT, &mut headers);
        headers["x-session"].to_str().expect("text").to_owned()
    }

    #[test]
    fn the_last_use_is_told_each_eighth_of_the_idle_time() {
        let lifetime = SessionLifetime { idle_seconds_max: Some(80), ..SessionLifetime::default() };
        let sticky = sticky("header:x-session", lifetime);
        let token = begun(&sticky, 1000);
        assert!(token.ends_with(".00000000000003e8.00000000000003e8"), "{token}");
        assert_eq!(told(&sticky, &token, 1009), None);
        let told = told(&sticky, &token, 1010).expect("a token");
        assert!(told.ends_with(".00000000000003e8.00000000000003f2"), "{told}");
        assert!(Session::resumed(&sticky, told.as_bytes(), Some(1089)).is_some());
        assert!(Session::resumed(&sticky, told.as_bytes(), Some(1090)).is_none());
    }

    #[test]
    fn a_session_that_goes_on_keeps_its_beginning() {
        let lifetime =
            SessionLifetime { seconds_max: Some(100), idle_seconds_max: Some(80), permanent: true };
        let cookie = sticky("cookie:uid", lifetime);
        let token = begun(&sticky("header:x-session", lifetime), 1000);
        let told = told(&cookie, &token, 1040).expect("a cookie");
        assert!(told.ends_with(".00000000000003e8.0000000000000410; Path=/; HttpOnly; Max-Age=60"), "{told}");
    }

    #[test]
    fn a_token_from_before_there_were_limits_is_given_its_times() {
        let lifetime = SessionLifetime { seconds_max: Some(100), ..SessionLifetime::default() };
        let limited = sticky("header:x-session", lifetime);
        let unlimited = begun(&limited, 1000);
        let old: Vec<&str> = unlimited.split('.').take(2).collect();
        let told = told(&limited, &old.join("."), 2000).expect("a token");
        assert!(told.ends_with(".00000000000007d0.00000000000007d0"), "{told}");
    }

    #[test]
    fn what_is_no_token_of_ours_is_none() {
        let sticky = sticky("header:x-session", SessionLifetime::default());
        let number = "0123456789abcdef";
        for strange in [
            "",
            number,
            &format!("{number}.{number}.{number}"),
            &[number; 5].join("."),
            &format!("{number}.{number}.{number}.x"),
            &format!("{number}.0123456789ABCDEF"),
        ] {
            assert!(Session::resumed(&sticky, strange.as_bytes(), None).is_none(), "{strange}");
        }
        assert!(Session::resumed(&sticky, [number; 4].join(".").as_bytes(), None).is_some());
    }
}
