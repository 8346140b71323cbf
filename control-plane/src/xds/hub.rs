//! The one place where a new world meets the streams that must hear of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use mesh_core::resource::ResourceType;
use mesh_core::subscription::{Found, Subscribed};
use tokio_util::sync::CancellationToken;

use super::cache::{Cache, Translate};
use super::change::Change;
use super::counters::{Counters, Counts};
use super::index::{Index, StreamId};
use super::mailbox::Mailbox;
use super::status::StreamStatus;
use crate::foreign::ForeignClient;
use crate::model::{Caller, ClientKind, World};

/// Holds the current world for all streams.
#[derive(Debug)]
pub struct Hub {
    cache: Mutex<Cache>,
    streams: Mutex<Streams>,
    limits: Limits,
    next_stream: AtomicU64,
    closing: CancellationToken,
    pub(super) counters: Counters,
}

/// How much the ADS server takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Streams at a time.
    pub streams_max: usize,
    /// Resource names that one stream may subscribe to.
    pub stream_names_max: usize,
}

/// There are as many streams as the control plane takes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this control plane has its streams_max of {streams_max} streams; try another one")]
pub struct StreamLimit {
    /// The limit.
    pub streams_max: usize,
}

#[derive(Debug, Default)]
struct Streams {
    index: Index,
    open: HashMap<StreamId, Stream>,
    /// The revision that all mailboxes have heard of.
    told: u64,
}

#[derive(Debug)]
struct Stream {
    mailbox: Arc<Mailbox>,
    caller: Caller,
    status: StreamStatus,
}

/// A stream's place in the hub; leaves it when dropped.
#[derive(Debug)]
pub(super) struct Place {
    hub: Arc<Hub>,
    id: StreamId,
    mailbox: Arc<Mailbox>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { streams_max: 20_000, stream_names_max: 50_000 }
    }
}

impl Hub {
    /// A hub that begins with `world` and makes resources by the mesh's own translation.
    pub fn new(world: Arc<World>, limits: Limits) -> Arc<Self> {
        Self::with_translate(world, limits, crate::translate::translate)
    }

    /// As [`new`](Self::new), with another translation.
    pub(super) fn with_translate(world: Arc<World>, limits: Limits, translate: Translate) -> Arc<Self> {
        Arc::new(Self {
            cache: Mutex::new(Cache::new(world, translate)),
            streams: Mutex::default(),
            limits,
            next_stream: AtomicU64::new(0),
            closing: CancellationToken::new(),
            counters: Counters::default(),
        })
    }

    /// Goes over to another world; streams that the difference concerns hear of it.
    pub fn publish(&self, world: Arc<World>) {
        // Compared without the lock, for which every stream waits.
        let last = self.world();
        let mut change = Change::between(&last, &world);
        let revision = {
            let mut cache = self.cache();
            if !Arc::ptr_eq(cache.world(), &last) {
                change = Change::Everything;
            }
            cache.replace(world, &change);
            cache.revision()
        };
        // Only now, so that whoever is woken finds the new world.
        self.streams().tell(&change, revision);
    }

    /// The world as of now.
    pub fn world(&self) -> Arc<World> {
        self.cache().world().clone()
    }

    /// How many worlds have been published; streams report up to which they have acknowledged.
    pub fn revision(&self) -> u64 {
        self.cache().revision()
    }

    /// How each stream fares.
    pub fn statuses(&self) -> Vec<StreamStatus> {
        let streams = self.streams();
        let status = |stream: &Stream| StreamStatus {
            revision: stream.mailbox.revision(streams.told),
            ..stream.status.clone()
        };
        streams.open.values().map(status).collect()
    }

    /// The streams of whoever is not our own library, with the route configurations that each has asked for.
    pub fn foreign_clients(&self) -> Vec<ForeignClient> {
        let streams = self.streams();
        let foreign = streams.open.iter().filter(|(_, stream)| stream.status.client != ClientKind::Mesh);
        let mut clients: BTreeMap<StreamId, ForeignClient> = foreign
            .map(|(id, stream)| (*id, ForeignClient::new(&stream.status, stream.caller.clone())))
            .collect();
        if clients.is_empty() {
            return Vec::new();
        }
        let routes = |kind, _: &str| kind == ResourceType::RouteConfiguration;
        for (_, name, subscribers) in streams.index.touched(routes) {
            for id in subscribers {
                if let Some(client) = clients.get_mut(id) {
                    client.routes.push(name.clone());
                }
            }
        }
        clients.into_values().collect()
    }

    /// What has been done so far.
    pub fn counts(&self) -> Counts {
        self.counters.counts()
    }

    /// Ends all streams, so that their clients go to another control plane; further ones end at once.
    pub fn close(&self) {
        self.closing.cancel();
    }

    pub(super) fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Takes a stream in.
    pub(super) fn open(
        self: &Arc<Self>,
        caller: &Caller,
        status: StreamStatus,
    ) -> Result<Place, StreamLimit> {
        let mut streams = self.streams();
        if streams.open.len() >= self.limits.streams_max {
            return Err(StreamLimit { streams_max: self.limits.streams_max });
        }
        let id = self.next_stream.fetch_add(1, Relaxed);
        let mailbox = Arc::new(Mailbox::default());
        streams.open.insert(id, Stream { mailbox: mailbox.clone(), caller: caller.clone(), status });
        Ok(Place { hub: self.clone(), id, mailbox })
    }

    pub(super) fn look_up(
        &self,
        caller: &Caller,
        kind: ResourceType,
        name: &Arc<str>,
    ) -> Option<Found<Bytes>> {
        self.cache().look_up(caller, kind, name, &self.counters)
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Streams {
    fn tell(&mut self, change: &Change, revision: u64) {
        if change.is_everything() {
            self.open.values().for_each(|stream| stream.mailbox.put_everything());
        }
        let touched = |kind, name: &str| !change.is_everything() && change.touches(kind, name);
        for (kind, name, subscribers) in self.index.touched(touched) {
            for stream in subscribers.iter().filter_map(|id| self.open.get(id)) {
                stream.mailbox.put(kind, name);
            }
        }
        self.told = self.told.max(revision);
    }
}

impl Place {
    pub(super) fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    pub(super) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Enters a changed set of names. It is entered before the names are looked up, so that no change falls between.
    pub(super) fn subscribed(&self, kind: ResourceType, subscribed: &Subscribed) {
        let mut orphans = Vec::new();
        {
            let mut streams = self.hub.streams();
            subscribed.added.iter().for_each(|name| streams.index.insert(kind, name, self.id));
            orphans
                .extend(subscribed.removed.iter().filter(|name| streams.index.remove(kind, name, self.id)));
        }
        self.forget(orphans.into_iter().map(|name| (kind, name)));
    }

    /// The client has acknowledged all that it was to hear of.
    pub(super) fn settle(&self) {
        self.mailbox.settle(self.hub.streams().told);
    }

    pub(super) fn report(&self, change: impl FnOnce(&mut StreamStatus)) {
        if let Some(stream) = self.hub.streams().open.get_mut(&self.id) {
            change(&mut stream.status);
        }
    }

    /// Leaves the hub; `names` are what the stream was subscribed to.
    pub(super) fn leave<'n>(&self, names: impl Iterator<Item = (ResourceType, &'n Arc<str>)>) {
        let orphans: Vec<_> = {
            let mut streams = self.hub.streams();
            streams.open.remove(&self.id);
            names.filter(|(kind, name)| streams.index.remove(*kind, name, self.id)).collect()
        };
        self.forget(orphans.into_iter());
    }

    fn forget<'n>(&self, names: impl Iterator<Item = (ResourceType, &'n Arc<str>)>) {
        let mut cache = self.hub.cache();
        names.for_each(|(kind, name)| cache.forget(kind, name));
    }
}
