//! A join token: the identifier that the control plane knows and the secret that proves its holder was given it.
//!
//! On the wire it is `ID.SECRET`, sent as a bearer token over TLS that has already proved the control plane.

use std::fmt;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// What a process shows to be admitted for the first time.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The token's public name.
    pub id: TokenId,
    /// What only its holder knows.
    pub secret: TokenSecret,
}

impl JoinToken {
    /// Reads `ID.SECRET`.
    ///
    /// # Errors
    /// When it has another shape; the text itself is not repeated, for it may hold a secret.
    pub fn parse(bearer: &str) -> Result<Self, TokenError> {
        let (id, secret) = bearer.split_once('.').ok_or(TokenError::Shape)?;
        let mut bytes = [0; SECRET_BYTES];
        match BASE64_URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes) {
            Ok(SECRET_BYTES) => Ok(Self { id: TokenId::parse(id)?, secret: TokenSecret(bytes) }),
            _ => Err(TokenError::Shape),
        }
    }

    /// The token as it is sent; a secret.
    pub fn bearer(&self) -> String {
        format!("{}.{}", self.id, BASE64_URL_SAFE_NO_PAD.encode(self.secret.0))
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, secret hidden)", self.id)
    }
}

/// The public name of a token: 1 to 64 of `a-z`, `0-9`, `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(String);

impl TokenId {
    /// Parses a token's name.
    ///
    /// # Errors
    /// When it is empty, too long or has another character.
    pub fn parse(id: &str) -> Result<Self, TokenError> {
        let legal = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(legal) {
            return Err(TokenError::Shape);
        }
        Ok(Self(id.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A token's secret; never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenSecret(pub [u8; SECRET_BYTES]);

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hidden")
    }
}

/// Why a text is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not `ID.SECRET`.
    #[error("this is not a join token (`ID.SECRET`)")]
    Shape,
}

/// The length of a token's secret.
pub const SECRET_BYTES: usize = 32;
const ID_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_wire_and_is_not_printed() {
        let token = JoinToken { id: TokenId::parse("t-1").unwrap(), secret: TokenSecret([7; SECRET_BYTES]) };
        assert_eq!(JoinToken::parse(&token.bearer()), Ok(token.clone()));
        let secret = token.bearer().split_off(4);
        assert!(!format!("{token:?} {:?}", token.secret).contains(&secret));
    }

    #[test]
    fn other_shapes_are_refused() {
        let secret = BASE64_URL_SAFE_NO_PAD.encode([7; 32]);
        let check = |text: String| assert_eq!(JoinToken::parse(&text), Err(TokenError::Shape), "{text}");
        check(String::new());
        check("t-1".into());
        check("t-1.".into());
        check(format!(".{secret}"));
        check(format!("T.{secret}"));
        check(format!("{}.{secret}", "t".repeat(65)));
        check(format!("t.{secret}A"));
        check(format!("t.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 31])));
        check(format!("t.{}", BASE64_URL_SAFE_NO_PAD.encode([7; 33])));
    }
}
