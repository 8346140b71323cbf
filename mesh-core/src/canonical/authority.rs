//! `host:port` in one spelling: lower case, no final dot, the port always there. One spelling makes one xDS name, one
//! subscription and one pool of what callers write in many ways.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// A destination as a process dials it, in canonical form, such as `reviews:9080` or `[::1]:80`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    text: Arc<str>,
    host_length: usize,
    port: u16,
}

/// Why a text is no destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a host and port: {reason}")]
pub struct NotAHost {
    /// The text as given, cut where it is long.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl HostPort {
    /// Parses an authority; one without a port takes `default_port`.
    ///
    /// # Errors
    /// Where the host is empty or has illegal characters, or the port is no number from 1 to 65535.
    pub fn parse(authority: &str, default_port: u16) -> Result<Self, NotAHost> {
        let refuse = |reason| NotAHost { text: authority.chars().take(TEXT_CHARS_MAX).collect(), reason };
        let (host, port) = split(authority, default_port).map_err(refuse)?;
        let host = canonical_host(host).map_err(refuse)?;
        let text: Arc<str> = format!("{host}:{port}").into();
        Ok(Self { text, host_length: host.len(), port })
    }

    /// Whether `text` is a DNS destination in exactly the spelling that `parse` would give it. It lets the data path look a
    /// host up by the text it has, without an allocation; `false` only means that `parse` must be asked.
    pub fn is_canonical(text: &str) -> bool {
        let Some((host, port)) = text.rsplit_once(':') else { return false };
        let port_is_plain = !port.starts_with('0') && parse_port(port).is_ok();
        port_is_plain
            && !host.ends_with('.')
            && !host.bytes().any(|b| b.is_ascii_uppercase())
            && dns_name(host).is_ok()
    }

    /// The whole in canonical form, which is the listener's xDS name.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, lower case, without a final dot; an IPv6 address keeps its brackets.
    pub fn host(&self) -> &str {
        &self.text[..self.host_length]
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Splits at the port's colon, which in an IPv6 address is the one behind the bracket.
fn split(authority: &str, default_port: u16) -> Result<(&str, u16), &'static str> {
    let port_from = match authority.strip_prefix('[') {
        Some(_) => authority.find(']').ok_or("the bracket of an IPv6 address is not closed")? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at(port_from);
    if rest.is_empty() {
        return Ok((host, default_port));
    }
    let port = rest.strip_prefix(':').ok_or("text between `]` and the port")?;
    if port.contains(':') {
        return Err("more than one `:`; an IPv6 address stands in brackets");
    }
    Ok((host, parse_port(port)?))
}

fn parse_port(port: &str) -> Result<u16, &'static str> {
    let digits_only = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse::<u16>() {
        Ok(port) if digits_only && port != 0 => Ok(port),
        _ => Err("the port is no number from 1 to 65535"),
    }
}

fn canonical_host(host: &str) -> Result<String, &'static str> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address: Ipv6Addr = address.parse().map_err(|_| "no IPv6 address between the brackets")?;
        return Ok(format!("[{address}]"));
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    dns_name(host)?;
    Ok(host.to_ascii_lowercase())
}

/// Checks a DNS name or an IPv4 address. A name whose last label is a number is an address to many resolvers, in spellings
/// (`127.1`, `0x7f.1`) that would pass by whatever is said about the usual one.
fn dns_name(host: &str) -> Result<(), &'static str> {
    if host.is_empty() {
        return Err("the host is empty");
    }
    if host.len() > DNS_NAME_BYTES_MAX {
        return Err("the host is longer than 253 characters");
    }
    for label in host.split('.') {
        if label.is_empty() || label.len() > DNS_LABEL_BYTES_MAX {
            return Err("a label of the host is empty or longer than 63 characters");
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return Err("the host has a character other than letters, digits, `-`, `_` and `.`");
        }
    }
    let last = host.rsplit('.').next().unwrap_or(host);
    let numeric =
        last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") || last.starts_with("0X");
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("the host ends in a number but is no IPv4 address");
    }
    Ok(())
}

const DNS_NAME_BYTES_MAX: usize = 253;
const DNS_LABEL_BYTES_MAX: usize = 63;
const TEXT_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let parsed = HostPort::parse(text, 80).expect(text);
        assert_eq!(parsed.as_str(), expected);
        assert_eq!(format!("{}:{}", parsed.host(), parsed.port()), expected);
        assert_eq!(HostPort::parse(expected, 1).expect(expected), parsed, "parsing is idempotent");
    }

    #[test]
    fn every_spelling_of_a_host_becomes_one() {
        check("reviews:9080", "reviews:9080");
        check("Reviews.Default:9080", "reviews.default:9080");
        check("reviews.default.svc.cluster.local.", "reviews.default.svc.cluster.local:80");
        check("reviews.:9080", "reviews:9080");
        check("10.0.0.7", "10.0.0.7:80");
        check("[::1]", "[::1]:80");
        check("[2001:DB8:0:0::1]:443", "[2001:db8::1]:443");
        check("my_service:080", "my_service:80");
    }

    #[test]
    fn what_is_no_destination_is_refused() {
        for text in [
            "",
            ":80",
            ".",
            "a..b",
            "a.:",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:80:80",
            "::1",
            "[::1",
            "[::1]80",
            "[a]:80",
            "[::1%eth0]:80",
            "user@host",
            "a b",
            "a/b",
            "host,host",
            "höst",
            "127.1",
            "1.2.3.4.5",
            "0x7f.0x1",
            "*",
        ] {
            assert!(HostPort::parse(text, 80).is_err(), "`{text}` was accepted");
        }
        assert!(HostPort::parse(&"a".repeat(64), 80).is_err());
        assert!(HostPort::parse(&"a.".repeat(127), 80).is_ok());
        assert!(HostPort::parse(&"a.".repeat(128), 80).is_err());
    }

    #[test]
    fn the_check_for_canonical_text_agrees_with_parsing() {
        for text in ["reviews:9080", "a.b.c:1", "10.0.0.7:80"] {
            assert!(HostPort::is_canonical(text), "{text}");
            assert_eq!(HostPort::parse(text, 1).expect(text).as_str(), text);
        }
        for text in ["reviews", "Reviews:80", "reviews.:80", "a:080", "a:0", "127.1:80", "[::1]:80"] {
            assert!(!HostPort::is_canonical(text), "{text}");
        }
    }
}
