//! The current identity, swapped as a whole when it is renewed.
//!
//! TLS configurations hold the source, not the identity, so that a renewal needs no new configuration and no open
//! connection notices it.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{bundle::TrustBundle, svid::Svid};

/// Who we are and whom we trust, always of one piece.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Our own certificate and key.
    pub svid: Svid,
    /// The roots of our trust domain.
    pub bundle: TrustBundle,
}

/// Holds the current [`Identity`]; readers never wait.
pub struct IdentitySource {
    current: ArcSwap<Identity>,
    changed: watch::Sender<()>,
}

impl IdentitySource {
    /// A source that begins with `identity`.
    pub fn new(identity: Identity) -> Arc<Self> {
        Arc::new(Self { current: ArcSwap::from_pointee(identity), changed: watch::Sender::new(()) })
    }

    /// The identity as it is now.
    pub fn current(&self) -> Arc<Identity> {
        self.current.load_full()
    }

    /// Replaces the identity and tells all subscribers.
    pub fn replace(&self, identity: Identity) {
        self.current.store(Arc::new(identity));
        self.changed.send_replace(());
    }

    /// Wakes after each replacement; several in a row may wake once.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

impl fmt::Debug for IdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdentitySource").field(&self.current.load().svid.id()).finish()
    }
}
