//! A serving address's hold on its policy: subscribed to while the value lives.

use std::sync::Arc;

use crate::ads::View;
use crate::resource::InboundListener;

/// Keeps an inbound listener subscribed to; ends the subscription when dropped.
#[derive(Debug)]
pub struct InboundSubscription {
    view: Arc<View>,
    name: Arc<str>,
}

impl InboundSubscription {
    pub(super) fn new(view: &Arc<View>, name: &str) -> Self {
        let name = Arc::from(name);
        view.demand.want_inbound(&name);
        Self { view: view.clone(), name }
    }

    /// The listener's name, `inbound/IP:PORT`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The policy as of now; while there is none, nothing may be let in.
    pub fn current(&self) -> Option<Arc<InboundListener>> {
        self.view.snapshot().inbound.get(&self.name).cloned()
    }

    /// Waits until there is a policy. Cancelling loses nothing.
    pub async fn available(&self) -> Arc<InboundListener> {
        let mut published = self.view.published();
        loop {
            published.mark_unchanged();
            if let Some(listener) = self.current() {
                return listener;
            }
            // The sender lives in `self.view`, so an error cannot come; waiting on would be right even then.
            if published.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for InboundSubscription {
    fn drop(&mut self) {
        self.view.demand.unwant_inbound(&self.name);
    }
}
