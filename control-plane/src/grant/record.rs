//! A grant as it is recorded for a certificate: what the holder of that certificate may be and do.
//!
//! It is found by the serial number alone, so nothing that a peer says about itself can widen it. A renewed certificate
//! inherits its predecessor's grant.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{format::FormatOne, grant::Grant, token::StoredToken};
use crate::ca::Issued;

/// The record under `grants/SERIAL`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRecord {
    format: FormatOne,
    serial: String,
    grant: Grant,
    /// The token with which the first of this line of certificates was obtained.
    token: String,
    /// The serial number of the certificate that this one renewed.
    renewed_from: Option<String>,
    not_after_seconds: u64,
}

impl GrantRecord {
    /// The record of a first certificate.
    pub fn joined(token: &StoredToken, issued: &Issued) -> Self {
        Self::of(token.grant().clone(), token.id(), None, issued)
    }

    /// The record of a certificate that renews this one's.
    pub fn renewed(&self, issued: &Issued) -> Self {
        Self::of(self.grant.clone(), &self.token, Some(self.serial.clone()), issued)
    }

    /// The certificate's serial number.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// What its holder may be and do.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The token at the beginning.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The serial number of the certificate before.
    pub fn renewed_from(&self) -> Option<&str> {
        self.renewed_from.as_deref()
    }

    /// When the certificate ends; the record is of no use after that.
    pub fn not_after(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.not_after_seconds)
    }

    fn of(grant: Grant, token: &str, renewed_from: Option<String>, issued: &Issued) -> Self {
        let not_after = issued.not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            format: FormatOne,
            serial: issued.serial.clone(),
            grant,
            token: token.into(),
            renewed_from,
            not_after_seconds: not_after.as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{GrantedService, TokenLimits, create_token};
    use super::*;

    fn issued(serial: &str, seconds: u64) -> Issued {
        let not_after = UNIX_EPOCH + Duration::from_secs(seconds);
        Issued { chain: vec![], serial: serial.into(), not_after }
    }

    #[test]
    fn a_renewed_certificate_inherits_the_grant() {
        let grant = Grant {
            namespace: "default".into(),
            service_account: "reviews".into(),
            services: vec![GrantedService { host: "reviews.default.svc.cluster.local".into(), port: 9080 }],
            labels: BTreeMap::from([("version".into(), "v2".into())]),
            locality: None,
        };
        let limits = TokenLimits { uses_max: 1, lifetime: Duration::from_secs(60) };
        let (_, token) = create_token(grant.clone(), limits, UNIX_EPOCH).unwrap();

        let first = GrantRecord::joined(&token, &issued("01", 100));
        let second = first.renewed(&issued("02", 200));
        assert_eq!((first.grant(), second.grant()), (&grant, &grant));
        assert_eq!((second.serial(), second.renewed_from()), ("02", Some("01")));
        assert_eq!((first.renewed_from(), second.token()), (None, token.id()));
        assert_eq!(second.not_after(), UNIX_EPOCH + Duration::from_secs(200));

        let json = serde_json::to_string(&second).unwrap();
        assert_eq!(serde_json::from_str::<GrantRecord>(&json).unwrap(), second);
        serde_json::from_str::<GrantRecord>(&json.replace("\"format\":1", "\"format\":9")).unwrap_err();
    }
}
