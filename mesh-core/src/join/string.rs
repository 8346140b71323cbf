//! The join string: everything a process needs to join a mesh, in one line.
//!
//! ```text
//! mesh1.BASE64URL(  root fingerprint 32 · trust domain · count · addresses… · token id · token secret 32 · check 4  )
//!                   texts are one length byte and their bytes
//! ```
//! The version stands in front, so that an older library can say so. The last four bytes are a checksum: a line that was cut or mistyped
//! must be told from one that is wrong.

use std::fmt;

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    address::{ControlPlaneAddress, ControlPlaneAddressError},
    token::{JoinToken, SECRET_BYTES, TokenError, TokenId, TokenSecret},
};
use crate::identity::{RootFingerprint, SpiffeIdError, TrustDomain};

/// How to reach the control plane, how to know it, and what to show it. Printing it hides the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinString {
    /// Where the control plane listens; never empty.
    pub addresses: Vec<ControlPlaneAddress>,
    /// The root that vouches for the control plane.
    pub root: RootFingerprint,
    /// The mesh's trust domain.
    pub trust_domain: TrustDomain,
    /// What to be admitted with.
    pub token: JoinToken,
}

impl JoinString {
    /// Reads one line; white space around it is ignored.
    ///
    /// # Errors
    /// Says what to do next; the text is never repeated.
    pub fn parse(line: &str) -> Result<Self, JoinStringError> {
        let line = line.trim();
        let Some(payload) = line.strip_prefix(PREFIX) else {
            return Err(foreign_prefix(line));
        };
        if payload.len() > PAYLOAD_CHARS_MAX {
            return Err(JoinStringError::Damaged);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(payload).map_err(|_| JoinStringError::Damaged)?;
        let (content, check) = bytes.split_last_chunk::<CHECK_BYTES>().ok_or(JoinStringError::Damaged)?;
        if checksum(content) != *check {
            return Err(JoinStringError::Damaged);
        }
        Self::decode(content)
    }

    /// The line; it holds a secret.
    ///
    /// # Errors
    /// When there is no address, too many, or one too long.
    pub fn encode(&self) -> Result<String, JoinStringError> {
        if self.addresses.is_empty() || self.addresses.len() > ADDRESSES_MAX {
            return Err(JoinStringError::Addresses);
        }
        let mut content = self.root.0.to_vec();
        write_text(&mut content, self.trust_domain.as_str())?;
        content.push(self.addresses.len() as u8);
        for address in &self.addresses {
            write_text(&mut content, &address.to_string())?;
        }
        write_text(&mut content, self.token.id.as_str())?;
        content.extend(self.token.secret.0);
        content.extend(checksum(&content));
        Ok(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(content)))
    }

    /// A short name for this membership: equal for equal join strings, and telling nothing of the secret.
    pub fn fingerprint(&self) -> String {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.root.0);
        context.update(self.trust_domain.as_str().as_bytes());
        context.update(b"\0");
        context.update(self.token.id.as_str().as_bytes());
        context.finish().as_ref()[..FINGERPRINT_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn decode(mut content: &[u8]) -> Result<Self, JoinStringError> {
        let content = &mut content;
        let root = RootFingerprint(read_array(content)?);
        let trust_domain = TrustDomain::parse(read_text(content)?)?;
        let [count] = read_array(content)?;
        if count == 0 || usize::from(count) > ADDRESSES_MAX {
            return Err(JoinStringError::Addresses);
        }
        let addresses = (0..count)
            .map(|_| Ok(ControlPlaneAddress::parse(read_text(content)?)?))
            .collect::<Result<_, JoinStringError>>()?;
        let id = TokenId::parse(read_text(content)?)?;
        let secret = TokenSecret(read_array::<SECRET_BYTES>(content)?);
        if !content.is_empty() {
            return Err(JoinStringError::Damaged);
        }
        Ok(Self { addresses, root, trust_domain, token: JoinToken { id, secret } })
    }
}

impl fmt::Display for JoinString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "join string of trust domain {}, token {}", self.trust_domain, self.token.id)
    }
}

/// Why a text is no join string.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum JoinStringError {
    #[error(
        "this is not a join string: it begins with `mesh1.`; make one with `mesh token create --service NAME:PORT`"
    )]
    Foreign,
    #[error(
        "this join string has version {version}, which this library does not know; update the mesh libraries"
    )]
    Version { version: String },
    #[error("the join string is damaged or cut off; copy the whole line that `mesh token create` printed")]
    Damaged,
    #[error("a join string names 1 to {ADDRESSES_MAX} control plane addresses of at most 255 bytes")]
    Addresses,
    #[error("the join string's trust domain is not legal: {0}; make a new one with `mesh token create`")]
    TrustDomain(#[from] SpiffeIdError),
    #[error("the join string's address is not legal: {0}; make a new one with `mesh token create`")]
    Address(#[from] ControlPlaneAddressError),
    #[error("the join string's token is not legal: {0}; make a new one with `mesh token create`")]
    Token(#[from] TokenError),
}

const PREFIX: &str = "mesh1.";
const ADDRESSES_MAX: usize = 16;
const PAYLOAD_CHARS_MAX: usize = 8192;
const CHECK_BYTES: usize = 4;
const FINGERPRINT_BYTES: usize = 16;

fn foreign_prefix(line: &str) -> JoinStringError {
    let version = line.strip_prefix("mesh").and_then(|rest| rest.split_once('.')).map(|(version, _)| version);
    match version {
        Some(version)
            if !version.is_empty() && version.len() < 6 && version.bytes().all(|b| b.is_ascii_digit()) =>
        {
            JoinStringError::Version { version: version.into() }
        }
        _ => JoinStringError::Foreign,
    }
}

fn checksum(content: &[u8]) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest::digest(&digest::SHA256, content).as_ref()[..CHECK_BYTES]);
    check
}

fn write_text(content: &mut Vec<u8>, text: &str) -> Result<(), JoinStringError> {
    content.push(u8::try_from(text.len()).map_err(|_| JoinStringError::Addresses)?);
    content.extend(text.as_bytes());
    Ok(())
}

fn read_text<'a>(content: &mut &'a [u8]) -> Result<&'a str, JoinStringError> {
    let [length] = read_array(content)?;
    let (text, rest) = content.split_at_checked(length.into()).ok_or(JoinStringError::Damaged)?;
    *content = rest;
    std::str::from_utf8(text).map_err(|_| JoinStringError::Damaged)
}

fn read_array<const N: usize>(content: &mut &[u8]) -> Result<[u8; N], JoinStringError> {
    let (array, rest) = content.split_first_chunk::<N>().ok_or(JoinStringError::Damaged)?;
    *content = rest;
    Ok(*array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> JoinString {
        let address = |text| ControlPlaneAddress::parse(text).unwrap();
        JoinString {
            addresses: vec![address("10.0.0.1:15012"), address("mesh.example:15012"), address("[::1]:15012")],
            root: RootFingerprint([9; 32]),
            trust_domain: TrustDomain::parse("cluster.local").unwrap(),
            token: JoinToken { id: TokenId::parse("t-1").unwrap(), secret: TokenSecret([7; 32]) },
        }
    }

    fn line_of(content: &[u8]) -> String {
        let bytes = [content, &checksum(content)].concat();
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    #[test]
    fn a_line_carries_everything() {
        let line = sample().encode().unwrap();
        assert!(line.starts_with("mesh1.") && !line.contains(['\n', ' ']));
        assert_eq!(JoinString::parse(&format!("  {line}\n")), Ok(sample()));
    }

    #[test]
    fn the_secret_is_not_printed() {
        let shown = format!("{:?} {}", sample(), sample());
        assert!(shown.contains("hidden") && !shown.contains("7, 7"), "{shown}");
    }

    #[test]
    fn refusals_say_the_next_step() {
        let check = |line: &str, expected: &str| {
            let error = JoinString::parse(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{line}: {error}");
        };
        let line = sample().encode().unwrap();
        check("", "mesh token create");
        check("hello", "mesh token create");
        check("meshx.abc", "mesh token create");
        check("mesh2.abc", "update the mesh libraries");
        check("mesh1.", "copy the whole line");
        check("mesh1.!!", "copy the whole line");
        check(&line[..line.len() - 1], "copy the whole line");
        check(&line.replace("mesh1.C", "mesh1.D"), "copy the whole line");
        check(&format!("mesh1.{}", "A".repeat(9000)), "copy the whole line");
    }

    #[test]
    fn content_with_a_right_checksum_is_still_checked() {
        let check = |bend: fn(&mut JoinString)| {
            let mut join = sample();
            bend(&mut join);
            join.encode().unwrap_err();
        };
        check(|join| join.addresses.clear());
        check(|join| join.addresses = vec![join.addresses[0].clone(); 17]);

        let [root, none, texts] = [vec![9; 32], vec![], b"\x01A\x01\x03a:1\x01t".to_vec()];
        let refused = |parts: &[&[u8]]| JoinString::parse(&line_of(&parts.concat())).unwrap_err();
        assert_eq!(refused(&[&none]), JoinStringError::Damaged);
        assert_eq!(refused(&[&root]), JoinStringError::Damaged);
        assert!(matches!(refused(&[&root, &texts, &[7; 32]]), JoinStringError::TrustDomain(_)));
        assert_eq!(refused(&[&root, b"\x01a\x00\x01t", &[7; 32]]), JoinStringError::Addresses);
        assert!(matches!(refused(&[&root, b"\x01a\x01\x01a\x01t", &[7; 32]]), JoinStringError::Address(_)));
        assert_eq!(refused(&[&root, b"\x01a\x01\x03a:1\x01t", &[7; 33]]), JoinStringError::Damaged);
    }

    #[test]
    fn the_fingerprint_is_of_the_membership_not_of_the_addresses() {
        let mut moved = sample();
        moved.addresses.truncate(1);
        assert_eq!(moved.fingerprint(), sample().fingerprint());
        let mut other = sample();
        other.token.id = TokenId::parse("t-2").unwrap();
        assert_ne!(other.fingerprint(), sample().fingerprint());
        assert_eq!(other.fingerprint().len(), 32);
    }

    proptest::proptest! {
        #[test]
        fn no_content_panics(content: Vec<u8>) {
            let _ = JoinString::parse(&line_of(&content));
        }

        #[test]
        fn no_line_panics(line: String) {
            let _ = JoinString::parse(&line);
            let _ = JoinString::parse(&format!("mesh1.{line}"));
        }
    }
}
