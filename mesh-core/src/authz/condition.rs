//! A condition of a policy, compiled, and its three-valued answer.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use super::{InboundFacts, PathTemplate};
use crate::matcher::{HeaderFacts, HeaderMatcher, Pattern};

/// A condition on the caller or on what is called.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Always met.
    Any,
    /// All of them.
    And(Vec<Condition>),
    /// One of them.
    Or(Vec<Condition>),
    /// Turned around.
    Not(Box<Condition>),
    /// mTLS proved an identity, and its SPIFFE ID (with `spiffe://`) is such; without a pattern, any.
    Principal(Option<Pattern>),
    /// The TCP peer's address.
    SourceIp(IpRange),
    /// The server's own address.
    DestinationIp(IpRange),
    /// The listening port.
    Port(RangeInclusive<u32>),
    /// The server name of the TLS handshake; none was sent is an empty one.
    ServerName(Pattern),
    /// A header, `:method` or `:authority`.
    Header(HeaderMatcher),
    /// The canonical path, without query.
    Path(Pattern),
    /// The canonical path by segments.
    PathTemplate(PathTemplate),
}

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpRange {
    network: IpAddr,
    prefix_bits: u8,
}

/// Whether a condition is met. `And` is the least of its parts, `Or` the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    No,
    /// The facts do not tell, as there is no path on plain TCP.
    Unknown,
    Yes,
}

/// The facts as conditions read them.
pub(super) struct Facts<'a> {
    facts: &'a InboundFacts<'a>,
    http: Option<HeaderFacts<'a>>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(facts: &'a InboundFacts<'a>) -> Self {
        let http = facts.http.as_ref().map(|http| HeaderFacts {
            method: http.method,
            // Neither scheme nor query is a fact of a policy; the parser refuses conditions on them.
            scheme: "",
            authority: http.authority,
            path: http.path.as_str(),
            query: None,
            headers: http.headers,
        });
        Self { facts, http }
    }
}

impl Condition {
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Truth {
        match self {
            Self::Any => Truth::Yes,
            Self::And(parts) => least(parts.iter().map(|part| part.holds(facts))),
            Self::Or(parts) => least(parts.iter().map(|part| part.holds(facts).not())).not(),
            Self::Not(part) => part.holds(facts).not(),
            Self::Principal(pattern) => principal_is(facts.facts.principal, pattern.as_ref()),
            Self::SourceIp(range) => lies_in(facts.facts.source_ip, range),
            Self::DestinationIp(range) => lies_in(facts.facts.destination_ip, range),
            Self::ServerName(pattern) => pattern.matches(facts.facts.server_name.as_bytes()).into(),
            Self::Port(ports) => ports.contains(&u32::from(facts.facts.destination_port)).into(),
            Self::Header(header) => {
                facts.http.as_ref().map_or(Truth::Unknown, |http| header_is(http, header))
            }
            Self::Path(pattern) => on_http(facts, |http| pattern.matches(http.path.as_bytes())),
            Self::PathTemplate(template) => on_http(facts, |http| template.matches(http.path)),
        }
    }

    /// What is the case instead, for facts that do not meet the condition.
    pub(super) fn mismatch(&self, facts: &Facts<'_>) -> String {
        let path = facts.http.map_or("", |http| http.path);
        match self {
            Self::And(parts) => match parts.iter().find(|part| part.holds(facts) != Truth::Yes) {
                Some(part) => part.mismatch(facts),
                None => "all conditions are met".to_owned(),
            },
            Self::Or(parts) => match parts.as_slice() {
                [only] => only.mismatch(facts),
                [] => "it never matches".to_owned(),
                [first, rest @ ..] => format!("{} (nor {} more)", first.mismatch(facts), rest.len()),
            },
            Self::Any => "matches everything".to_owned(),
            Self::Not(part) => match &**part {
                Self::Any => "it never matches".to_owned(),
                _ => "an excluded value is met".to_owned(),
            },
            Self::Principal(pattern) => match (facts.facts.principal, pattern) {
                (Some(principal), Some(pattern)) => format!("principal `{principal}` is not {pattern}"),
                _ => "the caller has no mTLS identity".to_owned(),
            },
            Self::SourceIp(range) => range.mismatch("source", facts.facts.source_ip),
            Self::DestinationIp(range) => range.mismatch("destination", facts.facts.destination_ip),
            Self::ServerName(pattern) => {
                format!("server name `{}` is not {pattern}", facts.facts.server_name)
            }
            Self::Port(ports) => {
                format!("port {} is not {}", facts.facts.destination_port, describe_ports(ports))
            }
            Self::Header(_) | Self::Path(_) | Self::PathTemplate(_) if facts.http.is_none() => {
                "there is no HTTP request".to_owned()
            }
            Self::Header(header) => match &facts.http {
                Some(http) => header.mismatch(http),
                None => "there is no HTTP request".to_owned(),
            },
            Self::Path(pattern) => format!("path `{path}` is not {pattern}"),
            Self::PathTemplate(template) => format!("path `{path}` is not `{template}`"),
        }
    }
}

fn lies_in(address: Option<IpAddr>, range: &IpRange) -> Truth {
    address.map_or(Truth::Unknown, |address| range.contains(address).into())
}

/// A header that is there several times is as its condition says only where each of its values is: the application may read
/// any of them, or all as one. Where some are and some are not, it cannot be told.
fn header_is(http: &HeaderFacts<'_>, header: &HeaderMatcher) -> Truth {
    if !header.is_repeated(http) {
        return header.matches(http).into();
    }
    let mut answers = header.answers(http);
    let first = answers.next().unwrap_or_else(|| header.matches(http));
    let agree = answers.all(|answer| answer == first) && header.matches(http) == first;
    if agree { first.into() } else { Truth::Unknown }
}

fn on_http(facts: &Facts<'_>, holds: impl FnOnce(&HeaderFacts<'_>) -> bool) -> Truth {
    facts.http.as_ref().map_or(Truth::Unknown, |http| holds(http).into())
}

fn least(mut truths: impl Iterator<Item = Truth>) -> Truth {
    let mut least = Truth::Yes;
    while least != Truth::No {
        let Some(truth) = truths.next() else { break };
        least = least.min(truth);
    }
    least
}

fn describe_ports(ports: &RangeInclusive<u32>) -> String {
    match (ports.start(), ports.end()) {
        (start, end) if start == end => start.to_string(),
        (start, end) => format!("{start} to {end}"),
    }
}

/// Policies on the wire say `spiffe://…`, as Envoy compares; the facts leave the scheme out. Both are brought together on the
/// stack. An identity longer than SPIFFE allows has not been proved by our verifier: it is unknown.
fn principal_is(principal: Option<&str>, pattern: Option<&Pattern>) -> Truth {
    let Some(principal) = principal else { return Truth::No };
    let Some(pattern) = pattern else { return Truth::Yes };
    let mut text = [0; SPIFFE_ID_BYTES_MAX];
    let length = SCHEME.len() + principal.len();
    let Some(text) = text.get_mut(..length) else { return Truth::Unknown };
    text[..SCHEME.len()].copy_from_slice(SCHEME);
    text[SCHEME.len()..].copy_from_slice(principal.as_bytes());
    pattern.matches(text).into()
}

impl Truth {
    fn not(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Truth {
    fn from(truth: bool) -> Self {
        if truth { Self::Yes } else { Self::No }
    }
}

impl IpRange {
    /// The addresses that share `prefix_bits` bits with `network`; `None` where there are not so many.
    pub fn new(network: IpAddr, prefix_bits: u8) -> Option<Self> {
        let bits_max = if network.is_ipv4() { 32 } else { 128 };
        (prefix_bits <= bits_max).then_some(Self { network, prefix_bits })
    }

    fn mismatch(&self, whose: &str, address: Option<IpAddr>) -> String {
        match address {
            Some(ip) => format!("{whose} address {ip} is not in {}/{}", self.network, self.prefix_bits),
            None => format!("the {whose} address is not known"),
        }
    }

    /// Whether the address is one of them. An IPv4 address in IPv6 clothes is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.network.to_canonical(), address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                u128::from(network.to_bits() ^ address.to_bits()) << 96
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => network.to_bits() ^ address.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.prefix_bits)
    }
}

const SCHEME: &[u8] = b"spiffe://";
/// The SPIFFE specification's own limit.
const SPIFFE_ID_BYTES_MAX: usize = 2048;
