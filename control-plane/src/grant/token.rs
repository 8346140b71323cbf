//! Join tokens as the control plane keeps them: the grant, and of the secret only a hash.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{
    constant_time, digest,
    rand::{SecureRandom, SystemRandom},
};
use mesh_core::join::{JoinToken, SECRET_BYTES, TokenId, TokenSecret};
use serde::{Deserialize, Serialize};

use super::{
    format::FormatOne,
    grant::{Grant, GrantError},
};
use crate::ca::KeyFingerprint;

/// A token as it is stored under `tokens/ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredToken {
    format: FormatOne,
    id: String,
    /// The secret has 256 random bits, so one plain hash is as good as a slow one.
    secret_sha256: [u8; 32],
    grant: Grant,
    uses: u32,
    uses_max: u32,
    expires_at_seconds: u64,
    /// Who redeemed it last, so that a request repeated after a lost answer is not counted twice.
    recent_keys: Vec<[u8; 32]>,
}

/// How often and until when a token admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimits {
    /// How many processes it admits.
    pub uses_max: u32,
    /// For how long from now.
    pub lifetime: Duration,
}

/// Makes a token: what the holder gets, and what is stored.
///
/// # Errors
/// When the grant is not legal, the limits admit nobody, or no random numbers are to be had.
pub fn create_token(
    grant: Grant,
    limits: TokenLimits,
    now: SystemTime,
) -> Result<(JoinToken, StoredToken), TokenCreationError> {
    grant.check()?;
    if limits.uses_max == 0 {
        return Err(TokenCreationError::NoUse);
    }
    if limits.lifetime.is_zero() || limits.lifetime > LIFETIME_MAX {
        return Err(TokenCreationError::Lifetime);
    }
    let mut random = [0; ID_BYTES + SECRET_BYTES];
    SystemRandom::new().fill(&mut random).map_err(|_| TokenCreationError::Random)?;
    let id: String = random[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    let id = TokenId::parse(&id).expect("hexadecimal digits make a token's name");
    let mut secret = [0; SECRET_BYTES];
    secret.copy_from_slice(&random[ID_BYTES..]);
    let secret = TokenSecret(secret);
    let stored = StoredToken {
        format: FormatOne,
        id: id.as_str().into(),
        secret_sha256: hash(&secret),
        grant,
        uses: 0,
        uses_max: limits.uses_max,
        expires_at_seconds: seconds(now + limits.lifetime),
        recent_keys: Vec::new(),
    };
    Ok((JoinToken { id, secret }, stored))
}

/// Decides whether a token admits the holder of `key`, and gives what must be stored before a certificate is issued: as a
/// compare-and-set against the token that was read, or two processes could share the last use.
///
/// # Errors
/// Names the reason, for the control plane's log; the caller is told only that it was refused.
pub fn redeem(
    token: &StoredToken,
    secret: &TokenSecret,
    key: KeyFingerprint,
    now: SystemTime,
) -> Result<StoredToken, Refusal> {
    let id = || token.id.clone();
    // The secret comes first: who does not know it learns nothing about the token.
    if constant_time::verify_slices_are_equal(&hash(secret), &token.secret_sha256).is_err() {
        return Err(Refusal::WrongSecret { id: id() });
    }
    if seconds(now) >= token.expires_at_seconds {
        return Err(Refusal::Expired { id: id(), seconds_ago: seconds(now) - token.expires_at_seconds });
    }
    if token.recent_keys.contains(&key.0) {
        return Ok(token.clone());
    }
    if token.uses >= token.uses_max {
        return Err(Refusal::UsedUp { id: id(), uses_max: token.uses_max });
    }
    let mut redeemed = token.clone();
    redeemed.uses += 1;
    redeemed.recent_keys.insert(0, key.0);
    redeemed.recent_keys.truncate(RECENT_KEYS_MAX);
    Ok(redeemed)
}

impl StoredToken {
    /// The token's name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What its holders may be and do.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// How many processes it has admitted.
    pub fn uses(&self) -> u32 {
        self.uses
    }

    /// How many it admits.
    pub fn uses_max(&self) -> u32 {
        self.uses_max
    }

    /// When it stops admitting.
    pub fn expires_at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.expires_at_seconds)
    }
}

/// Why a token does not admit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Refusal {
    #[error("there is no token {id}: it was deleted, or is another mesh's")]
    Unknown { id: String },
    #[error("wrong secret for token {id}")]
    WrongSecret { id: String },
    #[error("token {id} expired {seconds_ago} s ago; make a new one with `mesh token create`")]
    Expired { id: String, seconds_ago: u64 },
    #[error(
        "token {id} has been used {uses_max} times, as often as it may; make a new one with `mesh token create`"
    )]
    UsedUp { id: String, uses_max: u32 },
}

/// Why no token was made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TokenCreationError {
    #[error(transparent)]
    Grant(#[from] GrantError),
    #[error("a token must admit at least one process")]
    NoUse,
    #[error("a token lives longer than nothing and at most a year")]
    Lifetime,
    #[error("no random numbers are to be had")]
    Random,
}

const ID_BYTES: usize = 8;
const RECENT_KEYS_MAX: usize = 16;
const LIFETIME_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

fn hash(secret: &TokenSecret) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, &secret.0).as_ref());
    hash
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_392_000)
    }

    fn grant() -> Grant {
        Grant {
            namespace: "default".into(),
            service_account: "reviews".into(),
            services: Vec::new(),
            labels: BTreeMap::new(),
            locality: None,
        }
    }

    fn token(uses_max: u32) -> (JoinToken, StoredToken) {
        create_token(grant(), TokenLimits { uses_max, lifetime: Duration::from_secs(60) }, now()).unwrap()
    }

    fn key(number: u8) -> KeyFingerprint {
        KeyFingerprint([number; 32])
    }

    #[test]
    fn a_token_admits_as_often_as_it_may() {
        let (join, stored) = token(2);
        let once = redeem(&stored, &join.secret, key(1), now()).unwrap();
        assert_eq!((once.uses(), once.uses_max()), (1, 2));
        let twice = redeem(&once, &join.secret, key(2), now()).unwrap();
        let refusal = redeem(&twice, &join.secret, key(3), now()).unwrap_err();
        assert_eq!(refusal, Refusal::UsedUp { id: stored.id().into(), uses_max: 2 });
    }

    #[test]
    fn a_request_repeated_after_a_lost_answer_counts_once() {
        let (join, stored) = token(1);
        let once = redeem(&stored, &join.secret, key(1), now()).unwrap();
        assert_eq!(redeem(&once, &join.secret, key(1), now()).unwrap(), once);
        redeem(&once, &join.secret, key(2), now()).unwrap_err();
    }

    #[test]
    fn what_is_remembered_for_repeats_is_bounded() {
        let (join, mut stored) = token(100);
        for number in 0..100 {
            stored = redeem(&stored, &join.secret, key(number), now()).unwrap();
        }
        assert_eq!((stored.uses(), stored.recent_keys.len()), (100, RECENT_KEYS_MAX));
        assert_eq!(redeem(&stored, &join.secret, key(99), now()).unwrap(), stored);
        redeem(&stored, &join.secret, key(0), now()).unwrap_err();
    }

    #[test]
    fn an_expired_token_admits_nobody_not_even_again() {
        let (join, stored) = token(5);
        let last = now() + Duration::from_secs(59);
        let once = redeem(&stored, &join.secret, key(1), last).unwrap();
        let refusal = redeem(&once, &join.secret, key(1), now() + Duration::from_secs(70)).unwrap_err();
        assert_eq!(refusal, Refusal::Expired { id: stored.id().into(), seconds_ago: 10 });
    }

    #[test]
    fn a_wrong_secret_learns_nothing_else() {
        let (_, stored) = token(1);
        let (other, _) = token(1);
        for at in [now(), now() + Duration::from_secs(1000)] {
            let refusal = redeem(&stored, &other.secret, key(1), at).unwrap_err();
            assert_eq!(refusal, Refusal::WrongSecret { id: stored.id().into() });
        }
    }

    #[test]
    fn the_secret_is_not_stored() {
        let (join, stored) = token(1);
        let json = serde_json::to_string(&stored).unwrap();
        let secret = serde_json::to_string(&join.secret.0).unwrap();
        assert!(json.starts_with("{\"format\":1,") && !json.contains(&secret));
        assert_eq!(serde_json::from_str::<StoredToken>(&json).unwrap(), stored);
        let newer = json.replace("\"format\":1", "\"format\":2");
        assert!(serde_json::from_str::<StoredToken>(&newer).unwrap_err().to_string().contains("format 2"));
    }

    #[test]
    fn tokens_that_admit_nobody_are_not_made() {
        let check = |uses_max, seconds, expected| {
            let limits = TokenLimits { uses_max, lifetime: Duration::from_secs(seconds) };
            assert_eq!(create_token(grant(), limits, now()).unwrap_err(), expected);
        };
        check(0, 60, TokenCreationError::NoUse);
        check(1, 0, TokenCreationError::Lifetime);
        check(1, u64::MAX, TokenCreationError::Lifetime);
        let illegal = Grant { namespace: "a/b".into(), ..grant() };
        let limits = TokenLimits { uses_max: 1, lifetime: Duration::from_secs(60) };
        let error = create_token(illegal, limits, now()).unwrap_err();
        assert!(matches!(error, TokenCreationError::Grant(GrantError::Namespace { .. })));
    }
}
