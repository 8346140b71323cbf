//! The loop that keeps the identity alive, on a thread of its own: a service whose runtime is blocked for an hour must not
//! lose its certificate for it.

use std::{
    io,
    sync::{Arc, Weak},
    thread,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    ControlPlaneConnector, JoinError, JoinString,
    client::{self, renew},
    member::save,
    schedule::{renewal_delay, renewal_retry_delay},
};
use crate::{
    identity::{Identity, IdentitySource},
    saved::SavedState,
};

/// Renews for as long as it lives.
#[derive(Debug)]
pub struct Renewal {
    _stop: DropGuard,
}

impl Renewal {
    /// Starts renewing what `source` holds, and saves each new identity while there is a `saved`.
    ///
    /// # Errors
    /// When there is no address, or no thread to be had.
    pub fn start(
        join: JoinString,
        source: Arc<IdentitySource>,
        saved: &Arc<SavedState>,
    ) -> Result<Self, RenewalError> {
        let connector =
            ControlPlaneConnector::new(join.addresses.as_slice(), &source).map_err(JoinError::from)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(RenewalError::Thread)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let saved = Arc::downgrade(saved);
        let task = move || {
            runtime.block_on(async {
                let renewing = Renewing { join, connector, source, saved };
                stopped.run_until_cancelled(renewing.run()).await;
            });
        };
        thread::Builder::new().name("mesh-renewal".into()).spawn(task).map_err(RenewalError::Thread)?;
        Ok(Self { _stop: stop.drop_guard() })
    }
}

/// Why the identity will not be renewed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RenewalError {
    #[error(transparent)]
    Join(#[from] JoinError),
    #[error("cannot start the renewal thread: {0}")]
    Thread(io::Error),
}

struct Renewing {
    join: JoinString,
    connector: ControlPlaneConnector,
    source: Arc<IdentitySource>,
    /// Weak, so that the directory's lock ends with its owner and not a moment later with this thread.
    saved: Weak<SavedState>,
}

impl Renewing {
    async fn run(self) {
        let mut failures = 0;
        let mut delay = renewal_delay(self.remaining(), fastrand::f64());
        loop {
            sleep(delay).await;
            match self.renewed().await {
                Ok(identity) => {
                    if let Some(saved) = self.saved.upgrade() {
                        save(&saved, &identity);
                    }
                    self.source.replace(identity);
                    tracing::debug!(id = %self.source.current().svid.id(), "certificate renewed");
                    failures = 0;
                    delay = renewal_delay(self.remaining(), fastrand::f64());
                }
                Err(error) => {
                    let remaining = self.remaining();
                    tracing::warn!(%error, remaining_seconds = remaining.as_secs(), "certificate not renewed, the old one stays");
                    delay = renewal_retry_delay(failures, remaining, fastrand::f64());
                    failures += 1;
                }
            }
        }
    }

    /// A certificate that has run out cannot renew itself; the join token may still admit us, as the same identity.
    async fn renewed(&self) -> Result<Identity, JoinError> {
        if self.remaining().is_zero() {
            return client::rejoin(&self.join, &self.source).await;
        }
        // A connection of its own: one that was kept since an earlier renewal would show the certificate of that time, which
        // by now has run out.
        renew(self.connector.channel(), &self.source).await
    }

    fn remaining(&self) -> Duration {
        let not_after = self.source.current().svid.not_after();
        not_after.duration_since(SystemTime::now()).unwrap_or_default()
    }
}
