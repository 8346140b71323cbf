//! Sessions: a sticky key that keeps its endpoint as well, in a token that the caller brings back.
//!
//! The token is `KEY.ENDPOINT`, two numbers in hexadecimal. By the key a version is chosen as ever; the endpoint is a hash of
//! its address, so that callers do not learn addresses. Whoever brings another text begins a new session.

use std::net::{IpAddr, SocketAddr};

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};

use super::StickyKey;
use super::sticky::{HexNumber, Sticky};

/// How long callers are asked to keep a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionLifetime {
    /// `Max-Age` of the cookie; without it, for as long as the browser runs.
    pub seconds_max: Option<u32>,
}

/// The session of one request.
#[derive(Debug)]
pub struct Session<'s> {
    pub(super) sticky: &'s Sticky,
    pub(super) key: HexNumber,
    /// Where it has been; none for a new one.
    pub(super) endpoint: Option<HexNumber>,
}

impl Session<'_> {
    /// Whether the session has been at that endpoint.
    pub fn has_met(&self, endpoint: SocketAddr) -> bool {
        self.endpoint == Some(self.sticky.number_of(endpoint))
    }

    /// Tells the caller where its session is, unless it is where the caller said.
    pub fn tell(&self, endpoint: SocketAddr, response: &mut HeaderMap) {
        if self.has_met(endpoint) {
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

    fn token(&self, endpoint: &str) -> String {
        let token = format!("{}.{endpoint}", self.key.as_str());
        match &self.sticky.key {
            StickyKey::Cookie(name) => self.sticky.set_cookie(name, &token),
            StickyKey::Header(_) | StickyKey::Claim(_) | StickyKey::Identity => token,
        }
    }
}

/// Key and endpoint of a token, if it is one of ours.
pub(super) fn parse(token: &[u8]) -> Option<(HexNumber, HexNumber)> {
    let at = token.iter().position(|byte| *byte == b'.')?;
    Some((HexNumber::parse(&token[..at])?, HexNumber::parse(&token[at + 1..])?))
}

/// An address as bytes, an IPv4 one as IPv6 has it.
pub(super) fn address_bytes(address: SocketAddr) -> [u8; 18] {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut bytes = [0; 18];
    bytes[..16].copy_from_slice(&ip.octets());
    bytes[16..].copy_from_slice(&address.port().to_be_bytes());
    bytes
}
