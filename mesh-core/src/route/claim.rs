//! One claim of a request's bearer token, as a sticky key.
//!
//! The token's signature is not looked at: a key decides which version a request meets and never what it may do, just as
//! a header or a cookie that anybody can write. Whoever forges a claim meets the version of somebody else.

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::Value;

/// The claim of that name: a text as it is, a number or truth value as JSON writes it; lists and objects tell nobody apart.
pub(super) fn claim(headers: &HeaderMap, name: &str) -> Option<Vec<u8>> {
    let payload = PAYLOAD.decode(payload(headers)?).ok()?;
    let Value::Object(mut claims) = serde_json::from_slice(&payload).ok()? else { return None };
    match claims.remove(name)? {
        Value::String(text) => Some(text.into_bytes()),
        value @ (Value::Number(_) | Value::Bool(_)) => Some(value.to_string().into_bytes()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The middle one of the three parts of a token in `Authorization: Bearer`.
fn payload(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    let token = token.trim_ascii();
    if !scheme.eq_ignore_ascii_case(BEARER) || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let mut parts = token.split(|byte| *byte == b'.');
    let (_, payload, _, end) = (parts.next()?, parts.next()?, parts.next()?, parts.next());
    end.is_none().then_some(payload)
}

const BEARER: &[u8] = b"Bearer ";
/// More than any header of a usual server may have.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// RFC 7515 writes no padding; tokens with it are about all the same.
const PAYLOAD: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    #[track_caller]
    fn check(authorization: &str, name: &str, expected: Option<&str>) {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().expect("a header value"))]);
        let found = claim(&headers, name);
        assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{name} of {authorization}");
    }

    fn bearer(payload: &str) -> String {
        format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn a_claim_is_text_number_or_truth_value() {
        check(&bearer(r#"{"sub":"ada","n":7}"#), "sub", Some("ada"));
        check(&bearer(r#"{"sub":"ad\u0061"}"#), "sub", Some("ada"));
        check(&bearer(r#"{"n":7}"#), "n", Some("7"));
        check(&bearer(r#"{"beta":true}"#), "beta", Some("true"));
        check(&bearer(r#"{"https://example.com/id":"x"}"#), "https://example.com/id", Some("x"));
        check(&bearer(r#"{"sub":"ada"}"#).replace("Bearer", "bEARER"), "sub", Some("ada"));
        check("Bearer e30.eyJhIjoiYiJ9.", "a", Some("b"));
        check("Bearer e30.eyJhIjoiIn0=.c2ln", "a", Some(""));
    }

    #[test]
    fn what_is_no_such_claim_or_no_such_token_is_none() {
        for payload in [
            r#"{"sub":null}"#,
            r#"{"sub":["ada"]}"#,
            r#"{"sub":{"a":1}}"#,
            "{}",
            "[]",
            "sub",
            "",
            r#"{"sub""#,
        ] {
            check(&bearer(payload), "sub", None);
        }
        let good = bearer(r#"{"sub":"ada"}"#);
        for other in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer ..",
            "Bearer e30.e30",
            "Bearer e30.!!!!.c2ln",
            &good.replace("Bearer", "Basic"),
            &format!("{good}.more"),
            &bearer(&format!(r#"{{"sub":"{}"}}"#, "a".repeat(TOKEN_BYTES_MAX))),
            &bearer(&"[".repeat(8_000)),
        ] {
            check(other, "sub", None);
        }
    }
}
