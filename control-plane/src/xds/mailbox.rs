//! What a stream must look at again: names, never contents, so that it cannot grow beyond what the stream subscribes to.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_core::resource::ResourceType;
use tokio::sync::Notify;

/// Filled by the hub, emptied by one session.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    content: Mutex<Content>,
    arrived: Notify,
}

/// What changed since the session last looked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) everything: bool,
    pub(super) names: BTreeSet<(ResourceType, Arc<str>)>,
}

#[derive(Debug, Default)]
struct Content {
    pending: Pending,
    /// Nothing is pending, nothing is being looked at, and the client has answered all it was sent.
    settled: bool,
    settled_revision: u64,
}

impl Mailbox {
    /// Any name may have changed.
    pub(super) fn put_everything(&self) {
        self.content().pending = Pending { everything: true, names: BTreeSet::new() };
        self.arrived.notify_one();
    }

    /// This name may have changed.
    pub(super) fn put(&self, kind: ResourceType, name: &Arc<str>) {
        let pending = &mut self.content().pending;
        if !pending.everything {
            pending.names.insert((kind, name.clone()));
        }
        self.arrived.notify_one();
    }

    /// Waits for something to look at, and takes it. Cancelling loses nothing.
    pub(super) async fn take(&self) -> Pending {
        loop {
            {
                let mut content = self.content();
                if content.pending != Pending::default() {
                    content.settled = false;
                    return std::mem::take(&mut content.pending);
                }
            }
            self.arrived.notified().await;
        }
    }

    /// The client asked for something: it is not up to date until it has it.
    pub(super) fn unsettle(&self) {
        self.content().settled = false;
    }

    /// The client has acknowledged all up to `revision`.
    pub(super) fn settle(&self, revision: u64) {
        let mut content = self.content();
        content.settled = true;
        content.settled_revision = revision;
    }

    /// Up to which revision the client is known to have everything, when `told` is the last one that streams heard of.
    pub(super) fn revision(&self, told: u64) -> u64 {
        let content = self.content();
        let up_to_date = content.settled && content.pending == Pending::default();
        if up_to_date { told } else { content.settled_revision }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
