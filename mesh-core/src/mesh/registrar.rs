//! Keeps this process's ports registered: tells the control plane what changed at once, renews at a third of the lease,
//! begins anew with each connection, since the control plane may have been restarted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::registration::{Registered, RegistrationState, RegistrationTable};
use crate::ads::{LinkState, RECONNECT};
use crate::proto::registry::registry_client::RegistryClient;
use crate::proto::registry::{DeregisterRequest, RegisterRequest};

/// The task behind all [`Registration`](super::Registration)s of a process.
#[derive(Debug)]
pub(super) struct Registrar {
    pub(super) table: Arc<RegistrationTable>,
    /// How the stream to the control plane fares: a new one may lead to a new control plane.
    pub(super) links: watch::Receiver<LinkState>,
    /// Random, made once per process.
    pub(super) instance: Arc<str>,
}

impl Registrar {
    /// Registers and renews; never ends by itself. May be dropped at any time.
    pub(super) async fn run(&mut self, channels: watch::Receiver<Channel>) {
        let mut known = false;
        let mut failures = 0;
        let mut changes = self.table.changes();
        loop {
            self.connected().await;
            changes.mark_unchanged();
            let channel = channels.borrow().clone();
            let registered = self.table.registered();
            let outcome = match (registered.ports.is_empty(), known) {
                (true, false) => Ok(None),
                (true, true) => self.deregister(channel).await.map(|()| None),
                (false, _) => self.register(channel, &registered).await.map(Some),
            };
            let again = match outcome {
                Ok(lease) => {
                    known = lease.is_some();
                    failures = 0;
                    self.table.settle(&registered, RegistrationState::Registered);
                    lease.map_or(FOREVER, |lease| renewal(lease, fastrand::f64()))
                }
                Err(status) => {
                    let wait = RECONNECT.wait(failures, fastrand::f64());
                    failures += 1;
                    self.failed(&registered, &status, wait)
                }
            };
            self.wait(again, &mut changes).await;
        }
    }

    /// Waits until the control plane is there.
    async fn connected(&mut self) {
        if self.links.wait_for(|link| *link == LinkState::Connected).await.is_err() {
            // The view is gone, and with it everybody who could have registered.
            std::future::pending().await
        }
    }

    /// Waits until it is time, something is to be told, or the connection is another one.
    async fn wait(&mut self, again: Duration, changes: &mut watch::Receiver<()>) {
        tokio::select! {
            () = sleep_until(Instant::now() + again) => {}
            _ = changes.changed() => {}
            _ = self.links.changed() => {}
        }
    }

    async fn register(&self, channel: Channel, registered: &Registered) -> Result<Duration, Status> {
        let mut request = tonic::Request::new(RegisterRequest {
            instance_id: self.instance.to_string(),
            ports: registered.ports.clone(),
            draining: registered.draining,
            library_version: env!("CARGO_PKG_VERSION").into(),
            not_ready: !registered.ready,
        });
        request.set_timeout(CALL_MAX);
        let response = RegistryClient::new(channel).register(request).await?;
        Ok(Duration::from_secs(response.into_inner().lease_seconds.max(1).into()))
    }

    async fn deregister(&self, channel: Channel) -> Result<(), Status> {
        let mut request = tonic::Request::new(DeregisterRequest { instance_id: self.instance.to_string() });
        request.set_timeout(CALL_MAX);
        RegistryClient::new(channel).deregister(request).await.map(|_| ())
    }

    /// Which refusals another attempt may heal is told by their code; the others are tried again too, but seldom, for a
    /// grant may be widened.
    fn failed(&self, registered: &Registered, status: &Status, wait: Duration) -> Duration {
        match status.code() {
            Code::PermissionDenied
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::Unauthenticated => {
                tracing::error!(
                    reason = status.message(),
                    "the control plane refused to register this instance"
                );
                self.table.settle(registered, RegistrationState::Refused(status.message().into()));
                REFUSED_WAIT
            }
            _ => {
                tracing::warn!(reason = status.message(), retry_in = ?wait, "registration failed");
                wait
            }
        }
    }
}

/// A third of the lease, up to a tenth earlier, so that instances started together do not renew together.
fn renewal(lease: Duration, draw: f64) -> Duration {
    (lease / 3).mul_f64(1.0 - 0.1 * draw.clamp(0.0, 1.0))
}

/// The longest that one call may take.
const CALL_MAX: Duration = Duration::from_secs(5);
/// How long after a refusal it is tried again.
const REFUSED_WAIT: Duration = Duration::from_secs(30);
/// Until something happens.
const FOREVER: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_renewed_at_a_third_and_not_all_at_once() {
        let lease = Duration::from_secs(30);
        assert_eq!(renewal(lease, 0.0), Duration::from_secs(10));
        assert_eq!(renewal(lease, 1.0), Duration::from_secs(9));
    }
}
