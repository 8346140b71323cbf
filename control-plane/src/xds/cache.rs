//! Encoded resources, each made once for all callers who cannot tell the difference.
//!
//! The world and what was made from it sit behind one lock, so that no entry can outlive the world it was made from, and two
//! streams that want the same resource at once do not both translate it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use mesh_core::resource::ResourceType;
use mesh_core::subscription::Found;

use super::change::Change;
use super::counters::Counters;
use crate::model::{Caller, CallerKey, Inputs, World};
use crate::translate::{self, Translated};

/// How resources are made; a parameter so that tests can break it.
pub(super) type Translate = fn(&World, &Caller, ResourceType, &str) -> Translated;

/// The world and its resources as far as somebody asked for them.
#[derive(Debug)]
pub(super) struct Cache {
    world: Arc<World>,
    revision: u64,
    translate: Translate,
    resources: HashMap<ResourceType, HashMap<Arc<str>, Vec<Entry>>>,
}

/// A resource as callers with this key see it.
#[derive(Debug)]
struct Entry {
    inputs: Inputs,
    key: CallerKey,
    found: Option<Found<Bytes>>,
}

impl Cache {
    pub(super) fn new(world: Arc<World>, translate: Translate) -> Self {
        Self { world, revision: 0, translate, resources: HashMap::new() }
    }

    /// The world that look-ups are answered from.
    pub(super) fn world(&self) -> &Arc<World> {
        &self.world
    }

    /// How many worlds have been published.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Goes over to another world, and forgets what the change from the last one touches.
    pub(super) fn replace(&mut self, world: Arc<World>, change: &Change) {
        self.world = world;
        self.revision += 1;
        if change.is_everything() {
            self.resources.clear();
            return;
        }
        for (kind, by_name) in &mut self.resources {
            by_name.retain(|name, _| !change.touches(*kind, name));
        }
    }

    /// Forgets a resource that nobody subscribes to any more.
    pub(super) fn forget(&mut self, kind: ResourceType, name: &str) {
        if let Some(by_name) = self.resources.get_mut(&kind) {
            by_name.remove(name);
        }
    }

    /// The resource as this caller sees it; none if there is none.
    pub(super) fn look_up(
        &mut self,
        caller: &Caller,
        kind: ResourceType,
        name: &Arc<str>,
        counters: &Counters,
    ) -> Option<Found<Bytes>> {
        counters.lookups.fetch_add(1, Relaxed);
        let entries = self.resources.entry(kind).or_default().entry(name.clone()).or_default();
        if let Some(entry) = entries.iter().find(|entry| caller.key(entry.inputs) == entry.key) {
            return entry.found.clone();
        }
        counters.translations.fetch_add(1, Relaxed);
        let translated = (self.translate)(&self.world, caller, kind, name);
        let found = translated.message.map(|message| Found {
            version: translate::version(&message).into(),
            body: Bytes::from(message.value),
        });
        let key = caller.key(translated.inputs);
        if entries.len() >= VIEWS_MAX {
            // Its callers may be gone; those that are not have it made again.
            entries.remove(0);
        }
        entries.push(Entry { inputs: translated.inputs, key, found: found.clone() });
        found
    }
}

/// As many views of one resource are kept. What a client says it is is among the facts, so the clients do not bound them.
const VIEWS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::DocumentSet;
    use crate::model::{ClientKind, Config, View};

    #[test]
    fn a_client_that_is_another_one_each_time_fills_no_memory() {
        fn by_client(_: &World, caller: &Caller, _: ResourceType, _: &str) -> Translated {
            let view = View::new(caller);
            view.client();
            Translated { message: None, inputs: view.read() }
        }
        let world = World::offline(Arc::new(Config::new(&DocumentSet::default())));
        let mut cache = Cache::new(world.into(), by_client);
        let name: Arc<str> = "a".into();
        for number in 0..VIEWS_MAX + 100 {
            let client = ClientKind::Other(number.to_string().into());
            let caller = Caller { client, ..Caller::default() };
            cache.look_up(&caller, ResourceType::Cluster, &name, &Counters::default());
        }
        assert_eq!(cache.resources[&ResourceType::Cluster][&name].len(), VIEWS_MAX);
    }
}
