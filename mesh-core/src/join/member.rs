//! Coming up as a member and staying one: the saved identity where it still serves, else joining; then renewal.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls_pki_types::UnixTime;

use super::{
    ControlPlaneConnector, JoinError, JoinString, client,
    renewal::{Renewal, RenewalError},
};
use crate::{
    identity::{Identity, IdentitySource, PeerRole, verify_svid},
    saved::{Loaded, SavedItem, SavedState, StateLocation, decode_identity, encode_identity},
};

/// A process's membership in a mesh, kept alive for as long as this value lives.
#[derive(Debug)]
pub struct Member {
    /// Who we are, now and after each renewal.
    pub identity: Arc<IdentitySource>,
    /// The way to the control plane, as who we are.
    pub control_plane: ControlPlaneConnector,
    /// This process's saved state, for the configuration as well.
    pub saved: Arc<SavedState>,
    /// Where the first identity came from.
    pub origin: Origin,
    _renewal: Renewal,
}

/// Where an identity came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The control plane has just issued it.
    Joined,
    /// It was saved by an earlier run; the control plane was not asked.
    Saved,
}

impl Member {
    /// Takes up the identity saved in `location`, or joins, trying for at most `patience` while the control plane cannot be
    /// reached; renews it from then on.
    ///
    /// State that cannot be used is logged and done without: saving is a help, never a condition.
    ///
    /// # Errors
    /// When there is no identity to be had, or no thread to renew it.
    pub async fn start(
        join: JoinString,
        location: &StateLocation,
        patience: Duration,
    ) -> Result<Self, RenewalError> {
        let saved = SavedState::open(location, &join.fingerprint()).unwrap_or_else(|error| {
            tracing::warn!(%error, "nothing will be saved: a restart will need the control plane");
            SavedState::off()
        });
        let saved = Arc::new(saved);
        let (identity, origin) = establish(&join, &saved, patience).await?;
        let identity = IdentitySource::new(identity);
        let control_plane =
            ControlPlaneConnector::new(join.addresses.as_slice(), &identity).map_err(JoinError::from)?;
        let renewal = Renewal::start(join, identity.clone(), &saved)?;
        Ok(Self { identity, control_plane, saved, origin, _renewal: renewal })
    }
}

/// Takes up the saved identity, or joins and saves what comes of it.
async fn establish(
    join: &JoinString,
    saved: &SavedState,
    patience: Duration,
) -> Result<(Identity, Origin), JoinError> {
    if let Some(identity) = resume(join, saved) {
        return Ok((identity, Origin::Saved));
    }
    let identity = client::join(join, patience).await?;
    save(saved, &identity);
    Ok((identity, Origin::Joined))
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
