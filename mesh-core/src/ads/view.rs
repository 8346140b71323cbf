//! What the configuration stream has published: the snapshot of now, and how the stream itself fares.
//!
//! It is all that requests and the stream share. Readers load; the stream alone stores.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{Config, Demand};
use crate::snapshot::Snapshot;

/// Shared by a `Mesh` and its background.
#[derive(Debug)]
pub(crate) struct View {
    snapshot: ArcSwap<Snapshot>,
    generation: watch::Sender<u64>,
    link: watch::Sender<LinkState>,
    /// What callers have asked for.
    pub(crate) demand: Demand,
}

/// How the stream to the control plane fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// Not tried yet.
    Connecting,
    /// Open.
    Connected,
    /// Lost or never made, and why.
    Away(Arc<str>),
}

impl View {
    pub(crate) fn new(snapshot: Snapshot, hosts_max: usize) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            generation: watch::Sender::new(0),
            link: watch::Sender::new(LinkState::Connecting),
            demand: Demand::new(hosts_max),
        }
    }

    pub(crate) fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    /// Replaces the snapshot and wakes whoever waits for a piece of it.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.snapshot.store(Arc::new(snapshot));
        self.generation.send_modify(|generation| *generation += 1);
    }

    /// Publishes the snapshot that `config` has come to, if it is another one, and notes what is still missing.
    pub(crate) fn take(&self, config: &Config, snapshot: Option<Snapshot>) {
        if let Some(snapshot) = snapshot {
            self.publish(snapshot);
        }
        let snapshot = self.snapshot();
        for host in config.hosts().iter().filter(|host| !snapshot.hosts.contains_key(*host)) {
            self.demand.set_missing(host, config.missing(host));
        }
    }

    /// Wakes after each publication; several in a row may wake once.
    pub(crate) fn published(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }

    pub(crate) fn link(&self) -> LinkState {
        self.link.borrow().clone()
    }

    /// Follows how the stream fares.
    pub(crate) fn links(&self) -> watch::Receiver<LinkState> {
        self.link.subscribe()
    }

    pub(crate) fn set_link(&self, state: LinkState) {
        self.link.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }
}
