//! The tokens and grants in the store: every admission is one transaction there.
//!
//! A certificate is made before the transaction and handed out only after it, so that no certificate exists without its
//! record, and two processes can never share a token's last use.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::join::JoinToken;

use super::{GrantRecord, GrantedService, Refusal, StoredToken, redeem};
use crate::ca::{Issued, KeyFingerprint};
use crate::store::{Compare, Entry, Keys, Outcome, Store, StoreError, Transaction};

/// Where tokens are stored, by id.
pub const TOKENS: &str = "tokens/";
/// Where grants are stored, by the serial number of their certificate.
pub const GRANTS: &str = "grants/";

/// How often an admission is tried again when others redeem the same token at the same time.
const ATTEMPTS_MAX: usize = 64;
/// Ended grants removed by one transaction.
const SWEPT_MAX: usize = 1024;

/// Tokens and grants, as the store has them.
#[derive(Clone)]
pub struct Ledger {
    store: Arc<dyn Store>,
}

/// Why nobody was admitted. `E` is why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum AdmissionError<E> {
    /// The token does not admit.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The certificate has no grant on record.
    #[error("certificate {serial} has no grant on record: it was revoked, or is another mesh's")]
    NoGrant {
        /// Its serial number.
        serial: String,
    },
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Issue(E),
    /// What is stored cannot be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Too many at once.
    #[error("token {id} is redeemed by too many at once")]
    Contended {
        /// The token.
        id: String,
    },
}

/// Why tokens or grants cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not of this program's form.
    #[error("stored {key} cannot be read: {reason}")]
    Unreadable {
        /// Where it is.
        key: String,
        /// What is wrong.
        reason: String,
    },
}

impl Ledger {
    /// The ledger in this store.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Stores a new token.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create(&self, token: &StoredToken) -> Result<(), LedgerError> {
        let key = format!("{TOKENS}{}", token.id());
        let transaction = Transaction::new().when(Compare::absent(&key)).put(&key, encode(token));
        match self.store.commit(transaction).await? {
            Outcome::Committed { .. } => Ok(()),
            Outcome::Conflict { key } => {
                Err(LedgerError::Unreadable { key, reason: "a token of this id is there already".to_owned() })
            }
        }
    }

    /// All tokens, by id.
    ///
    /// # Errors
    /// When the store fails or one cannot be read.
    pub async fn tokens(&self) -> Result<Vec<StoredToken>, LedgerError> {
        let listing = self.store.range(Keys::prefix(TOKENS), None).await?;
        listing.entries.iter().map(decode).collect()
    }

    /// Removes a token; who has joined with it stays. False when there is none.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke(&self, id: &str) -> Result<bool, LedgerError> {
        let key = format!("{TOKENS}{id}");
        let Some(entry) = self.entry(&key).await? else { return Ok(false) };
        let transaction = Transaction::new().when(Compare::unchanged(&key, entry.mod_revision)).delete(&key);
        match self.store.commit(transaction).await? {
            Outcome::Committed { .. } => Ok(true),
            // It was redeemed meanwhile: it is to go all the same.
            Outcome::Conflict { .. } => {
                self.store.commit(Transaction::new().delete(&key)).await?;
                Ok(true)
            }
        }
    }

    /// Admits the holder of a key who shows a token: redeems it, makes a certificate by `issue`, records its grant.
    ///
    /// # Errors
    /// When the token does not admit, or something fails; then nothing was redeemed.
    pub async fn join<E>(
        &self,
        token: &JoinToken,
        key: KeyFingerprint,
        now: SystemTime,
        issue: impl Fn(&super::Grant) -> Result<Issued, E>,
    ) -> Result<Issued, AdmissionError<E>> {
        let id = token.id.as_str();
        let path = format!("{TOKENS}{id}");
        for _ in 0..ATTEMPTS_MAX {
            let unknown = || Refusal::Unknown { id: id.to_owned() };
            let entry = self.entry(&path).await?.ok_or_else(unknown)?;
            let stored: StoredToken = decode(&entry)?;
            let redeemed = redeem(&stored, &token.secret, key, now)?;
            let issued = issue(stored.grant()).map_err(AdmissionError::Issue)?;
            let record = GrantRecord::joined(&redeemed, &issued);
            let transaction = Transaction::new()
                .when(Compare::unchanged(&path, entry.mod_revision))
                .put(&path, encode(&redeemed))
                .put(format!("{GRANTS}{}", issued.serial), encode(&record));
            if let Outcome::Committed { .. } = self.commit(transaction).await? {
                return Ok(issued);
            }
        }
        Err(AdmissionError::Contended { id: id.to_owned() })
    }

    /// Makes the successor of a certificate, which inherits its grant.
    ///
    /// # Errors
    /// When the certificate has no grant, or something fails.
    pub async fn renew<E>(
        &self,
        serial: &str,
        issue: impl Fn(&super::Grant) -> Result<Issued, E>,
    ) -> Result<Issued, AdmissionError<E>> {
        let no_grant = || AdmissionError::NoGrant { serial: serial.to_owned() };
        let path = format!("{GRANTS}{serial}");
        let entry = self.entry(&path).await?.ok_or_else(no_grant)?;
        let record: GrantRecord = decode(&entry)?;
        let issued = issue(record.grant()).map_err(AdmissionError::Issue)?;
        let transaction = Transaction::new()
            // A grant that is taken away meanwhile is not inherited.
            .when(Compare::unchanged(&path, entry.mod_revision))
            .put(format!("{GRANTS}{}", issued.serial), encode(&record.renewed(&issued)));
        match self.commit(transaction).await? {
            Outcome::Committed { .. } => Ok(issued),
            Outcome::Conflict { .. } => Err(no_grant()),
        }
    }

    /// The grant of a certificate.
    ///
    /// # Errors
    /// When the store fails or the record cannot be read.
    pub async fn grant(&self, serial: &str) -> Result<Option<GrantRecord>, LedgerError> {
        let entry = self.entry(&format!("{GRANTS}{serial}")).await?;
        entry.as_ref().map(decode).transpose()
    }

    /// The grants of all certificates, by serial number.
    ///
    /// # Errors
    /// When the store fails or a record cannot be read.
    pub async fn records(&self) -> Result<Vec<GrantRecord>, LedgerError> {
        let listing = self.store.range(Keys::prefix(GRANTS), None).await?;
        listing.entries.iter().map(decode).collect()
    }

    /// Every service that a token or a certificate names, with the namespace of its grant.
    ///
    /// # Errors
    /// When the store fails or a record cannot be read.
    pub async fn services(&self) -> Result<BTreeSet<(String, GrantedService)>, LedgerError> {
        let mut services = BTreeSet::new();
        let mut add = |grant: &super::Grant| {
            services.extend(grant.services.iter().map(|service| (grant.namespace.clone(), service.clone())));
        };
        self.tokens().await?.iter().for_each(|token| add(token.grant()));
        self.records().await?.iter().for_each(|record| add(record.grant()));
        Ok(services)
    }

    /// Forgets the grants of certificates that have ended, and says how many.
    ///
    /// # Errors
    /// When the store fails or a record cannot be read.
    pub async fn sweep(&self, now: SystemTime) -> Result<usize, LedgerError> {
        let mut ended = self.records().await?;
        ended.retain(|record| record.not_after() <= now);
        for keys in ended.chunks(SWEPT_MAX) {
            let delete =
                |all: Transaction, record: &GrantRecord| all.delete(format!("{GRANTS}{}", record.serial()));
            let transaction = keys.iter().fold(Transaction::new(), delete);
            self.store.commit(transaction).await?;
        }
        Ok(ended.len())
    }

    async fn commit(&self, transaction: Transaction) -> Result<Outcome, LedgerError> {
        Ok(self.store.commit(transaction).await?)
    }

    async fn entry(&self, key: &str) -> Result<Option<Entry>, LedgerError> {
        Ok(self.store.range(Keys::one(key), None).await?.entries.into_iter().next())
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

fn encode(record: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(record).expect("tokens and grants are text and numbers under text keys")
}

fn decode<T: serde::de::DeserializeOwned>(entry: &Entry) -> Result<T, LedgerError> {
    let unreadable = |error: serde_json::Error| LedgerError::Unreadable {
        key: entry.key.clone(),
        reason: error.to_string(),
    };
    serde_json::from_slice(&entry.value).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::{Grant, TokenLimits, create_token};
    use super::*;
    use crate::store::{EmbeddedStore, Retention};

    struct Fixture {
        ledger: Ledger,
        serials: AtomicU32,
        _folder: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store.redb"), Retention::default()).unwrap();
        Fixture { ledger: Ledger::new(Arc::new(store)), serials: AtomicU32::new(0), _folder: folder }
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_392_000)
    }

    const LIFE: Duration = Duration::from_secs(100);

    impl Fixture {
        async fn token(&self, uses_max: u32) -> JoinToken {
            let grant = Grant {
                namespace: "default".into(),
                service_account: "reviews".into(),
                services: vec![GrantedService::parse("reviews:9080", "default", "cluster.local").unwrap()],
                labels: BTreeMap::new(),
                locality: None,
            };
            let limits = TokenLimits { uses_max, lifetime: LIFE };
            let (join, stored) = create_token(grant, limits, now()).unwrap();
            self.ledger.create(&stored).await.unwrap();
            join
        }

        fn issue(&self) -> Result<Issued, Infallible> {
            let serial = format!("{:02x}", self.serials.fetch_add(1, Relaxed));
            Ok(Issued { chain: Vec::new(), serial, not_after: now() + LIFE })
        }

        async fn join(&self, token: &JoinToken, key: u8) -> Result<Issued, AdmissionError<Infallible>> {
            self.ledger.join(token, KeyFingerprint([key; 32]), now(), |_| self.issue()).await
        }
    }

    #[tokio::test]
    async fn a_token_admits_as_often_as_it_says_however_many_come_at_once() {
        let fixture = fixture();
        let token = fixture.token(5).await;
        let joins = (0..20).map(|key| fixture.join(&token, key));
        let outcomes = futures_util::future::join_all(joins).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 5);
        assert_eq!(fixture.ledger.tokens().await.unwrap()[0].uses(), 5);
        for issued in outcomes.into_iter().flatten() {
            let record = fixture.ledger.grant(&issued.serial).await.unwrap().unwrap();
            assert_eq!(record.grant().service_account, "reviews");
        }
    }

    #[tokio::test]
    async fn a_renewal_inherits_and_only_from_what_is_on_record() {
        let fixture = fixture();
        let token = fixture.token(1).await;
        let first = fixture.join(&token, 1).await.unwrap();
        let second = fixture.ledger.renew(&first.serial, |_| fixture.issue()).await.unwrap();
        let record = fixture.ledger.grant(&second.serial).await.unwrap().unwrap();
        assert_eq!((record.renewed_from(), record.token()), (Some(first.serial.as_str()), token.id.as_str()));
        let unknown = fixture.ledger.renew("ff", |_| fixture.issue()).await.unwrap_err();
        assert!(unknown.to_string().contains("certificate ff has no grant on record"), "{unknown}");
    }

    #[tokio::test]
    async fn a_revoked_token_admits_nobody_and_expels_nobody() {
        let fixture = fixture();
        let token = fixture.token(5).await;
        let joined = fixture.join(&token, 1).await.unwrap();
        assert!(fixture.ledger.revoke(token.id.as_str()).await.unwrap());
        assert!(!fixture.ledger.revoke(token.id.as_str()).await.unwrap());
        let refused = fixture.join(&token, 2).await.unwrap_err();
        assert!(refused.to_string().starts_with("there is no token"), "{refused}");
        fixture.ledger.renew(&joined.serial, |_| fixture.issue()).await.unwrap();
        assert_eq!(fixture.ledger.services().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn ended_grants_are_forgotten() {
        let fixture = fixture();
        let token = fixture.token(5).await;
        let joined = fixture.join(&token, 1).await.unwrap();
        assert_eq!(fixture.ledger.sweep(now()).await.unwrap(), 0);
        assert_eq!(fixture.ledger.sweep(now() + LIFE).await.unwrap(), 1);
        assert_eq!(fixture.ledger.grant(&joined.serial).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let fixture = fixture();
        let foreign = Transaction::new().put("grants/01", r#"{"format":2}"#);
        fixture.ledger.store.commit(foreign).await.unwrap();
        let error = fixture.ledger.grant("01").await.unwrap_err().to_string();
        assert!(error.starts_with("stored grants/01 cannot be read"), "{error}");
    }
}
