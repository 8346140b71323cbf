//! Coming up as a member: with the saved identity where it still serves, else by joining.

use std::time::{Duration, SystemTime};

use rustls_pki_types::UnixTime;

use super::{JoinError, JoinString, client};
use crate::{
    identity::{Identity, PeerRole, verify_svid},
    saved::{Loaded, SavedItem, SavedState, decode_identity, encode_identity},
};

/// An identity and where it came from.
#[derive(Debug)]
pub struct Membership {
    /// Who we are.
    pub identity: Identity,
    /// How we know.
    pub origin: Origin,
}

/// Where an identity came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The control plane has just issued it.
    Joined,
    /// It was saved by an earlier run; the control plane was not asked.
    Saved,
}

/// Takes up the saved identity, or joins and saves what comes of it.
///
/// # Errors
/// As [`join`](client::join). That saving fails is only logged.
pub async fn establish(
    join: &JoinString,
    saved: &SavedState,
    patience: Duration,
) -> Result<Membership, JoinError> {
    if let Some(identity) = resume(join, saved) {
        return Ok(Membership { identity, origin: Origin::Saved });
    }
    let identity = client::join(join, patience).await?;
    save(saved, &identity);
    Ok(Membership { identity, origin: Origin::Joined })
}

/// Saves an identity; a failure costs a restart without the control plane, not this run.
pub(super) fn save(saved: &SavedState, identity: &Identity) {
    if let Err(error) = saved.store(SavedItem::Identity, &encode_identity(identity)) {
        tracing::warn!(%error, "the identity could not be saved: a restart will need the control plane");
    }
}

fn resume(join: &JoinString, saved: &SavedState) -> Option<Identity> {
    let content = match saved.load(SavedItem::Identity) {
        Loaded::Absent => return None,
        Loaded::Found(content) => content,
        Loaded::Rejected(rejected) => {
            tracing::warn!("{rejected}");
            return None;
        }
    };
    match decode_identity(&content, &join.trust_domain) {
        Ok(identity) => serves(&identity).then_some(identity),
        Err(error) => {
            if let Some(rejected) = saved.reject(SavedItem::Identity, error.to_string()) {
                tracing::warn!("{rejected}");
            }
            None
        }
    }
}

/// An identity that has run out is no damage, it is only of no use; so is one that its own roots no longer vouch for.
fn serves(identity: &Identity) -> bool {
    let long_enough = identity.svid.not_after() > SystemTime::now() + USE_MIN;
    let [leaf, intermediates @ ..] = identity.svid.chain() else {
        return false;
    };
    long_enough
        && verify_svid(&identity.bundle, leaf, intermediates, PeerRole::Client, UnixTime::now()).is_ok()
}

/// What a saved identity must have left to be worth starting with.
const USE_MIN: Duration = Duration::from_secs(2);
